"""Write the tables of the pages of benchmarks and their pictures from the committed records.

    python scripts/benchmark_page.py

What stands between the markers of a sweep is replaced; the words around it are written by hand.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd

from gollum.analysis.comparison import Comparison, compare, over_tasks, paired
from gollum.analysis.savings import curves, tasks_of_all
from gollum.benchmark.sweeps.records import Records, read_records
from gollum.benchmark.sweeps.settings import written
from gollum.files import write_text
from gollum.report.comparison import curves as curve_pictures
from gollum.report.comparison import pictures
from gollum.report.comparison.notation import percent
from gollum.report.comparison.tables import ranking_sentence

ROOT = Path(__file__).resolve().parent.parent
PAGES = tuple(ROOT / "docs" / f"{name}.md" for name in ("benchmarks", "surrogates-compared"))
RECORDS = ROOT / "benchmarks" / "results" / "records"
MARKED = re.compile(r"<!-- sweep: (?P<name>[\w-]+) -->\n.*?<!-- end -->", re.DOTALL)

# The encoding without a language model: one-hot where there are categories or numbers, Morgan's
# where there is nothing but structures.
PLAIN = "one_hot or morgan"
JOINED = {PLAIN: ("one_hot", "morgan")}
# What varies on a task; components and other names on those that are in none of these.
KINDS = {
    "numbers only": "hplc oer oer-3851 oer-3860 oer-4098 colors-bob crossed-barrel fullerenes "
    "opv-photodegradation p3ht-cnt suzuki-process",
    "numbers and components": "ocm-c2 vapdiff ni-suzuki reductive-amination suzuki-phosphines "
    "suzuki-edboplus-conversion",
    "one molecule": "additives-1 additives-2 additives-3 additives-4 kinase-docking photoswitch "
    "photovoltaics-pce redox-ered redox-gsol esol freesolv laser-emitters lipophilicity",
}
WORDLESS, WITHOUT = "without words", "without"
# Sweeps of the default under other conditions, in words.
CONDITIONS = {
    "starts-random": "ten random starting points",
    "starts-random-5": "five, and 55 experiments after them",
    "starts-random-1": "one, and 59 after it",
    "batches-24": "three batches of 24, results late and failed",
}
PRODUCTS = ("bh-cf3", "bh-methoxy", "bh-ethyl", "bh-2-pyridyl", "bh-3-pyridyl")
PLATES = ("additives-1", "additives-2", "additives-3", "additives-4")
LEARNED, ALONE, EARLY = "with them", "alone", 20


def _others(tasks: Sequence[str], **more: object) -> Callable[[str], dict[str, object]]:
    """Keys of a run that learns from all other tasks of a family."""
    own = {f"transfer.{key}": value for key, value in more.items()}

    def keys(task: str) -> dict[str, object]:
        sources = [other for other in tasks if other != task]
        return {"protocol": "transfer", "transfer.sources": sources, **own}

    return keys


def _next(task: str) -> dict[str, object]:
    """Keys of a run that learns from one other product."""
    other = PRODUCTS[(PRODUCTS.index(task) + 1) % len(PRODUCTS)]
    return {"protocol": "transfer", "transfer.sources": [other]}


# What was known beforehand, of which tasks, as keys of the run of a task, and its surrogate.
Known = tuple[tuple[str, Sequence[str], Callable[[str], dict[str, object]], str], ...]
TRANSFER: Known = (
    ("60 results of one other product", PRODUCTS, _next, "combined"),
    ("60 of each of four", PRODUCTS, _others(PRODUCTS), "combined"),
    ("200 of each of four", PRODUCTS, _others(PRODUCTS, results=200), "combined"),
    ("60 of each of four, without half of the additives", PRODUCTS,
     _others(PRODUCTS, unseen="additive"), "combined"),
    ("the same on three products, identity alone (`averaged`)", PRODUCTS[::2],
     _others(PRODUCTS, unseen="additive"), "averaged"),
    ("60 of each of four, permuted", PRODUCTS,
     _others(PRODUCTS, control="permuted_labels"), "combined"),
    ("60 of each of four, inverted", PRODUCTS,
     _others(PRODUCTS, control="inverted_labels"), "combined"),
    ("60 of each of three other plates of additives", PLATES, _others(PLATES), "combined"),
)  # fmt: skip


def _one_bad(control: str) -> Callable[[str], dict[str, object]]:
    """Keys of a run that learns from all other products, of which the first misleads."""

    def keys(task: str) -> dict[str, object]:
        known = _others(PRODUCTS, control=control)(task)
        sources = known["transfer.sources"]
        assert isinstance(sources, list)  # noqa: S101 (`_others` makes one)
        return {**known, "transfer.controlled": sources[:1]}

    return keys


def _from(sources: Mapping[str, Sequence[str]]) -> Callable[[str], dict[str, object]]:
    """Keys of a run that learns from what is said for its task."""
    return lambda task: {"protocol": "transfer", "transfer.sources": [*sources[task]]}


def _ranked(task: str, **more: object) -> dict[str, object]:
    """Keys of a run that knows rankings of each column from one other product."""
    own = {f"transfer.{key}": value for key, value in more.items()}
    return {**_next(task), "transfer.results": 0, **own, "transfer.form": "rankings"}


REIZMAN = tuple(f"reizman-suzuki-{number}" for number in range(1, 5))
OER = ("oer-3851", "oer-3860", "oer-4098")
BAUMGARTNER = ("baumgartner-aniline", "baumgartner-benzamide")
OTHERWISE = {
    "suzuki-phosphines": ("suzuki-perera", "ni-suzuki"),
    "ni-suzuki": ("suzuki-perera", "suzuki-phosphines"),
    "suzuki-informer": ("suzuki-perera", "suzuki-phosphines"),
    "cn-nanoscale": ("bh-cf3", "bh-3-pyridyl"),
    "amide-coupling": ("n-alkylation", "reductive-amination"),
}
UNRELATED = {"bh-ethyl": ("deoxyfluorination",), "bh-cf3": ("amide-coupling",)}
TRANSFER_MORE: Known = (
    ("all results of each of four", PRODUCTS, _others(PRODUCTS, results=0), "combined"),
    ("60 of each of four, one permuted", PRODUCTS, _one_bad("permuted_labels"), "combined"),
    ("60 of each of four, one inverted", PRODUCTS, _one_bad("inverted_labels"), "combined"),
    ("60 of each of four, pooled as one task", PRODUCTS, _others(PRODUCTS), "pooled"),
    ("60 of each of four, models ranked", PRODUCTS, _others(PRODUCTS), "ranked"),
    ("60 of each of three other Reizman couplings", REIZMAN, _others(REIZMAN), "combined"),
    ("60 of the other Baumgartner coupling", BAUMGARTNER, _others(BAUMGARTNER), "combined"),
    ("60 of each of two other OER plates", OER, _others(OER), "combined"),
    ("60 of each of two related tables with other columns", tuple(OTHERWISE), _from(OTHERWISE),
     "combined"),
    ("60 of an unrelated table", tuple(UNRELATED), _from(UNRELATED), "combined"),
    ("rankings of each column, from one other product", PRODUCTS, _ranked, "combined"),
    ("the same upside down", PRODUCTS, partial(_ranked, control="inverted_labels"), "combined"),
)  # fmt: skip
KNOWN = {"transfer": TRANSFER, "transfer-more": TRANSFER_MORE}
SEEDS = 5  # of each task, but for the five products
# On which the default was tuned.
DEVELOPMENT = (
    "bh-cf3 bh-ethyl bh-3-pyridyl additives-1 photoswitch esol ocm-c2 deoxyfluorination "
    "reductive-amination crossed-barrel"
)
# From guessing to the whole: first what embeddings are worth without a projection, then with one.
LADDERS = (
    ("random", "static-random_embeddings", "static-swapped_names", "static", "pllm", "pllm_phi"),
    ("random", "pllm-random_embeddings", "pllm-swapped_names", "pllm", "pllm_phi"),
)


def main() -> None:
    """Replace every marked part of the pages."""
    for page in PAGES:
        text = page.read_text("utf-8")
        write_text(page, MARKED.sub(lambda marked: _part(marked["name"]), text))


def _part(name: str) -> str:
    text = "\n\n".join(filter(None, PARTS[name](name)))
    return f"<!-- sweep: {name} -->\n{text}\n<!-- end -->"


def _products(name: str) -> Iterator[str]:
    records = _records(name)
    found = compare(records.table, records.traces)
    yield from _whole(name, found)


def _many_tasks(name: str) -> Iterator[str]:
    records = _records(name)
    found = compare(records.table, records.traces, reference=PLAIN, joined=JOINED)
    yield from _whole(name, found)
    yield f"On the way there, means over tasks, and the gain of `pllm` over `{PLAIN}`:"
    yield _on_the_way(found)
    yield f"Gain of `pllm` over `{PLAIN}` on each task, in percentage points, intervals over seeds:"
    two = records.table[records.table["surrogate"].isin(["pllm", *JOINED[PLAIN]])]
    gains = compare(two, pd.DataFrame(), reference=PLAIN, joined=JOINED)
    yield _picture(f"{name}-pllm", pictures.gains_of(gains, "pllm"))


def _default(name: str) -> Iterator[str]:
    """The default beside the methods of two sweeps, on the tasks that it has run on."""
    own = _records(name).table
    own = own[(own["settings"] == "") & (own["seed"] < SEEDS)]
    others = pd.concat([_records(sweep).table for sweep in ("paper19", "further")])
    runs = pd.concat([own, others[others["task"].isin(own["task"])]]).assign(preset="", model="")
    runs["surrogate"] = runs["surrogate"].replace(dict.fromkeys(JOINED[PLAIN], PLAIN))
    methods = ("combined", PLAIN, "pllm", "static", "random")
    rows = []
    for kind, part in _by_kind(runs):
        found = [compare(part, pd.DataFrame(), reference=m) for m in (PLAIN, "pllm")]
        means = found[0].overall.set_index("method")["mean"]
        gains = [c.gains.set_index("method").loc["combined"] for c in found]
        rows.append((
            kind, str(part["task"].nunique()), *(f"{means[m]:.3f}" for m in methods),
            *(f"{g['mean']:+.3f} {_interval(g['low'], g['high'], '+')}" for g in gains),
        ))  # fmt: skip
    columns = [*map(_code, methods), f"gain over {_code(PLAIN)} [95 %]", "gain over `pllm` [95 %]"]
    yield _markdown(("what varies", "tasks", *columns), rows)
    found = compare(runs, pd.DataFrame(), reference=PLAIN)
    yield _runs(found)
    yield _means(found)
    yield _plain(found.quality)
    yield _tasks(found)


def _language(_: str) -> Iterator[str]:
    """What words add to the default."""
    runs = _records("default").table
    runs = runs[runs["seed"] < SEEDS].assign(preset="", model="")
    bare = runs["settings"] != ""
    runs["surrogate"] = runs["surrogate"].where(~bare, WORDLESS)
    runs = runs.assign(settings="")
    runs = runs[runs["task"].isin(runs["task"][bare])]
    rows = []
    for kind, part in _by_kind(runs):
        found, area = (compare(part, pd.DataFrame(), m, WORDLESS) for m in ("top5_coverage", "auc"))
        means = found.overall.set_index("method")["mean"]
        gains = [c.gains.set_index("method").loc["combined"] for c in (found, area)]
        rows.append((
            kind, str(len(found.tasks)), *(f"{means[m]:.3f}" for m in ("combined", WORDLESS)),
            *(f"{g['mean']:+.3f} {_interval(g['low'], g['high'], '+')}" for g in gains),
        ))  # fmt: skip
    yield _markdown(
        ("what varies", "tasks", "`combined`", WORDLESS, "gain of words [95 %]",
         "in area under best-so-far [95 %]"), rows,
    )  # fmt: skip


def _five(_: str) -> Iterator[str]:
    """The default on five products, beside the methods of that sweep."""
    others = _records("buchwald-hartwig").table
    own = _records("default").table
    own = own[(own["settings"] == "") & own["task"].isin(others["task"])]
    runs = pd.concat([own, others]).assign(preset="", model="")
    found = compare(runs, pd.DataFrame(), reference="one_hot")
    yield _runs(found)
    yield _means(found)
    yield _tasks(found)


def _realistic(name: str) -> Iterator[str]:
    """The default in batches, beside the plain encoding under the same conditions."""
    runs = _records(name).table.assign(preset="", model="", settings="")
    runs["surrogate"] = runs["surrogate"].replace(dict.fromkeys(JOINED[PLAIN], PLAIN))
    found = compare(runs, pd.DataFrame(), reference=PLAIN)
    yield _runs(found)
    yield _means(found)
    yield _tasks(found)


def _conditions(_: str) -> Iterator[str]:
    """The default beside the plain encoding under other conditions."""
    rows = []
    for name, words in CONDITIONS.items():
        runs = _records(name).table.assign(preset="", model="", settings="")
        runs["surrogate"] = runs["surrogate"].replace(dict.fromkeys(JOINED[PLAIN], PLAIN))
        rows.append((words, *_against(runs, "combined", PLAIN)))
    yield _markdown(
        ("", "`combined`", _code(PLAIN), "gain [95 %]", "in area under best-so-far [95 %]"), rows
    )


def _encoders(name: str) -> Iterator[str]:
    """The default with other language models."""
    own, known = _records(name).table, _records("default").table
    known = known[(known["settings"] == "") & (known["seed"] < SEEDS)]
    known = known[known["task"].isin(own["task"])]
    rows = []
    for model, runs in own.groupby("model"):
        both = pd.concat([runs, known.assign(surrogate="minilm")]).assign(preset="", model="")
        rows.append((_code(str(model)), *_against(both, "combined", "minilm")))
    yield _markdown(
        ("", "found", "`minilm`", "gain [95 %]", "in area under best-so-far [95 %]"), rows
    )


def _minimol(name: str) -> Iterator[str]:
    """The default with MiniMol's features beside the same without them."""
    own, known = _records(name).table, _records("default").table
    known = known[(known["settings"] == "") & (known["seed"] < SEEDS)]
    known = known[known["task"].isin(own["task"])].assign(surrogate=WITHOUT)
    both = pd.concat([own, known]).assign(preset="", model="", settings="")
    plates = both["task"].isin(PLATES)
    parts = {"all": both, "measured properties of a molecule": both[~plates],
             "additives of a reaction": both[plates]}  # fmt: skip
    yield _markdown(
        ("", "tasks", "with MiniMol", "without", "gain [95 %]", "in area under best-so-far [95 %]"),
        [
            (words, str(runs["task"].nunique()), *_against(runs, "combined", WITHOUT))
            for words, runs in parts.items()
        ],
    )


