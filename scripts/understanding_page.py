"""Write the tables of docs/understanding.md and its pictures.

    python scripts/understanding_page.py [RUNS]

Runs that are missing in the folder RUNS (runs/understanding by default) are made, and looked into
as `gollum analyze` does; what is finished is not done again. What of it the page needs is kept in
benchmarks/results/understanding, and what stands between the markers of the page is replaced.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd

from gollum.analysis.bootstrap import FEWEST_FOR_LEVEL, mean_interval
from gollum.analysis.learned.success import R2, RATIO, complete_runs, predictors
from gollum.analysis.metrics import INTERVAL
from gollum.api import analyze, run
from gollum.benchmark.sweeps.records import read_records, write_table
from gollum.files import write_file, write_text
from gollum.report.analysis import pictures
from gollum.report.analysis.exhibits import FIGURES, SUCCESS, success_words
from gollum.report.drawing import as_svg

ROOT = Path(__file__).resolve().parent.parent
PAGES = (ROOT / "docs" / "understanding.md",)
PICTURES = ROOT / "docs" / "pictures" / "understanding"
RECORDS = ROOT / "benchmarks" / "results" / "records"
KEPT = ROOT / "benchmarks" / "results" / "understanding"
MARKED = re.compile(r"<!-- part: (?P<name>[\w-]+) -->\n.*?<!-- end -->", re.DOTALL)
PRODUCTS = ("bh-ethyl", "bh-cf3", "bh-methoxy", "bh-2-pyridyl", "bh-3-pyridyl")
MODELS = ("one_hot", "static", "pllm", "pllm_phi")
SLOW = "pllm_phi"  # looked into in fewer rounds
SHOWN = PRODUCTS[0]  # whose pictures stand on the page
CELLS = [(task, model) for task in PRODUCTS for model in MODELS]
TABLES = ("geometry", "gradients", "kinds", "calibration", "reliability", "effects", "trends")
SWEEPS = ("paper19", "further", "buchwald-hartwig")
PLAIN = {"one_hot or morgan": ("one_hot", "morgan")}
ROUNDS = {SLOW: 2}
LEARNED = MODELS[1:]  # what the page tells of most


def main() -> None:
    """Make what is missing, then the page."""
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else "runs/understanding")
    found = {name: [] for name in TABLES}
    KEPT.mkdir(parents=True, exist_ok=True)
    for task, model in CELLS:
        data = _looked_into(folder / f"{task}-{model}", task, model)
        for name in TABLES:
            found[name].append(_read(data / f"{name}.csv", task, model))
        if (task, model) == (SHOWN, "pllm"):
            for name in ("replacements", "phrases"):
                write_table(pd.read_csv(data / f"{name}.csv"), _kept(name))
        if task == SHOWN and model in LEARNED:
            maps = pd.read_csv(data / "maps.csv").merge(
                pd.read_csv(data / "candidates.csv"), on="id"
            )
            last = maps[maps["round"] == maps["round"].max()]
            columns = ["method", "measured", "id", "x", "y", "outcome", "selected"]
            write_table(last[columns], _kept(f"map-{model}"))
    for name, tables in found.items():
        write_table(pd.concat(tables, ignore_index=True), _kept(name))
    PICTURES.mkdir(parents=True, exist_ok=True)
    for page in PAGES:
        text = page.read_text("utf-8")
        write_text(page, MARKED.sub(lambda marked: _part(marked["name"]), text))


def _looked_into(path: Path, task: str, model: str) -> Path:
    """The tables of a run of that model, which is made and looked into where it is not yet."""
    run({"data.task": task, "surrogate": model, "preset": "fast", "seed": 1, "threads": 1,
         "output": str(path)})  # fmt: skip
    folder = path / "analysis"
    if not (folder / "trends.csv").is_file():  # the last of them
        print(f"{task}: {model}", flush=True)
        found = analyze(path, [model], rounds=ROUNDS.get(model, 5), umap=task == SHOWN)
        folder.mkdir(exist_ok=True)
        for name, table in found.tables().items():
            write_table(table, folder / f"{name}.csv")
    return folder


def _read(path: Path, task: str, model: str) -> pd.DataFrame:
    """A table with the run that it is of; trends say in a column `model` what that one says."""
    table = pd.read_csv(path)
    return pd.concat([pd.DataFrame({"task": task, "run": model}, index=table.index), table], axis=1)


def _kept(name: str) -> Path:
    return KEPT / f"{name}.csv.gz" if name.startswith("map") else KEPT / f"{name}.csv"


def _table(name: str) -> pd.DataFrame:
    return pd.read_csv(_kept(name))


def _part(name: str) -> str:
    text = "\n\n".join(PARTS[name]())
    return f"<!-- part: {name} -->\n{text}\n<!-- end -->"


def _distances() -> Iterator[str]:
    """Before and after training, of experiments that were not measured, means over products."""
    table = _last(_table("geometry"))
    table = table[table["scope"] == "unmeasured"]
    rows = []
    for model in MODELS:
        for stage in ("initial", "trained"):
            own = table[(table["model"] == model) & (table["stage"] == stage)]
            near = own[list(pictures.PAIRS)].div(own["mean_distance"], axis=0)
            rows.append(
                [f"`{model}`", "before" if stage == "initial" else "after", str(len(own)),
                 *(_mean(near[pair]) for pair in pictures.PAIRS), _mean(own["contrast"]),
                 _mean(own["silhouette"]), _mean(own["neighbour_correlation"]),
                 _mean(own["alignment"]), _mean(own["uniformity"]),
                 _mean(own["effective_rank"], 1), _mean(own["lengthscale_ratio"])]
            )  # fmt: skip
    yield _markdown(
        ["model", "training", "products", *pictures.PAIRS.values(), "contrast", "silhouette",
         "neighbours' r", "alignment", "uniformity", "effective rank", "ℓ/d̄"], rows,
    )  # fmt: skip
    own = _last(_table("geometry"))
    own = own[(own["scope"] == "unmeasured") & (own["task"] == SHOWN) & (own["model"] == "pllm")]
    own = own[own["stage"] != "pretrained"].sort_values("evaluations")
    _draw("training", pictures.distances(own, [str(n) for n in own["evaluations"]]))
    yield "![Distances while the projection is trained](pictures/understanding/training.svg)"
    whole = _table("geometry")
    whole = whole[(whole["scope"] == "all") & (whole["stage"] == "trained")]
    means = whole.groupby(["model", "measured"], sort=False).mean(numeric_only=True).reset_index()
    panels = [("contrast", "good–bad / alike"), ("lengthscale_ratio", "ℓ / d̄")]
    _draw("rounds", pictures.over_rounds(means, panels))
    yield "![Contrast and ℓ/d̄ over the number of results](pictures/understanding/rounds.svg)"


def _gradients() -> Iterator[str]:
    table = _table("gradients")
    rows = []
    for model in LEARNED:
        for stage in ("initial", "trained"):
            own = table[(table["model"] == model) & (table["stage"] == stage)]
            bins = own.groupby("task")["together"]
            kinds = _table("kinds")
            of = kinds[(kinds["model"] == model) & (kinds["stage"] == stage)]
            share = of.groupby("kind")["together"].mean()
            rows.append(
                [f"`{model}`", "before" if stage == "initial" else "after",
                 _percent(bins.first().mean()), _percent(bins.last().mean()),
                 *(_percent(share[kind]) for kind in pictures.PAIRS.values())]
            )  # fmt: skip
    yield _markdown(
        ["model", "training", "most similar outcomes", "most different", *pictures.PAIRS.values()],
        rows,
    )
    own = table[(table["task"] == SHOWN) & (table["model"] == "pllm")]
    own = own[(own["stage"] != "training") | (own["evaluations"] == 10)]
    stages = [("initial", "before training"), ("training", "10 evaluations"),
              ("trained", "after training")]  # fmt: skip
    _draw("gradients", pictures.gradients(own, stages))
    yield "![What the likelihood does to pairs](pictures/understanding/gradients.svg)"


def _success() -> Iterator[str]:
    runs, table = _correlated()
    rows = [
        [row["over"], str(row["points"]), _interval(row), _interval(other),
         _interval(row, "lead", True)]
        for (_, row), (_, other) in zip(
            table[table["figure"] == RATIO].iterrows(), table[table["figure"] == R2].iterrows(),
            strict=True,
        )
    ]  # fmt: skip
    yield _markdown(["a point is", "points", "ℓ/d̄", "R²", "ℓ/d̄ less R²"], rows)
    yield success_words(table, "methods")
    _draw("success", pictures.success(runs, FIGURES, SUCCESS))
    _draw("correlations", pictures.correlations(table, FIGURES))
    yield "![Success against ℓ/d̄ and R²](pictures/understanding/success.svg)"
    yield "![Correlations with success](pictures/understanding/correlations.svg)"
    means = runs[runs["task"].isin(PRODUCTS)].groupby("method")[[RATIO, R2, "top5_coverage"]].mean()
    ordered = means.sort_values("top5_coverage", ascending=False)
    told = [[f"`{m}`", *(f"{row[c]:.2f}" for c in means)] for m, row in ordered.iterrows()]
    yield "The five products alone:"
    yield _markdown(["method", "ℓ/d̄", "R²", "top 5 % found"], told)
    r = means.drop("static").corr()["top5_coverage"]
    above = runs[RATIO] > 1
    parts = [
        f"{len(rows)} runs with ℓ/d̄ {where} 1 found {_percent(rows['top5_coverage'].mean())} of "
        f"the top, and r is {rows[RATIO].corr(rows['top5_coverage']):.2f} among them"
        for where, rows in (("up to", runs[~above]), ("above", runs[above]))
    ]
    yield f"Without `static`, r is {r[RATIO]:.2f} for ℓ/d̄ and {r[R2]:.2f} for R²."
    yield f"{'; '.join(parts)}."


def _correlated() -> tuple[pd.DataFrame, pd.DataFrame]:
    records = pd.concat([read_records(RECORDS / f"{name}.csv").table for name in SWEEPS])
    runs = complete_runs(records, PLAIN)
    return runs, predictors(runs)


def _calibration() -> Iterator[str]:
    table = _table("calibration")
    figures = ["r2", "nlpd", "msll", "quantile_error", "inside_95", "sharpness"]
    rows = []
    for scheme in ("held out", "left one out"):
        for model in MODELS:
            own = table[(table["model"] == model) & (table["scheme"] == scheme)]
            rows.append(
                [f"`{model}`", scheme, str(len(own)), *(_mean(own[name]) for name in figures)]
            )
    heads = ["R²", "NLPD", "MSLL", "quantile error", "inside 95 %", "sharpness"]
    yield _markdown(["model", "judged on", "products", *heads], rows)
    curves = _table("reliability")
    means = curves.groupby(["model", "scheme", "level"], sort=False)["inside"].mean().reset_index()
    _draw("reliability", pictures.reliability(means, ["held out", "left one out"]))
    yield "![Reliability](pictures/understanding/reliability.svg)"


def _maps() -> Iterator[str]:
    for method, axis in (("PCA", "PC"), ("UMAP", "UMAP")):
        panels = []
        for model in LEARNED:
            table = _table(f"map-{model}")
            own = table[table["method"] == method]
            own = own.assign(known=own["selected"].notna())
            panels.append((f"{model}, {own['measured'].iloc[0]} results", own))
        _picture(f"map-{method.lower()}", pictures.outcome_maps(panels, "yield (%)", axis))
        yield f"![Maps by {method}](pictures/understanding/map-{method.lower()}.png)"


def _chemistry() -> Iterator[str]:
    effects, trends = _table("effects"), _table("trends")
    rows = []
    for model in MODELS:
        at = [(task, of) for task, of in CELLS if of == model]
        own = {key: _of_run(effects, *key) for key in at}
        r = [float(table["effect"].corr(table["observed"])) for table in own.values()]
        every = pd.concat(own.values())
        held = (every["low"] <= every["observed"]) & (every["observed"] <= every["high"])
        told = pd.concat([_of_run(trends, *key) for key in at]).dropna(subset=["predicted"])
        both = [f"{(told[c] == 'agrees').sum()} of {len(told)}" for c in ("data", "model")]
        wrong = f"{(told['model'] == 'disagrees').sum()}"
        rows.append([f"`{model}`", _mean(pd.Series(r)), _percent(held.mean()), *both, wrong])
    yield _markdown(
        ["model", "effects against true ones, r", "intervals that hold the truth",
         "trends that the data agree with", "that the model agrees with",
         "that it disagrees with"], rows,
    )  # fmt: skip
    own = trends.drop_duplicates(["task", "claim"]).dropna(subset=["observed"])
    claims = [
        [claim, *(f"{_signed(_one(rows, task))}" for task in PRODUCTS)]
        for claim, rows in own.groupby("claim", sort=False)
    ]
    yield "In the data, in percentage points of yield, otherwise equal reactions compared:"
    yield _markdown(["claim", *PRODUCTS], claims)


def _single() -> Iterator[str]:
    """The best experiment that `pllm` found: reagents exchanged, and phrases left out."""
    every = _table("replacements")
    change = every["observed_instead"] - every["observed"]
    off = (every["observed_instead"] - every["mean_instead"]).abs()
    inside = off <= INTERVAL * every["deviation_instead"]
    known = change.notna()
    right = (np.sign(change) == np.sign(every["change"]))[known].mean()
    table = every[every["id"] == every["id"].iloc[0]]
    strongest = table.loc[table.groupby("column", sort=False)["change"].apply(
        lambda change: change.abs().idxmax())]  # fmt: skip
    rows = [
        [row["value"], row["instead"], f"{row['mean']:.0f} ± {row['deviation']:.0f}",
         f"{row['mean_instead']:.0f} ± {row['deviation_instead']:.0f}",
         f"{row['observed']:.0f}", f"{row['observed_instead']:.0f}"]
        for _, row in strongest.iterrows()
    ]  # fmt: skip
    heads = ["reagent", "instead", "predicted", "predicted instead", "measured", "measured instead"]
    yield _markdown(
        heads, [[cell.replace("-", "−") if "±" in cell else cell for cell in row] for row in rows]
    )
    yield (
        f"Of all {known.sum()} exchanges in this and the two most promising experiments, "
        f"{_percent(right)} go the right way; what was predicted goes with what is true by r = "
        f"{change[known].corr(every['change'][known]):.2f}, and "
        f"{_percent(inside[known].mean())} of the 95 % intervals hold it."
    )
    words = _table("phrases")
    words = words[words["id"] == words["id"].iloc[0]]
    told = [
        [f"“{row['phrase']}”", f"{_signed(row['effect'])} ± {row['deviation']:.0f}"]
        for _, row in words.iterrows()
    ]
    yield _markdown(["phrase", "what it adds to the prediction"], told)


def _of_run(table: pd.DataFrame, task: str, model: str) -> pd.DataFrame:
    return table[(table["task"] == task) & (table["run"] == model)]


def _one(rows: pd.DataFrame, task: str) -> float:
    return float(rows.loc[rows["task"] == task, "observed"].iloc[0])


def _last(table: pd.DataFrame) -> pd.DataFrame:
    """Rows of the last round."""
    return table[table["round"] == table["round"].max()]


def _mean(values: pd.Series, digits: int = 2) -> str:
    """Mean over products, and its interval over them where they are enough for one."""
    known = values.dropna().to_numpy(dtype=np.float64)
    if len(known) == 0:
        return ""
    low, high = mean_interval([known])
    told = f"{known.mean():.{digits}f}"
    if np.isfinite(low) and len(known) >= FEWEST_FOR_LEVEL:
        told += f" [{low:.{digits}f}, {high:.{digits}f}]"
    return told.replace("-", "−")


def _interval(row: pd.Series, name: str = "r", sign: bool = False) -> str:
    ends = ("low", "high") if name == "r" else (f"{name}_low", f"{name}_high")
    form = "+.2f" if sign else ".2f"
    low, high = (format(row[end], form) for end in ends)
    return f"{format(row[name], form)} [{low}, {high}]".replace("-", "−")


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"


def _signed(value: float) -> str:
    return f"{value:+.1f}".replace("-", "−")


def _markdown(heads: list[str], rows: list[list[str]]) -> str:
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _draw(name: str, figure: object) -> None:
    write_text(PICTURES / f"{name}.svg", as_svg(figure))


def _picture(name: str, figure: object) -> None:
    """Hundreds of points are smaller as pixels."""
    from io import BytesIO

    from matplotlib.backends.backend_agg import FigureCanvasAgg

    content = BytesIO()
    figure.set_dpi(110)  # type: ignore[attr-defined]
    FigureCanvasAgg(figure).print_png(content)  # type: ignore[arg-type]
    write_file(PICTURES / f"{name}.png", content.getvalue())


PARTS = {
    "distances": _distances,
    "gradients": _gradients,
    "success": _success,
    "calibration": _calibration,
    "maps": _maps,
    "chemistry": _chemistry,
    "single": _single,
}

if __name__ == "__main__":
    main()
