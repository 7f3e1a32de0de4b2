"""Pictures of a comparison as SVG: means, gains over the reference, tasks, ranks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from gollum.analysis.comparison import Comparison
from gollum.analysis.ranking import Ranking
from gollum.report.comparison.notation import is_share, percent, title
from gollum.report.drawing import (
    GRID,
    INK,
    PANEL,
    WIDTH,
    Style,
    as_svg,
    key_columns,
    new_figure,
    percent_axis,
    plain,
    styles,
)

_TASKS_PER_PICTURE = 10


def means(found: Comparison) -> str:
    """Mean over tasks per method; thick interval for these tasks, thin for further ones."""
    look = styles(found.methods)
    axes, figure = _rows(list(found.overall["method"]))
    for y, row in enumerate(found.overall.to_dict("records")):
        style = look[str(row["method"])]
        whole = row["tasks"] == len(found.tasks)
        _two_intervals(axes, y, row, style, filled=whole)
    _metric_axis(axes, found.metric)
    axes.set_xlabel(f"mean {title(found.metric)}")
    return as_svg(figure)


def gains(found: Comparison) -> str:
    """Forest plot: mean gain over the reference per method, and the share of pairs won."""
    look = styles(found.methods)
    axes, figure = _rows(list(found.gains["method"]))
    for y, row in enumerate(found.gains.to_dict("records")):
        won = f"wins {percent(row['win'])}"
        _two_intervals(axes, y, row, look[str(row["method"])], note=won)
    _gain_axis(axes, found.metric)
    unit = ", percentage points" if is_share(found.metric) else ""
    whom = plain(found.reference, 24)
    figure.supxlabel(f"worse  ←  gain over {whom}{unit}  →  better", fontsize="medium")
    return as_svg(figure)


def steps(found: Comparison) -> str:
    """Forest plot: what each method of a ladder adds to the one before."""
    look = styles(found.methods)
    rows = found.steps.to_dict("records")
    axes, figure = _rows([f"{row['before']} → {row['method']}" for row in rows])
    for y, row in enumerate(rows):
        _two_intervals(axes, y, row, look[str(row["method"])])
    _gain_axis(axes, found.metric)
    unit = ", percentage points" if is_share(found.metric) else ""
    axes.set_xlabel(f"loss  ←  what the step adds{unit}  →  gain")
    return as_svg(figure)


def gains_of(found: Comparison, method: str) -> str:
    """The same for one method, task by task."""
    rows = found.gains_per_task[found.gains_per_task["method"] == method]
    axes, figure = _rows(list(rows["task"]), PANEL[0], 0.24)
    style = styles(found.methods)[method]
    for y, row in enumerate(rows.to_dict("records")):
        _interval(axes, y, row["low"], row["high"], style.colour, 1.5)
        axes.plot(row["mean"], y, style.marker, color=style.colour, ms=4.5)
    _gain_axis(axes, found.metric)
    axes.set_xlim(_limits(found.gains_per_task))
    figure.suptitle(plain(method), x=0.02, ha="left", fontsize=9, fontweight="bold", color=INK)
    return as_svg(figure)


def tasks(found: Comparison) -> list[str]:
    """Dot plots: the mean of each method on each task with its interval, ten tasks a picture."""
    names, size, limits = found.tasks, _TASKS_PER_PICTURE, _limits(found.per_task)
    return [_dots(found, names[i : i + size], limits) for i in range(0, len(names), size)]


def critical_difference(ranking: Ranking, methods: Sequence[str]) -> str:
    """Average ranks on a line; a bar joins methods whose ranks do not differ significantly."""
    look, ranks = styles(methods), ranking.ranks
    k, bars = len(ranks), ranking.cliques()
    half = (k + 1) // 2
    depth = 0.55 + 0.3 * len(bars)
    figure, axes = new_figure(WIDTH, 0.9 + 0.28 * half + 0.2 * len(bars))
    axes.set(xlim=(k + 0.1, 0.9), ylim=(depth + 0.75 * half - 0.3, -1.3))
    axes.set_axis_off()
    axes.plot([1, k], [0, 0], color=INK, linewidth=1)
    for tick in range(1, k + 1):
        axes.plot([tick, tick], [0, -0.15], color=INK, linewidth=1)
        axes.text(tick, -0.25, str(tick), ha="center", va="bottom", color=INK)
    axes.plot([1, 1 + ranking.critical_difference], [-1, -1], "|-", color=INK, clip_on=False)
    axes.text(1, -1.15, f"critical difference {ranking.critical_difference:.2f}", ha="right")
    for i, (best, worst) in enumerate(bars):
        ends = [ranks[best] - 0.04, ranks[worst] + 0.04]
        axes.plot(ends, [0.35 + 0.3 * i] * 2, color=INK, linewidth=3.5, solid_capstyle="butt")
    for i, (method, rank) in enumerate(ranks.items()):
        left = i >= half
        y = depth + 0.75 * ((k - 1 - i) if left else i)
        name = plain(str(method), 20)  # there are names on both sides
        edge, align, text = k + 0.1, "right", f"{name}  {rank:.2f} "
        if not left:
            edge, align, text = 0.9, "left", f" {rank:.2f}  {name}"
        colour = look[str(method)].colour
        axes.plot([rank, rank, edge], [0, y, y], color=colour, linewidth=1)
        axes.plot(rank, 0, look[str(method)].marker, color=colour, ms=5)
        axes.text(edge, y, text, ha=align, va="center", color=INK)
    return as_svg(figure)


def _dots(found: Comparison, names: Sequence[str], limits: tuple[float, float]) -> str:
    look = styles(found.methods)
    step = 1 / (len(found.methods) + 1)
    axes, figure = _rows(list(names), height=0.14 + 0.13 * len(found.methods))
    place = {name: y for y, name in enumerate(names)}
    rows = found.per_task[found.per_task["task"].isin(names)]
    for row in rows.to_dict("records"):
        style = look[row["method"]]
        y = place[row["task"]] + (found.methods.index(row["method"]) + 1) * step - 0.5
        _interval(axes, y, row["low"], row["high"], style.colour, 1)
        axes.plot(row["mean"], y, style.marker, color=style.colour, ms=4.5, mew=0)
    axes.set_xlim(limits)
    for edge in range(1, len(names)):
        axes.axhline(edge - 0.5, color=GRID, linewidth=0.8)
    _metric_axis(axes, found.metric)
    axes.set_xlabel(f"mean {title(found.metric)}")
    _key(axes, found.methods, look)
    return as_svg(figure)


def _key(axes: Any, methods: Sequence[str], look: Mapping[str, Style]) -> None:
    for method in methods:
        axes.plot([], [], look[method].marker, color=look[method].colour, ms=4.5, mew=0,
                  label=plain(method))  # fmt: skip
    axes.figure.legend(loc="outside upper left", ncols=key_columns(methods, 4, 8), frameon=False,
                       fontsize=8, handletextpad=0.2, columnspacing=1.2)  # fmt: skip


def _two_intervals(
    axes: Any, y: int, row: Mapping[Any, Any], style: Style, filled: bool = True, note: str = ""
) -> None:
    """Thin line for further tasks, thick for these, a mark at the mean, the figure beside it."""
    _interval(axes, y, row["wide_low"], row["wide_high"], style.colour, 1)
    _interval(axes, y, row["low"], row["high"], style.colour, 4)
    axes.plot(row["mean"], y, style.marker, color=style.colour, ms=8, mew=1.5,
              mfc=style.colour if filled else "white")  # fmt: skip
    if note:
        axes.annotate(note, (1, y), xycoords=("axes fraction", "data"), xytext=(6, 0),
                      textcoords="offset points", va="center", color=INK,
                      annotation_clip=False)  # fmt: skip


def _interval(axes: Any, y: float, low: float, high: float, colour: str, width: float) -> None:
    if not np.isnan(low):
        axes.plot([low, high], [y, y], color=colour, linewidth=width, solid_capstyle="butt")


def _rows(names: Sequence[str], width: float = WIDTH, height: float = 0.34) -> tuple[Any, Any]:
    """Axes with one horizontal row per name, the first on top."""
    figure, axes = new_figure(width, 0.75 + height * len(names))
    longest = int(5.5 * width)  # characters, about half of the width
    axes.set_yticks(range(len(names)), [plain(name, longest) for name in names])
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.grid(axis="x", color=GRID)
    return axes, figure


def _metric_axis(axes: Any, metric: str) -> None:
    if is_share(metric):
        percent_axis(axes.xaxis)


def _gain_axis(axes: Any, metric: str) -> None:
    from matplotlib.ticker import MaxNLocator, PercentFormatter

    axes.axvline(0, color=INK, linewidth=1)
    axes.xaxis.set_major_locator(MaxNLocator(5))
    if is_share(metric):
        axes.xaxis.set_major_formatter(PercentFormatter(1, decimals=0, symbol=""))


def _limits(table: pd.DataFrame) -> tuple[float, float]:
    """From the smallest to the largest mean or end of an interval, with a margin."""
    ends = table[["mean", "low", "high"]].to_numpy()
    low, high = float(np.nanmin(ends)), float(np.nanmax(ends))
    margin = 0.04 * (high - low) or 1.0
    return low - margin, high + margin