def _against(runs: pd.DataFrame, method: str, reference: str) -> tuple[str, ...]:
    """Means of two methods, and what the first gains in the top found and in the area."""
    found, area = (compare(runs, pd.DataFrame(), m, reference) for m in ("top5_coverage", "auc"))
    means = found.overall.set_index("method")["mean"]
    gains = [c.gains.set_index("method").loc[method] for c in (found, area)]
    return (
        *(f"{means[m]:.3f}" for m in (method, reference)),
        *(f"{g['mean']:+.3f} {_interval(g['low'], g['high'], '+')}" for g in gains),
    )


def _transfer(name: str) -> Iterator[str]:
    """What results of other tasks bring, beside the same runs without them."""
    own, known = _records(name), _records("default")
    rows = []
    for words, tasks, keys, surrogate in KNOWN[name]:
        wanted = {task: written(keys(task)) for task in tasks}
        alone = known if set(tasks) <= set(known.table["task"]) else own
        found = [
            _as(records, label, part)
            for records, label, part in (
                (own, LEARNED, _runs_with(own.table, surrogate, wanted)),
                (alone, ALONE, _runs_with(alone.table, "combined", dict.fromkeys(tasks, ""))),
            )
        ]
        table, traces = (pd.concat(parts) for parts in zip(*found, strict=True))
        early = traces[traces["iteration"] == EARLY].groupby("method")["top5_coverage"].mean()
        last, area = (compare(table, pd.DataFrame(), m, ALONE) for m in ("top5_coverage", "auc"))
        means = last.overall.set_index("method")["mean"]
        gains = [c.gains.set_index("method").loc[LEARNED] for c in (last, area)]
        rows.append((
            words, *(f"{early[m]:.2f}" for m in (LEARNED, ALONE)),
            *(f"{means[m]:.3f}" for m in (LEARNED, ALONE)),
            *(f"{g['mean']:+.3f} {_interval(g['low'], g['high'], '+')}" for g in gains),
        ))  # fmt: skip
    yield _markdown(
        ("known beforehand", f"found after {EARLY}", "alone", "after 50", "alone", "gain [95 %]",
         "in area under best-so-far [95 %]"), rows,
    )  # fmt: skip


