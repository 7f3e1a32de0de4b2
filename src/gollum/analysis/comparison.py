"""Comparing methods over tasks and seeds: means, paired differences, ranks, iterations saved.

A run is one task, method and seed. Sweeps may be incomplete: pairs are formed on what both methods
have, and what is missing is counted.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd

from gollum.analysis import savings
from gollum.analysis.bootstrap import FEWEST_FOR_LEVEL, further_interval, mean_interval
from gollum.analysis.metrics import QUALITY
from gollum.analysis.ranking import Ranking, rank_methods
from gollum.analysis.runs import (
    baselines,
    directions,
    joined_notes,
    labelled,
    metrics,
    protocol_notes,
    refuse_unknown,
    with_metric,
    without_direction,
)
from gollum.errors import ConfigError, DataError

COVERAGE = "top5_coverage"
# Each has one part more than the one before: guessing, a process on vectors without meaning, the
# language model's embeddings, the projection, adapters.
LADDER = ("random", "static-random_embeddings", "static", "pllm", "pllm_phi")


@dataclass(frozen=True, eq=False)
class Comparison:
    """Everything that `compare` finds; tables are tidy, and made when they are first asked for.

    Attributes:
        metric: the figure that is compared.
        reference: the method that others are paired with.
        methods: labels, from the best average rank on.
        tasks: names, sorted.
        averaged: whether the metric has one unit, so that a mean over tasks makes sense.
        recorded: all records, with `method`.
        runs: those that have the metric, with `method`, `value` and `sign`.
        traces: best-so-far and coverage of those runs, with `method`; may be empty.
        ladder: methods, each of which is compared with the one before; may be none.
        ranking: average ranks, or None.
        counts: tasks x methods, number of seeds.
        notes: what a reader should know before believing the figures, a sentence each.
    """

    metric: str
    reference: str
    methods: tuple[str, ...]
    tasks: tuple[str, ...]
    averaged: bool
    recorded: pd.DataFrame
    runs: pd.DataFrame
    traces: pd.DataFrame
    ladder: tuple[str, ...]
    ranking: Ranking | None
    counts: pd.DataFrame
    notes: tuple[str, ...]

    @cached_property
    def per_task(self) -> pd.DataFrame:
        """Columns task, method, seeds, mean, low, high."""
        cells = per_task(self.runs, "value")
        return _sorted(cells, self.methods).rename(columns={"runs": "seeds"})

    @cached_property
    def overall(self) -> pd.DataFrame:
        """Columns method, tasks, runs, mean, low, high, wide_low, wide_high (see `over_tasks`).

        Where the records have it, the mean `auc` of the same runs, unless that is the metric.
        """
        means = over_tasks(self.runs, "value", self.averaged)
        return _sorted(_with_auc(means, self.runs, self.metric), self.methods)

    @cached_property
    def gains_per_task(self) -> pd.DataFrame:
        """As `per_task` for the gain over the reference, with `pairs` for seeds, and `win`."""
        return _with_wins(per_task(self._pairs, "gain"), self._pairs, self.methods)

    @cached_property
    def gains(self) -> pd.DataFrame:
        """Likewise over tasks."""
        means = over_tasks(self._pairs, "gain", self.averaged)
        return _with_wins(means, self._pairs, self.methods)

    @cached_property
    def steps(self) -> pd.DataFrame:
        """What each method of the ladder adds to the one before (see `steps`); may be empty."""
        return steps(self.runs, self.ladder, self.averaged)

    @cached_property
    def saved_per_task(self) -> pd.DataFrame:
        """See `savings.iterations_saved`."""
        ways, honest = directions(self.traces), baselines(self.recorded)
        saved = savings.iterations_saved(self.traces, ways, honest)
        return _sorted(saved, self.methods)

    @cached_property
    def saved(self) -> pd.DataFrame:
        """The same over tasks."""
        return _sorted(savings.over_tasks(self.saved_per_task), self.methods)

    @cached_property
    def quality(self) -> pd.DataFrame:
        """Per method, tasks with a value, and means of surrogate quality where present."""
        return _sorted(surrogate_quality(self.recorded), self.methods)

    @cached_property
    def _pairs(self) -> pd.DataFrame:
        return paired(self.runs, self.reference)

    @property
    def by_parts(self) -> bool:
        """Whether the steps are those of `LADDER`, each method with more parts than the last."""
        climbed = {*self.steps["before"], *self.steps["method"]}
        return list(self.steps["method"]) == [m for m in LADDER if m in climbed][1:]

    @property
    def expected_seeds(self) -> int:
        """Number of different seeds in the records."""
        return int(self.recorded["seed"].nunique())

    @property
    def missing(self) -> int:
        """Runs that a full grid of these tasks, methods and seeds has and the records do not."""
        return int(self.counts.size * self.expected_seeds - self.counts.to_numpy().sum())


def compare(
    table: pd.DataFrame,
    traces: pd.DataFrame,
    metric: str = COVERAGE,
    reference: str | None = None,
    joined: Mapping[str, Sequence[str]] | None = None,
    ladder: Sequence[str] | None = None,
) -> Comparison:
    """Compare all methods of some records.

    Args:
        table: a row per finished run: task, surrogate, seed, the metric; model, preset, control
            and settings where there are several.
        traces: a row per run and iteration; may be empty.
        metric: a column of figures.
        reference: label of the method to pair with; by default the baseline with the best average
            rank, among those on the most tasks.
        joined: new name → methods that count as one, see `labelled`.
        ladder: methods, each to be compared with the one before; by default those of `LADDER` that
            the records have, if they are three or more.

    Raises:
        ConfigError: there is no such metric or method.
        DataError: the records can't be used.
    """
    recorded, traces = labelled(table, traces, joined)
    ways = directions(traces)
    runs = with_metric(recorded, metric, ways)
    still, said = without_direction(ways) if metric == "best" else ([], [])
    if runs.empty:
        raise DataError(
            " ".join(("there is nothing to compare.", *said))
            if said
            else f"no run has a finite {metric}."
        )
    scores = runs.assign(score=runs["value"] * runs["sign"]).pivot_table(
        index="task", columns="method", values="score"
    )
    standing = scores.rank(axis=1, ascending=False, pct=True).mean().sort_values(kind="stable")
    averaged = metric != "best" or runs["task"].nunique() == 1
    if averaged and scores.notna().all(axis=None):  # means of other tasks can't be compared
        standing = -scores.mean()
    methods = tuple(str(m) for m in standing.sort_values(kind="stable").index)
    counts = runs.pivot_table(
        index="task", columns="method", values="seed", aggfunc="count", fill_value=0
    )[list(methods)].astype(int)
    return Comparison(
        metric=metric,
        reference=_reference(reference, methods, baselines(runs), scores),
        methods=methods,
        tasks=tuple(str(task) for task in scores.index),
        averaged=averaged,
        recorded=recorded,
        runs=runs,
        traces=traces,
        ladder=tuple(_ladder(ladder, methods)),
        ranking=rank_methods(scores[list(methods)]),
        counts=counts,
        notes=(
            *joined_notes(runs, joined or {}),
            *said,
            *_notes(recorded[~recorded["task"].isin(still)], runs, counts, metric),
            *protocol_notes(runs),
        ),
    )


def per_task(runs: pd.DataFrame, column: str) -> pd.DataFrame:
    """Mean of a column for each task and method, with its 95 % bootstrap interval over seeds."""
    rows = []
    for (task, method), group in runs.groupby(["task", "method"]):
        values = group[column].to_numpy(dtype=np.float64)
        rows.append((task, method, len(values), values.mean(), *mean_interval([values])))
    return pd.DataFrame(rows, columns=["task", "method", "runs", "mean", "low", "high"])


def over_tasks(runs: pd.DataFrame, column: str, averaged: bool = True) -> pd.DataFrame:
    """Mean over tasks of the mean over seeds, with two 95 % bootstrap intervals.

    `low` to `high` is for these very tasks: seeds are resampled within each task (stratified), so
    it says how much another set of seeds would change the mean. `wide_low` to `wide_high` is for
    further tasks of the same kind: tasks are resampled, and seeds within each. There is none below
    five tasks.

    Args:
        runs: one row per run, with `task`, `method` and the column.
        column: what to average.
        averaged: False where tasks differ in unit; all means are then left blank.
    """
    rows = []
    for method, group in runs.groupby("method"):
        strata = [g.to_numpy(dtype=np.float64) for _, g in group.groupby("task")[column]]
        means = np.array([values.mean() for values in strata])
        figures = [means.mean(), *mean_interval(strata), *further_interval(strata)]
        shown = figures if averaged else [float("nan")] * len(figures)
        rows.append((method, len(strata), len(group), *shown))
    columns = ["method", "tasks", "runs", "mean", "low", "high", "wide_low", "wide_high"]
    return pd.DataFrame(rows, columns=columns)


def paired(runs: pd.DataFrame, reference: str) -> pd.DataFrame:
    """Each run of another method with the reference's run on the same task and seed.

    Returns:
        Columns `gain`, positive where the method is better, and `win`: 1, or ½ for a tie, or 0.
    """
    base = runs.loc[runs["method"] == reference, ["task", "seed", "value"]]
    others = runs[runs["method"] != reference]
    pairs = others.merge(base, on=["task", "seed"], suffixes=("", "_reference"))
    gain = pairs["sign"] * (pairs["value"] - pairs["value_reference"])
    return pairs.assign(gain=gain, win=(1 + np.sign(gain)) / 2)


def steps(runs: pd.DataFrame, ladder: Sequence[str], averaged: bool = True) -> pd.DataFrame:
    """What each method adds to the one before, on the tasks and seeds that all of them have.

    Gains are paired and their means add up to the gain of the last method over the first.

    Args:
        runs: one row per run, with `task`, `method`, `seed`, `value` and `sign`.
        ladder: at least two methods, or none.
        averaged: whether the metric has one unit; if not, there are no means.

    Returns:
        method, before, the columns of `over_tasks`, and `share` of the whole gain, NaN where that
        is none or its interval holds 0; empty where nothing has all of them.
    """
    own = runs[runs["method"].isin(ladder)]
    complete = own[own.groupby(["task", "seed"])["method"].transform("nunique") == len(ladder)]

    def gain(before: str, method: str) -> pd.DataFrame:
        pairs = paired(complete[complete["method"].isin((before, method))], before)
        return over_tasks(pairs, "gain", averaged).assign(before=before)

    if complete.empty:
        return over_tasks(complete, "value").assign(before="", share=float("nan"))
    parts = [gain(before, method) for before, method in itertools.pairwise(ladder)]
    table = pd.concat(parts, ignore_index=True)
    whole = gain(ladder[0], ladder[-1]).iloc[0]
    is_gain = whole["mean"] > 0 and not whole["low"] <= 0  # there may be no interval
    return table.assign(share=table["mean"] / whole["mean"] if is_gain else float("nan"))


def surrogate_quality(runs: pd.DataFrame) -> pd.DataFrame:
    """Per method, means over tasks of the means over seeds, where present."""
    present = [c for c in QUALITY if c in metrics(runs)]
    means = runs.groupby(["method", "task"])[present].mean().dropna(how="all")
    found = means.groupby("method").mean()
    found.insert(0, "tasks", means.groupby("method").size())
    return found.reset_index() if present else pd.DataFrame(columns=["method", "tasks"])


def _with_auc(means: pd.DataFrame, runs: pd.DataFrame, metric: str) -> pd.DataFrame:
    """Add the mean over tasks of the mean area under best-so-far over seeds."""
    if metric == "auc" or "auc" not in metrics(runs):
        return means
    areas = runs.groupby(["method", "task"])["auc"].mean().groupby("method").mean()
    return means.merge(areas, on="method")


def _with_wins(means: pd.DataFrame, pairs: pd.DataFrame, methods: tuple[str, ...]) -> pd.DataFrame:
    """Add the share of pairs won; over tasks, the mean of the tasks' shares."""
    wins = pairs.groupby(["method", "task"])["win"].mean()
    keys = [key for key in ("method", "task") if key in means]
    shares = wins.groupby(keys).mean().reset_index()
    return _sorted(means.rename(columns={"runs": "pairs"}).merge(shares, on=keys), methods)


