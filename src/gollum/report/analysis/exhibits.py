"""Exhibits: a picture for each idea, a sentence that says what it shows, and the data behind it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from gollum.analysis.cross_validation import odd_share
from gollum.analysis.learned.cases import INITIAL, PRETRAINED, TRAINED, Understanding
from gollum.analysis.learned.success import R2, RATIO
from gollum.analysis.metrics import INTERVAL
from gollum.report.analysis import pictures

DISHONEST = 0.04  # difference from 95 % that matters
STRONGEST = 14  # effects and exchanges in a picture
HELD_OUT, LEFT_OUT = "held out", "left one out"
FIGURES = ((RATIO, "ℓ/d̄"), (R2, "R²"))
SUCCESS = "top 5 % found"
OVER = {
    "runs": "Over single runs", "tasks and methods": "Over the means of each task and method",
    "within tasks": "Within tasks, each task's mean taken off",
    "methods": "Over the means of methods on the tasks that all of them have",
}  # fmt: skip
FEW = 10  # points, of which a word is said
LEFT = 0.5  # difference of shares from which the likelihood still pulls by outcome
FEWEST_CHOSEN = 6  # experiments whose spread is compared


@dataclass(frozen=True, eq=False)
class Exhibit:
    """One idea.

    Attributes:
        name: of its files.
        title: a question, or what it is about.
        sentence: what it shows, computed from the data.
        draw: makes the picture, a figure of matplotlib.
        data: what is drawn, tidy.
        alt: the picture in words, for who can't see it.
    """

    name: str
    title: str
    sentence: str
    draw: Callable[[], Any]
    data: pd.DataFrame
    alt: str


def exhibits(found: Understanding) -> list[Exhibit]:
    """All that a run or campaign has enough results for."""
    makers = (_training, _rounds, _gradients, _maps, _components, _selection, _animation,
              _calibration, _effects, _exchanges, _phrases, _trends)  # fmt: skip
    return [exhibit for make in makers for exhibit in make(found)]


def of_records(runs: pd.DataFrame, table: pd.DataFrame) -> list[Exhibit]:
    """Success against ℓ/d̄ and R² over records; arguments as from `gollum.analysis.learned`."""
    tasks, methods = runs["task"].nunique(), runs["method"].nunique()
    what = f"{len(runs)} runs of {methods} methods on {tasks} tasks"
    points = runs[["task", "method", "seed", RATIO, R2, "top5_coverage"]]
    told = table[table["figure"].isin([RATIO, R2])]
    return [
        Exhibit(
            "success", "What goes with finding the best experiments?",
            f"{what}. {success_words(table, 'tasks and methods')} Small marks are the mean of a "
            "task and method, large ones the mean of a method.",
            lambda: pictures.success(runs, FIGURES, SUCCESS), points,
            "Share of the top 5 % found against ℓ/d̄ and against R².",
        ),
        Exhibit(
            "correlations", "Does ℓ/d̄ predict success better than R²?",
            " ".join(success_words(table, level) for level in told["over"].unique()),
            lambda: pictures.correlations(told, FIGURES), told,
            "Correlations of ℓ/d̄ and R² with success, with intervals, by what is a point.",
        ),
    ]  # fmt: skip


def success_words(table: pd.DataFrame, level: str) -> str:
    """Both correlations at one level, and which is larger for certain."""
    rows = {str(row["figure"]): row for _, row in table[table["over"] == level].iterrows()}
    ratio, share = rows[RATIO], rows[R2]
    if not np.isfinite(ratio["r"]) or not np.isfinite(share["r"]):
        return f"{OVER[level]} there is too little to correlate."
    verdict = "which of the two is closer is not decided"
    if ratio["lead_low"] > 0:
        verdict = "ℓ/d̄ is closer for certain"
    elif ratio["lead_high"] < 0:
        verdict = "R² is closer for certain"
    few = ""
    if ratio["points"] < FEW:
        limit = _by_chance(ratio["points"])
        few = f" With so few points chance alone goes beyond {limit:.2f} one time in 20."
    return (
        f"{OVER[level]} ({ratio['points']} points), success goes with ℓ/d̄ by r = {_r(ratio)} and "
        f"with R² by {_r(share)}; {verdict}.{few}"
    )


def _by_chance(points: int) -> float:
    """The |r| that n unrelated normal points exceed with probability 5 %."""
    from scipy.stats import t

    far = float(t.isf(0.025, points - 2))
    return far / float(np.sqrt(points - 2 + far**2))


def _training(found: Understanding) -> Iterator[Exhibit]:
    table = _of_model(found.geometry, found.model)
    last = table["round"].max() if len(table) else 0
    kept = table[(table["round"] == last) & (table["stage"] != PRETRAINED)]
    scope = _scope(kept)
    rows = kept[kept["scope"] == scope].sort_values("evaluations", kind="stable")
    if len(rows) < 2 or rows["contrast"].isna().all():
        return
    before, after = rows.iloc[0], rows.iloc[-1]
    moved = after["contrast"] / before["contrast"] - 1
    verdict = (
        "training parts good from bad" if moved > 0.05
        else "training brings good and bad closer" if moved < -0.05
        else "its features stay as they are, and only the kernel is fitted"
        if after["mean_distance"] == before["mean_distance"] else "training changes little"
    )  # fmt: skip
    whose = {"unmeasured": "that it has not seen", "measured": "that it was fitted to"}[scope]
    yield Exhibit(
        "training", "Does training part good experiments from bad ones?",
        f"While {found.model} is fitted to {after['measured']} results, a good and a bad one "
        f"{whose} go from {_times(before, 'high_low')} to {_times(after, 'high_low')} times the "
        f"mean distance, two good ones from {_times(before, 'high_high')} to "
        f"{_times(after, 'high_high')}, two bad ones from {_times(before, 'low_low')} to "
        f"{_times(after, 'low_low')}: {verdict}. (Good and bad are the upper and lower quarter.)",
        lambda: pictures.distances(rows, [str(n) for n in rows["evaluations"]]), rows,
        "Mean distances of pairs of good and bad experiments at each stage of training.",
    )  # fmt: skip


def _rounds(found: Understanding) -> Iterator[Exhibit]:
    table = found.geometry
    scope = _scope(_of_model(table, found.model), whole=True)
    rows = table[(table["stage"] == TRAINED) & (table["scope"] == scope)]
    own = _of_model(rows, found.model)
    if own["measured"].nunique() < 2:
        return
    first, last = own.iloc[0], own.iloc[-1]
    ratio = ""
    if np.isfinite(last["lengthscale_ratio"]):
        ratio = (
            f" Its ℓ/d̄ goes from {first['lengthscale_ratio']:.2f} to "
            f"{last['lengthscale_ratio']:.2f}; above 1, what is known of one experiment says "
            "something of most others."
        )
    panels = [("contrast", "good–bad / alike")]
    if rows["lengthscale_ratio"].notna().any():
        panels.append(("lengthscale_ratio", "ℓ / d̄"))
    yield Exhibit(
        "rounds", "Do good and bad part further as results come in?",
        f"From {first['measured']} to {last['measured']} results, good and bad experiments lie "
        f"{first['contrast']:.2f} and in the end {last['contrast']:.2f} times as far apart as good "
        f"from good and bad from bad in {found.model}, over {_whose(scope)}.{ratio}",
        lambda: pictures.over_rounds(rows, panels), rows,
        "Contrast of distances and ℓ/d̄ of each model over the number of results.",
    )  # fmt: skip


def _gradients(found: Understanding) -> Iterator[Exhibit]:
    table = _of_model(found.gradients, found.model)
    stages = [(INITIAL, "before training"), ("training", "under way"), (TRAINED, "after training")]
    if table.empty or INITIAL not in set(table["stage"]):
        return
    under_way = table[table["stage"] == "training"]["evaluations"].unique()
    if len(under_way):
        middle = under_way[len(under_way) // 2]
        table = table[(table["stage"] != "training") | (table["evaluations"] == middle)]
    stages = [(s, name) for s, name in stages if s in set(table["stage"])]
    start = table[table["stage"] == INITIAL]
    alike, unlike = start["together"].iloc[0], start["together"].iloc[-1]
    end = table[table["stage"] == TRAINED]
    after = ""
    if len(end):
        near, far = end["together"].iloc[0], end["together"].iloc[-1]
        left = (
            "what it could gain by that it has gained, and what is left goes both ways"
            if near - far < LEFT else "features or kernel can't follow it any further"
        )  # fmt: skip
        after = f" After training these are {_percent(near)} and {_percent(far)}: {left}."
    verdict = "as a contrastive loss would" if alike > unlike + 0.1 else "hardly by their outcome"
    yield Exhibit(
        "likelihood", "Which pairs does the likelihood pull together?",
        f"Before training, the marginal likelihood of {found.model} pulls {_percent(alike)} of the "
        f"pairs with the most similar outcomes together and {_percent(unlike)} of those that "
        f"differ most, {verdict}, though nobody told it which belong together.{after}",
        lambda: pictures.gradients(table, stages), table,
        "Gradient of the likelihood in each pair's kernel value, by difference of outcomes.",
    )  # fmt: skip


def _maps(found: Understanding) -> Iterator[Exhibit]:
    for method, axis in (("PCA", "PC"), ("UMAP", "UMAP")):
        table = found.maps[found.maps["method"] == method]
        panels = _panels(found, table, (PRETRAINED, TRAINED), ends=True)
        if not panels:
            continue
        yield Exhibit(
            f"map-{method.lower()}", f"The candidates as {found.model} sees them ({method})",
            f"{_near(found)} {_drawn_by(found, method)} Circles are what was measured then; grey "
            "has no known outcome.",
            lambda panels=panels, axis=axis: pictures.outcome_maps(  # type: ignore[misc]
                panels, _outcome(found), axis
            ),
            _joined(panels), f"Map of the candidates by {method} before and after training.",
        )  # fmt: skip


def _components(found: Understanding) -> Iterator[Exhibit]:
    last = _last_map(found)
    names = list(found.candidates.columns[3:])
    few = [c for c in names if 2 <= last[c].nunique() <= pictures.MOST_LEVELS][:4]
    if last.empty or not few:
        return
    from sklearn.metrics import silhouette_score

    xy = last[["x", "y"]].to_numpy()
    scores = {c: float(silhouette_score(xy, last[c].astype(str))) for c in few}
    strongest = max(scores, key=lambda c: scores[c])
    yield Exhibit(
        "map-components", "What lies together?",
        f"On this map {strongest} separates the candidates most (silhouette "
        f"{scores[strongest]:.2f}; 1 is clean clusters, 0 is none)"
        + "".join(f", {c} {_minus(f'{s:.2f}')}" for c, s in scores.items() if c != strongest) + ".",
        lambda: pictures.component_maps(last, few, "PC"), last[["id", "x", "y", *few]],
        "The same map coloured by each component.",
    )  # fmt: skip


def _selection(found: Understanding) -> Iterator[Exhibit]:
    last = _last_map(found)
    chosen = last.dropna(subset=["selected"])
    later = chosen[chosen["selected"] > 0]
    if last.empty or len(later) < FEWEST_CHOSEN:
        return
    centre = last[["x", "y"]].mean()
    half = later["selected"].median()
    spread = [
        float(np.sqrt(rows[["x", "y"]].var().sum()))
        for rows in (later[later["selected"] <= half], later[later["selected"] > half])
    ]
    whole = float(np.sqrt(((last[["x", "y"]] - centre) ** 2).sum(axis=1).mean()))
    settled = spread[1] < max(0.8 * spread[0], 0.5 * whole)
    yield Exhibit(
        "map-selected", "Where did it look?",
        f"The first half of the chosen experiments spreads over {_percent(spread[0] / whole)} and "
        f"the second over {_percent(spread[1] / whole)} of the candidates' own spread: it "
        f"{'settled on a region' if settled else 'went on looking in several places'}.",
        lambda: pictures.selection_map(last, "PC"), last[["id", "x", "y", "selected"]],
        "The measured experiments on the map, by the round that chose them.",
    )  # fmt: skip


def _animation(found: Understanding) -> Iterator[Exhibit]:
    table = found.maps[(found.maps["method"] == "PCA") & (found.maps["stage"] == TRAINED)]
    if table["round"].nunique() < 3:
        return
    panels = _panels(found, table, (TRAINED,))[:6]
    shares = found.explained_variance
    last = shares[shares["stage"] == TRAINED].iloc[-1]
    yield Exhibit(
        "map-rounds", "The map as results came in",
        f"The space of {found.model} after each fit, turned so that candidates stay near where "
        f"they were; two directions hold {_percent(last['share'])} of its variance in the end.",
        lambda: pictures.outcome_maps(panels, _outcome(found), "PC"), _joined(panels),
        "Maps of the candidates at several rounds, coloured by outcome.",
    )  # fmt: skip


def _calibration(found: Understanding) -> Iterator[Exhibit]:
    table = found.calibration
    schemes = [s for s in (HELD_OUT, LEFT_OUT) if s in set(table["scheme"])]
    main = table[table["scheme"] == schemes[0]].set_index("model")
    own = main.to_dict("index")[found.model]
    best = ""
    if len(main) > 1:
        loss = _minus(f"{main['nlpd'].min():.2f}")
        best = f" {main['nlpd'].idxmin()} has the best log loss of {len(main)} models ({loss})."
    odd, verdict = odd_share(own["inside_95"], own["points"]), "it is honest"
    if abs(own["inside_95"] - 0.95) >= DISHONEST:
        verdict = {"too few": "it is too sure of itself", "too many": "it is too careful",
                   None: "with so few results that may be chance"}[odd]  # fmt: skip
    whose = "experiments that were not measured" if schemes[0] == HELD_OUT else (
        "results, each left out by the formula")  # fmt: skip
    warned = "" if HELD_OUT in schemes else (
        " Features that were trained on the same results look better here than they are."
    )  # fmt: skip
    if len(schemes) == 2:
        out = table[table["scheme"] == LEFT_OUT].set_index("model").to_dict("index")[found.model]
        warned = f" Leaving results out by the formula says {_percent(out['inside_95'])}"
        if out["inside_95"] > own["inside_95"] + 0.04:
            warned += ": what was fitted with a result does not quite forget it"
        warned += "."
    yield Exhibit(
        "reliability", "Does the model know what it does not know?",
        f"Of {own['points']} {whose}, {_percent(own['inside_95'])} fall inside the 95 % intervals "
        f"of {found.model}: {verdict}.{best}{warned}",
        lambda: pictures.reliability(found.reliability, schemes), found.reliability,
        "Share of outcomes inside the predicted intervals against the share promised.",
    )  # fmt: skip


def _effects(found: Understanding) -> Iterator[Exhibit]:
    table = found.effects
    if table.empty:
        return
    size = table["effect"].abs()
    rows = table.loc[size.nlargest(STRONGEST).index].sort_values("effect", ascending=False)
    top = rows.iloc[0] if rows.iloc[0]["effect"] > 0 else rows.iloc[-1]
    known = table.dropna(subset=["observed"])
    truth = ""
    if len(known) > 2:
        inside = ((known["low"] <= known["observed"]) & (known["observed"] <= known["high"])).sum()
        r = float(known["effect"].corr(known["observed"]))
        truth = (
            f" All outcomes are known here: its {len(known)} effects go with the true ones by r = "
            f"{r:.2f}, and {inside} of the intervals hold them."
        )
    yield Exhibit(
        "effects", "What does each choice do?",
        f"{found.model} expects most of {top['column']} {top['value']}: {_signed(top['effect'])} "
        f"({_signed(top['low'])} to {_signed(top['high'])}){_unit(found)} against the average of "
        f"all candidates.{truth}",
        lambda: pictures.intervals(
            _bars(rows, "effect", "observed"), f"effect on {_outcome(found)}", truth="true"
        ), table,
        "Effects of the strongest values with their intervals.",
    )  # fmt: skip


def _exchanges(found: Understanding) -> Iterator[Exhibit]:
    table = found.replacements
    if table.empty:
        return
    first = table[table["id"] == table["id"].iloc[0]]
    rows = first.loc[first["change"].abs().nlargest(STRONGEST).index]
    rows = rows.sort_values("mean_instead", ascending=False)
    worst = first.loc[first["change"].abs().idxmax()]
    known = table.dropna(subset=["observed", "observed_instead"])
    truth = ""
    if len(known) > 2:
        change = known["observed_instead"] - known["observed"]
        right = float((np.sign(change) == np.sign(known["change"])).mean())
        truth = (
            f" Of {len(known)} exchanges with known outcomes, {_percent(right)} go the right way."
        )
    label = rows["column"] + ": " + rows["instead"]
    ends = INTERVAL * rows["deviation_instead"]
    bars = pd.DataFrame(
        {"label": label, "value": rows["mean_instead"], "low": rows["mean_instead"] - ends,
         "high": rows["mean_instead"] + ends, "truth": rows["observed_instead"]}
    )  # fmt: skip
    own = float(first["mean"].iloc[0])
    yield Exhibit(
        "replacements", f"What if one reagent of {first['id'].iloc[0]} were another?",
        f"{exchange_words(worst)}{_unit(found)} (± two thirds of the time).{truth}",
        lambda: pictures.intervals(bars, f"{_outcome(found)}; the line is as it is", zero=own),
        table, "Predictions with one reagent replaced, with their intervals.",
    )  # fmt: skip


def exchange_words(row: pd.Series) -> str:
    """With Cs2CO3 instead of K3PO4: 62 ± 9 → 41 ± 12."""
    now = _uncertain(row["mean"], row["deviation"])
    instead = _uncertain(row["mean_instead"], row["deviation_instead"])
    return f"With {row['instead']} instead of {row['value']}: {now} → {instead}"


def _uncertain(mean: float, deviation: float) -> str:
    """Both with as many decimals as two digits of the deviation have."""
    decimals = max(0, 1 - math.floor(math.log10(deviation))) if deviation > 0 else 2
    return _minus(f"{mean:.{decimals}f} ± {deviation:.{decimals}f}")


def _phrases(found: Understanding) -> Iterator[Exhibit]:
    table = found.phrases
    if table.empty:
        return
    first = table[table["id"] == table["id"].iloc[0]]
    bars = pd.DataFrame(
        {"label": first["phrase"], "value": first["effect"], "truth": np.nan,
         "low": first["effect"] - INTERVAL * first["deviation"],
         "high": first["effect"] + INTERVAL * first["deviation"]}
    )  # fmt: skip
    strongest = first.loc[first["effect"].abs().idxmax()]
    around = first[first["column"] == ""]["effect"].abs().max()
    warned = ""
    if around > 0.5 * abs(strongest["effect"]):
        warned = (
            " Words that are the same in every text move it a lot too when they are missing: such "
            "a text is unlike all that the model has seen, so take these numbers as hints."
        )
    yield Exhibit(
        "phrases", f"Which words speak for {first['id'].iloc[0]}?",
        f"Without “{strongest['phrase']}” the prediction changes by "
        f"{_signed(-strongest['effect'])}{_unit(found)}, more than without any other phrase of "
        f"its text.{warned}",
        lambda: pictures.intervals(bars, f"what the phrase adds to {_outcome(found)}"), table,
        "What each phrase of the text adds to the prediction.",
    )  # fmt: skip


def _trends(found: Understanding) -> Iterator[Exhibit]:
    rows = found.trends[found.trends["predicted"].notna()]
    if rows.empty:
        return
    bars = pd.DataFrame(
        {"label": [c[0].upper() + c[1:] for c in rows["claim"]], "value": rows["predicted"],
         "low": rows["predicted_low"], "high": rows["predicted_high"], "truth": rows["observed"]}
    )  # fmt: skip
    seen, agreed = (rows["data"] == "agrees").sum(), (rows["model"] == "agrees").sum()
    yield Exhibit(
        "trends", "Does it agree with what chemists know?",
        f"Of {len(rows)} known trends that this table can tell of, the results agree with {seen} "
        f"and {found.model} with {agreed}. Experiments are compared that are otherwise equal.",
        lambda: pictures.intervals(
            bars, f"difference of {_outcome(found)}"
        ), found.trends, "Known trends: predicted and measured differences.",
    )  # fmt: skip


def _bars(rows: pd.DataFrame, value: str, truth: str) -> pd.DataFrame:
    label = rows["column"] + ": " + rows["value"]
    return pd.DataFrame(
        {"label": label, "value": rows[value], "low": rows["low"], "high": rows["high"],
         "truth": rows[truth]}
    )  # fmt: skip


def _panels(
    found: Understanding, table: pd.DataFrame, stages: Sequence[str], ends: bool = False
) -> list[tuple[str, pd.DataFrame]]:
    """Maps with titles, in order; only the first and the last of a stage with `ends`."""
    panels = []
    order = list(found.case.rounds)
    for (stage, number), rows in table.groupby(["stage", "round"], sort=False):
        if stage not in stages:
            continue
        known = next((set(r.ids) for r in order if r.number == number), set(order[-1].ids))
        title = (
            "before any result" if stage == PRETRAINED else f"{rows['measured'].iloc[0]} results"
        )
        if stage == PRETRAINED:
            known = set()
        merged = rows.merge(found.candidates[["id", "outcome"]], on="id")
        panels.append((title, merged.assign(known=merged["id"].isin(known))))
    return [panels[0], panels[-1]] if ends and len(panels) > 2 else panels


def _joined(panels: Sequence[tuple[str, pd.DataFrame]]) -> pd.DataFrame:
    return pd.concat([table for _, table in panels], ignore_index=True)


def _last_map(found: Understanding) -> pd.DataFrame:
    """The last principal components with what is known of the candidates."""
    table = found.maps[(found.maps["method"] == "PCA") & (found.maps["stage"] == TRAINED)]
    last = pd.DataFrame(table[table["round"] == table["round"].max()])
    return last.merge(found.candidates, on="id")


def _near(found: Understanding) -> str:
    """How neighbours agree before and after."""
    table = _of_model(found.geometry, found.model)
    rows = table[table["scope"] == _scope(table, whole=True)]
    before, after = rows[rows["stage"] == PRETRAINED], rows[rows["stage"] == TRAINED]
    if before.empty or after.empty:
        return "Each point is a candidate."
    one, other = before.iloc[-1], after.iloc[-1]
    return (
        "Each point is a candidate. The outcome goes with that of its five nearest neighbours by r "
        f"= {one['neighbour_correlation']:.2f} before and {other['neighbour_correlation']:.2f} "
        f"after training; {one['effective_rank']:.0f} directions are in use before and "
        f"{other['effective_rank']:.0f} after."
    )


def _drawn_by(found: Understanding, method: str) -> str:
    if method == "UMAP":
        return "UMAP keeps neighbours together; distances between groups mean little."
    shares = found.explained_variance
    return f"These two directions hold {_percent(shares['share'].iloc[-1])} of the variance."


def _of_model(table: pd.DataFrame, model: str) -> pd.DataFrame:
    return table[table["model"] == model] if len(table) else table


def _scope(table: pd.DataFrame, whole: bool = False) -> str:
    """What is not measured where its outcomes are known, else what is."""
    there = set(table["scope"]) if len(table) else set()
    if whole and "all" in there:
        return "all"
    return "unmeasured" if "unmeasured" in there else "measured"


def _whose(scope: str) -> str:
    return {"all": "all with a known outcome", "unmeasured": "those not measured"}.get(
        scope, "the measured ones"
    )


def _outcome(found: Understanding) -> str:
    pool, unit = found.case.pool, found.case.unit
    scale = found.case.scale.transform
    told = f"{scale} of {pool.objective}" if scale not in ("identity", "auto") else pool.objective
    return f"{told} ({unit})" if unit and unit != "-" else told


def _unit(found: Understanding) -> str:
    unit = found.case.unit
    return f" {unit}" if unit and unit != "-" else ""


def _times(row: pd.Series, column: str) -> str:
    return f"{row[column] / row['mean_distance']:.2f}"


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"


def _signed(value: float) -> str:
    return _minus(f"{value:+.3g}")


def _minus(text: str) -> str:
    return text.replace("-", "−")


def _r(row: pd.Series) -> str:
    if not np.isfinite(row["low"]):
        return _minus(f"{row['r']:.2f}")
    return _minus(f"{row['r']:.2f} [{row['low']:.2f}, {row['high']:.2f}]")