def _tasks_of_baybe(name: str) -> Iterator[str]:
    """What results of one other product bring BayBE and the default within 20 experiments."""
    wanted = {product: written(_next(product)) for product in PRODUCTS}
    alone = dict.fromkeys(PRODUCTS, "")
    pairs = (
        ("BayBE, TaskParameter", "baybe", name, "buchwald-hartwig"),
        ("the default", "combined", "transfer", "default"),
    )
    rows = []
    for words, surrogate, with_them, without in pairs:
        found = []
        for label, sweep, settings in ((LEARNED, with_them, wanted), (ALONE, without, alone)):
            records = _records(sweep)
            table, traces = _as(records, label, _runs_with(records.table, surrogate, settings))
            early = traces[traces["iteration"] == EARLY].set_index(["task", "seed"])
            table = table.set_index(["task", "seed"])
            table["top5_coverage"] = early["top5_coverage"]
            found.append(table.reset_index())
        early = compare(pd.concat(found), pd.DataFrame(), "top5_coverage", ALONE)
        means, gain = early.overall.set_index("method")["mean"], early.gains.iloc[0]
        rows.append((
            words, *(f"{means[m]:.3f}" for m in (ALONE, LEARNED)),
            f"{gain['mean']:+.3f} {_interval(gain['low'], gain['high'], '+')}",
            f"{gain['pairs']:.0f}",
        ))  # fmt: skip
    yield _markdown(
        (f"found after {EARLY}", "alone", "with 60 results of one other product", "gain [95 %]",
         "pairs"), rows,
    )  # fmt: skip