def _sorted(table: pd.DataFrame, methods: tuple[str, ...]) -> pd.DataFrame:
    """By task, if there is one, then in the order of methods."""
    keys = [key for key in ("task", "method") if key in table]
    place = {method: i for i, method in enumerate(methods)}
    ordered = table[table["method"].isin(methods)]
    return ordered.sort_values(
        keys, key=lambda c: c.map(place) if c.name == "method" else c, ignore_index=True
    )


def _reference(
    asked: str | None, methods: tuple[str, ...], honest: list[str], scores: pd.DataFrame
) -> str:
    if asked is None:
        on_tasks = scores[[m for m in methods if m in honest]].notna().sum()
        return str(on_tasks.idxmax())
    refuse_unknown(asked, methods)
    return asked


def _ladder(asked: Sequence[str] | None, methods: tuple[str, ...]) -> list[str]:
    if asked is None:
        found = [method for method in LADDER if method in methods]
        return found if len(found) > 2 else []
    for method in asked:
        refuse_unknown(method, methods)
    if len(set(asked)) < max(2, len(asked)):
        raise ConfigError("steps lead from one method to others; name at least two, each once.")
    return list(asked)


def _notes(
    recorded: pd.DataFrame, runs: pd.DataFrame, counts: pd.DataFrame, metric: str
) -> list[str]:
    notes, cells = [], counts.to_numpy()[counts.to_numpy() > 0]
    for method, count in (
        recorded["method"].value_counts() - runs["method"].value_counts()
    ).items():
        if count > 0:
            notes.append(f"{count} runs of {method} have no {metric} and are left out.")
    blank = sorted(set(recorded["method"]) - set(runs["method"]))
    if blank:
        notes.append(f"No run of {', '.join(blank)} has a {metric}; left out.")
    single, few = int((cells == 1).sum()), (cells > 1) & (cells < FEWEST_FOR_LEVEL)
    if single:
        notes.append(
            f"{single} of {len(cells)} means are of a single seed: no interval, neither there nor "
            "for these tasks as a whole."
        )
    if few.any():
        notes.append(
            f"{int(few.sum())} of {len(cells)} means are of 2 to {FEWEST_FOR_LEVEL - 1} seeds: "
            "their intervals are too narrow (2 seeds: 50 %, 3: 75 %, 4: 88 % instead of 95 %)."
        )
    return notes
