"""How many iterations a method saves, and how runs go on: from traces of best-so-far."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

SAVINGS = [
    "task", "baseline", "method", "pairs", "reached", "baseline_iterations", "iterations", "saved",
    "saved_percent",
]  # fmt: skip


def curves(traces: pd.DataFrame, column: str) -> dict[tuple[str, str], pd.DataFrame]:
    """For each task and method a table iterations x seeds, up to where every seed has gone.

    The last row of an iteration counts, so a batch or the starting points are one step.
    """
    steps = traces.groupby(["task", "method", "iteration", "seed"])[column].last()
    return {
        (str(task), str(method)): group.droplevel(["task", "method"]).unstack("seed").dropna()
        for (task, method), group in steps.groupby(["task", "method"], sort=False)
    }


def tasks_of_all(
    curves: Mapping[tuple[str, str], pd.DataFrame], tasks: Sequence[str], methods: Sequence[str]
) -> list[str]:
    """The tasks for which there are curves of every method."""
    return [task for task in tasks if all((task, method) in curves for method in methods)]


def iterations_saved(
    traces: pd.DataFrame, directions: Mapping[str, int], baselines: Sequence[str]
) -> pd.DataFrame:
    """How much sooner each method reaches what the best baseline ends with.

    The best baseline of a task is the one with the best mean final value. A method and the
    baseline are compared seed by seed, so both began with the same experiments, unless the first
    design depends on the surrogate: the goal is the baseline's final best-so-far, and what is
    saved is the iteration at which the baseline first had it less the iteration at which the
    method did. Medians are over seeds, a seed that never gets there counting as later than any
    other. Runs on permuted labels, which have other values for the same experiments, are left out.

    Args:
        traces: labelled, with `iteration` and `best_so_far`.
        directions: +1 or −1 for each task, 0 where nothing ever moved.
        baselines: the methods to choose the best baseline from.

    Returns:
        A row per task and other method: baseline, number of paired seeds, how many reached the
        goal, median iterations of baseline and method, iterations saved, and saved in percent of
        the baseline's; NaN where the median seed never gets there.
    """
    rows = []
    if "control" in traces:
        traces = traces[traces["control"] != "permuted_labels"]
    for task, group in traces.groupby("task", sort=False):
        steps = group.groupby(["iteration", "method", "seed"])["best_so_far"].last()
        best = (directions[str(task)] or 1) * steps.unstack(["method", "seed"])
        final = best.ffill().iloc[-1]
        of = {m: best[[m]].droplevel("method", axis="columns") for m in group["method"].unique()}
        means = final.groupby("method").mean().reindex([m for m in baselines if m in of])
        if means.empty:
            continue
        baseline = str(means.idxmax())
        goal = final[baseline]
        own = _first_at(of[baseline], goal)
        for method, runs in of.items():
            seeds = own.index.intersection(runs.columns)
            if method == baseline or seeds.empty:
                continue
            needed = _first_at(runs[seeds], goal[seeds])
            rows.append((task, baseline, method, *_medians(own[seeds], needed)))
    return pd.DataFrame(rows, columns=SAVINGS)


def over_tasks(saved: pd.DataFrame) -> pd.DataFrame:
    """Per method the number of tasks, on how many the median seed gets there, and median savings.

    A task on which a method does not get there counts as the smallest saving. Percentages leave
    out tasks in which the baseline had its final value from the start.
    """
    rows = []
    for method, group in saved.groupby("method", sort=False):
        late = group["saved"].fillna(-np.inf)
        percent = group["saved_percent"].fillna(-np.inf)[group["baseline_iterations"] > 0]
        reached = int(np.isfinite(late).sum())
        rows.append((method, len(group), reached, _finite(late), _finite(percent)))
    return pd.DataFrame(rows, columns=["method", "tasks", "reached", "saved", "saved_percent"])


def _first_at(best: pd.DataFrame, goal: pd.Series[float]) -> pd.Series[float]:
    """For each seed (column) the first iteration at or above its goal, ∞ where there is none."""
    there = best.ge(goal, axis="columns")
    return there.idxmax().astype(float).where(there.any(), np.inf)


def _medians(own: pd.Series[float], needed: pd.Series[float]) -> tuple[float, ...]:
    base, saved = float(own.median()), _finite(own - needed)
    percent = 100 * saved / base if base else float("nan")
    reached = int(np.isfinite(needed).sum())
    return len(needed), reached, base, _finite(needed), saved, percent


def _finite(values: pd.Series[float]) -> float:
    """Median, NaN where it is not finite."""
    median = float(values.median())
    return median if np.isfinite(median) else float("nan")
