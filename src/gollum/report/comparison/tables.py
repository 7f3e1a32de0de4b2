"""A comparison on the terminal and as CSV files."""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

import pandas as pd
from rich import box
from rich.table import Table

from gollum.analysis.comparison import Comparison
from gollum.data.writers import harmless
from gollum.errors import ConfigError
from gollum.files import write_text
from gollum.report.comparison.notation import (
    BLANK,
    interval,
    number,
    percent,
    probability,
    shown,
    title,
)


def heading(found: Comparison) -> list[str]:
    """What was compared, and what to know before believing it: a sentence each."""
    runs = f"{len(found.runs)} runs: {len(found.methods)} methods, {len(found.tasks)} tasks"
    lines = [f"{title(found.metric).capitalize()}. {runs}, up to {found.expected_seeds} seeds."]
    if found.missing:
        size = found.counts.size * found.expected_seeds
        lines.append(f"{found.missing} of {size} runs are missing; pairs use what both have.")
    if found.ranking is None:
        lines.append("No ranks: fewer than two methods, or tasks that all of them have, are left.")
    else:
        lines.append(ranking_sentence(found))
    return [*lines, *found.notes]


def ranking_sentence(found: Comparison) -> str:
    """How many tasks were ranked and whether methods differ; blank without ranks."""
    ranking = found.ranking
    if ranking is None:
        return ""
    left = f"; left out: {', '.join(ranking.left_out)}" if ranking.left_out else ""
    # Not defined for two methods, or where everything ties.
    test = "" if math.isnan(ranking.p_value) else f"Friedman's test p {_equals(ranking.p_value)}; "
    return (
        f"Ranks over {len(ranking.tasks)} of {len(found.tasks)} tasks, those that all "
        f"{len(ranking.ranks)} ranked methods have{left}; {test}ranks more than "
        f"{ranking.critical_difference:.2f} apart differ (Nemenyi, 5 %)."
    )


def tables(found: Comparison) -> Iterator[Table]:
    """All methods; gains; steps; each task; iterations saved; quality: what there is of these."""
    yield _overall(found)
    if len(found.gains):
        yield _gains(found)
    if len(found.steps):
        yield _steps(found)
    yield _tasks(found)
    if len(found.saved):
        yield _saved(found)
    if len(found.quality):
        yield _quality(found)