def _runs_with(table: pd.DataFrame, surrogate: str, settings: Mapping[str, str]) -> pd.DataFrame:
    """Runs of a surrogate on some tasks, each with its settings, of the first seeds."""
    wanted = table["task"].map(settings)
    return table[
        (table["settings"] == wanted) & (table["surrogate"] == surrogate) & (table["seed"] < SEEDS)
    ]


def _as(records: Records, label: str, runs: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Runs and their traces under one name of a method."""
    keys = ["task", "surrogate", "model", "preset", "control", "settings", "seed"]
    traces = records.traces.merge(runs[keys], on=keys)
    bare = {"surrogate": label, "model": "", "preset": "", "settings": ""}
    return runs.assign(**bare), traces.assign(method=label)


def _by_kind(runs: pd.DataFrame) -> Iterator[tuple[str, pd.DataFrame]]:
    """All runs, those of each kind of task, and those of tasks that nothing was tuned on."""
    kinds = {task: kind for kind, tasks in KINDS.items() for task in tasks.split()}
    yield "all", runs
    yield from runs.groupby(runs["task"].map(kinds).fillna("components"))
    yield "not used for tuning", runs[~runs["task"].isin(DEVELOPMENT.split())]


def _kinds(_: str) -> Iterator[str]:
    both = pd.concat([_records(name).table for name in ("paper19", "further")])
    both = both.assign(surrogate=both["surrogate"].replace(dict.fromkeys(JOINED[PLAIN], PLAIN)))
    kinds = {task: kind for kind, tasks in KINDS.items() for task in tasks.split()}
    both["kind"] = both["task"].map(kinds).fillna("components")
    rows = []
    for kind, runs in (*both.groupby("kind"), ("all", both)):
        found, area = (compare(runs, pd.DataFrame(), m, PLAIN) for m in ("top5_coverage", "auc"))
        means = found.overall.set_index("method")["mean"]
        gains = [c.gains.set_index("method").loc["pllm"] for c in (found, area)]
        rows.append((
            kind, str(len(found.tasks)), *(f"{means[m]:.3f}" for m in (PLAIN, "pllm", "static")),
            *(f"{g['mean']:+.3f} {_interval(g['low'], g['high'], '+')}" for g in gains),
        ))  # fmt: skip
    yield _markdown(
        ("what varies", "tasks", *map(_code, (PLAIN, "pllm", "static")),
         "gain of `pllm` [95 %]", "in area under best-so-far [95 %]"), rows,
    )  # fmt: skip


def _controls(name: str) -> Iterator[str]:
    own, products = _records(name), _records("buchwald-hartwig").table
    adapted = products[products["surrogate"] == "pllm_phi"]
    table = pd.concat([own.table, adapted], ignore_index=True)
    complete = own.table.groupby("task")["surrogate"].transform("nunique") > 1
    few = table[table["task"].isin(own.table.loc[complete, "task"])]
    found = compare(few, pd.DataFrame(), reference="pllm")
    yield _runs(found)
    yield _means(found)
    for ladder in LADDERS:
        steps = compare(few, pd.DataFrame(), ladder=ladder).steps
        yield (
            f"From {_code(ladder[0])} to {_code(ladder[-1])}, step by step "
            f"({steps['runs'].iloc[0]} pairs each):"
        )
        yield _markdown(
            ("step", "gain [95 %]", "share"),
            [
                (
                    f"{_code(row['before'])} → {_code(row['method'])}",
                    f"{row['mean']:+.3f} {_interval(row['low'], row['high'], '+')}",
                    percent(row["share"]),
                )
                for row in steps.to_dict("records")
            ],
        )
    swapped = compare(table, pd.DataFrame(), reference="pllm-swapped_names")
    yield "What the words mean, and how close numbers are: `pllm` against `pllm-swapped_names`:"
    means = swapped.per_task.pivot_table(index="task", columns="method", values="mean")
    yield _markdown(
        ("task", "`pllm`", "`pllm-swapped_names`", "gain [95 %]"),
        [
            (
                row["task"],
                f"{means.loc[row['task'], 'pllm']:.2f}",
                f"{means.loc[row['task'], 'pllm-swapped_names']:.2f}",
                f"{row['mean']:+.3f} {_interval(row['low'], row['high'], '+')}",
            )
            for row in swapped.gains_per_task.query("method == 'pllm'").to_dict("records")
        ],
    )


PARTS: dict[str, Callable[[str], Iterable[str]]] = {
    "default": _default,
    "language": _language,
    "five-products": _five,
    "realistic": _realistic,
    "conditions": _conditions,
    "encoders": _encoders,
    "minimol": _minimol,
    "transfer": _transfer,
    "transfer-baybe": _tasks_of_baybe,
    "transfer-more": _transfer,
    "buchwald-hartwig": _products,
    "paper19": _many_tasks,
    "further": _many_tasks,
    "kinds": _kinds,
    "controls": _controls,
}


def _records(name: str) -> Records:
    return read_records(RECORDS / f"{name}.csv")


def _whole(name: str, found: Comparison) -> Iterator[str]:
    """All tables and the curves of a sweep in which every method has the same tasks."""
    yield _runs(found)
    yield _means(found)
    yield "Mean ± standard deviation over seeds:"
    yield _tasks(found)
    yield "The last fit of each run, judged on all candidates that were not measured (means):"
    yield _plain(found.quality)
    yield (
        "Iterations saved until the final best value of a task's best baseline (of the methods "
        "that train nothing but a Gaussian process) is reached: on how many tasks the median seed "
        "does, and medians over tasks:"
    )
    yield _plain(found.saved)
    shares = curves(found.traces, "top5_coverage")
    common = tasks_of_all(shares, found.tasks, found.methods)
    yield f"Share of the top 5 % found, mean over {len(common)} tasks:"
    yield _picture(name, curve_pictures.coverage(shares, common, found.methods))
    yield _picture(f"{name}-legend", curve_pictures.legend(found.methods))


def _runs(found: Comparison) -> str:
    short = {re.sub(r"(?<=^\w{7})\w+", "", str(c)) for c in found.runs["commit"] if c}
    commits = ", ".join(sorted(short))
    sentences = (f"{len(found.runs)} runs, commit {commits}.", ranking_sentence(found))
    return " ".join(filter(None, (*sentences, *found.notes)))


def _means(found: Comparison) -> str:
    overall = found.overall.set_index("method")
    gains = found.gains.set_index("method")
    seconds = found.runs.groupby("method")["seconds"].median()
    ranks = {} if found.ranking is None else dict(found.ranking.ranks)
    rows = []
    for method in found.methods:
        row, gain = overall.loc[method], ""
        if method in gains.index:
            g = gains.loc[method]
            gain = f"{g['mean']:+.3f} {_interval(g['low'], g['high'], '+')}"
        rows.append((
            _code(method), f"**{row['mean']:.3f}** {_interval(row['low'], row['high'])}",
            f"{ranks[method]:.1f}" if method in ranks else "", gain,
            f"{row['auc']:.3f}", f"{row['runs']:.0f}", f"{seconds[method]:.1f}",
        ))  # fmt: skip
    return _markdown(
        ("method", "top 5 % found [95 %]", "average rank", f"gain over `{found.reference}` [95 %]",
         "area under best-so-far", "runs", "seconds per run"), rows,
    )  # fmt: skip


def _on_the_way(found: Comparison) -> str:
    """Coverage after some of the iterations, and the paired gain of `pllm`."""
    rows = []
    for iteration in (10, 20, 30, 40, 50):
        runs = found.traces[found.traces["iteration"] == iteration].assign(sign=1)
        runs = runs.rename(columns={"top5_coverage": "value"})
        means = over_tasks(runs, "value").set_index("method")["mean"]
        pairs = paired(runs[runs["method"].isin(("pllm", found.reference))], found.reference)
        (gain,) = over_tasks(pairs, "gain").to_dict("records")
        rows.append((
            str(iteration), *(f"{means[method]:.3f}" for method in found.methods),
            f"{gain['mean']:+.3f} {_interval(gain['low'], gain['high'], '+')}",
        ))  # fmt: skip
    return _markdown(("iterations", *map(_code, found.methods), "gain of `pllm` [95 %]"), rows)


def _tasks(found: Comparison) -> str:
    spread = found.runs.groupby(["task", "method"])["value"].agg(["mean", "std"])
    cells = [f"{mean:.2f} ± {std:.2f}" for mean, std in spread.to_numpy()]
    wide = pd.Series(cells, index=spread.index).unstack("method")[list(found.methods)].fillna("")
    rows = [(task, *row) for task, row in zip(wide.index, wide.to_numpy(), strict=True)]
    return _markdown(("task", *map(_code, wide.columns)), rows)


def _plain(table: pd.DataFrame) -> str:
    """A table as it is, but for the number of digits."""
    rows = [
        (_code(row.pop("method")), *map(_number, row.values())) for row in table.to_dict("records")
    ]
    return _markdown(("method", *(c for c in table if c != "method")), rows)


def _picture(name: str, svg: str) -> str:
    write_text(PAGES[0].parent / "pictures" / f"benchmarks-{name}.svg", svg)
    return f"![{name}](pictures/benchmarks-{name}.svg)"


def _interval(low: float, high: float, sign: str = "") -> str:
    return f"[{low:{sign}.3f}, {high:{sign}.3f}]" if np.isfinite(low) else ""


def _number(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.3g}" if np.isfinite(value) else ""
    return str(value)


def _code(name: object) -> str:
    return f"`{name}`"


def _markdown(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [header, ("---",) * len(header), *rows]
    return "\n".join(f"| {' | '.join(map(str, line))} |" for line in lines)


if __name__ == "__main__":
    main()