def write_csv(found: Comparison, folder: Path) -> None:
    """One tidy CSV file for each table; text that a spreadsheet would evaluate gets an apostrophe.

    Raises:
        ConfigError: the folder can't be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, table in _files(found).items():
            safe = table.map(lambda cell: harmless(cell) if isinstance(cell, str) else cell)
            write_text(folder / name, safe.to_csv(index=False, lineterminator="\n"))
    except OSError as error:
        raise ConfigError(
            f"folder '{folder}' can't be written ({error.strerror}); choose another with --csv."
        ) from None


def _files(found: Comparison) -> dict[str, pd.DataFrame]:
    counts = found.counts.reset_index().melt("task", var_name="method", value_name="seeds")
    ranks = pd.DataFrame(columns=["method", "rank"])
    pairs = pd.DataFrame(columns=["method", "other", "p_value"])
    if found.ranking is not None:
        ranks = found.ranking.ranks.rename("rank").rename_axis("method").reset_index()
        matrix = found.ranking.p_values.rename_axis("method").reset_index()
        pairs = matrix.melt("method", var_name="other", value_name="p_value")
        pairs = pairs[pairs["method"] != pairs["other"]]
    return {
        "overall.csv": found.overall,
        "tasks.csv": found.per_task,
        "gains.csv": found.gains.assign(reference=found.reference),
        "steps.csv": found.steps,
        "gains-tasks.csv": found.gains_per_task.assign(reference=found.reference),
        "ranks.csv": ranks,
        "nemenyi.csv": pairs,
        "saved.csv": found.saved,
        "saved-tasks.csv": found.saved_per_task,
        "quality.csv": found.quality,
        "counts.csv": counts,
    }


def _table(heading: str, columns: list[str], caption: str = "") -> Table:
    table = Table(
        title=heading, caption=caption or None, box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0),
        pad_edge=False, title_justify="left", caption_justify="left",
    )  # fmt: skip
    for column in columns:
        left = column in ("method", "task")
        justify: Literal["left", "right"] = "left" if left else "right"
        table.add_column(
            column, justify=justify, overflow="fold", no_wrap=left, min_width=min(len(column), 7)
        )
    return table


def _overall(found: Comparison) -> Table:
    ranks = {} if found.ranking is None else found.ranking.ranks.to_dict()
    area = ["auc"] if "auc" in found.overall else []
    says = f" auc: mean {title('auc')}." if area else ""
    table = _table(
        f"Mean over tasks of the {title(found.metric)}",
        ["method", "tasks", "runs", "mean", "95 % interval", "for further tasks", *area, "rank"],
        "The first interval is for these tasks, the second for further tasks of their kind too "
        "(none below five tasks)." + says,
    )
    for row in _rows(found.overall):
        rank = number(ranks.get(row["method"], float("nan")), 2)
        counts = str(row["tasks"]), str(row["runs"])
        areas = (number(row[column], 3) for column in area)
        table.add_row(row["method"], *counts, *_mean(found.metric, row), *areas, rank)
    return table


def _gains(found: Comparison) -> Table:
    table = _table(
        f"Gain over {found.reference}, paired by task and seed",
        ["method", "pairs", "gain", "95 % interval", "for further tasks", "wins"],
        f"Positive: better than {found.reference}; a tie is half a win; pp: percentage points.",
    )
    for row in _rows(found.gains):
        figures = _mean(found.metric, row, sign=True)
        table.add_row(row["method"], str(row["pairs"]), *figures, percent(row["win"]))
    return table


def _steps(found: Comparison) -> Table:
    table = _table(
        "What each step adds",
        ["method", "after", "pairs", "gain", "95 % interval", "for further tasks", "share"],
        "Gains over the method before, on the tasks and seeds that all of these have; the share is "
        "of the whole, where that is a gain.",
    )
    for row in _rows(found.steps):
        figures = _mean(found.metric, row, sign=True)
        counts = row["before"], str(row["runs"])
        table.add_row(row["method"], *counts, *figures, percent(row["share"]))
    return table


def _mean(metric: str, row: Mapping[Hashable, Any], sign: bool = False) -> tuple[str, str, str]:
    """Mean and both intervals."""
    return (
        shown(metric, row["mean"], sign),
        interval(metric, row["low"], row["high"], sign),
        interval(metric, row["wide_low"], row["wide_high"], sign),
    )


def _tasks(found: Comparison) -> Table:
    table = _table(
        f"Mean {title(found.metric)} on each task",
        ["task", *found.methods],
        f"In brackets the number of seeds where it is not {found.expected_seeds}.",
    )
    means = {(row["task"], row["method"]): row["mean"] for row in _rows(found.per_task)}
    for task in found.tasks:
        cells = []
        for method in found.methods:
            seeds = int(found.counts[method][task])
            few = f" ({seeds})" if 0 < seeds < found.expected_seeds else ""
            mean = shown(found.metric, means[task, method]) if seeds else BLANK
            cells.append(mean + few)
        table.add_row(task, *cells)
    return table


def _saved(found: Comparison) -> Table:
    table = _table(
        "Iterations saved until the best baseline's final value is reached, median",
        ["method", "tasks", "reached on", "iterations saved", "in percent"],
        best_baselines(found),
    )
    for row in _rows(found.saved):
        cells = (number(row["saved"], 1), number(row["saved_percent"]))
        table.add_row(row["method"], str(row["tasks"]), str(row["reached"]), *cells)
    return table


def best_baselines(found: Comparison) -> str:
    """Which baseline methods are measured by on how many tasks, and why a row can be missing."""
    on = found.saved_per_task.drop_duplicates("task")["baseline"].value_counts()
    names = ", ".join(f"{name} on {n} task{'s' * (n > 1)}" for name, n in on.items())
    return (
        f"The best baseline is {names}; where a method is the best baseline itself, it has no row."
    )


def _quality(found: Comparison) -> Table:
    columns = [str(c) for c in found.quality if c not in ("method", "tasks")]
    table = _table("Surrogate quality at the end, mean over tasks", ["method", "tasks", *columns])
    for row in _rows(found.quality):
        cells = (number(row[c], 3) for c in columns)
        table.add_row(row["method"], str(row["tasks"]), *cells)
    return table


def _rows(table: pd.DataFrame) -> list[dict[Hashable, Any]]:
    return table.to_dict("records")


def _equals(p: float) -> str:
    text = probability(p)
    return text if text.startswith("<") else f"= {text}"
