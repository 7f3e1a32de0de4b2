"""Pictures of a campaign as SVG. They hold numbers only; names stand around them, as text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gollum.report.drawing import (
    GRID,
    INK,
    PANEL,
    WIDTH,
    as_svg,
    new_figure,
    percent_axis,
)

BEST, RESULT, MISS = "#0072B2", "#56B4E9", "#D55E00"
_GREY = "#8a8f98"
_LINES = ((BEST, "o", "-"), (MISS, "s", (0, (5, 1.5))))


def progress(table: pd.DataFrame, target: float | None = None) -> str:
    """Results in order of arrival, and the best so far.

    Args:
        table: see `gollum.campaign.advice.progress`.
        target: the value to come close to.
    """
    from matplotlib.ticker import MaxNLocator

    x = np.arange(1, len(table) + 1)
    value, best = (table[c].to_numpy(dtype=np.float64) for c in ("value", "best"))
    failed = table["status"].to_numpy() == "failed"
    figure, axes = new_figure(WIDTH, 2.9)
    if target is not None:
        axes.axhline(target, color=_GREY, linestyle=(0, (4, 3)), linewidth=1.2)
    axes.step(x, best, where="post", color=BEST, linewidth=2.2)
    axes.plot(x, value, "o", color=RESULT, ms=4.5 if len(x) < 100 else 3, mew=0, alpha=0.9)
    if failed.any():
        floor = axes.get_xaxis_transform()  # failures have no value: below all others
        axes.plot(x[failed], np.full(failed.sum(), 0.02), "x", color=MISS, ms=5, transform=floor)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, steps=[1, 2, 5, 10]))
    axes.set_xlim(0.5, len(x) + 0.5)
    axes.grid(axis="y", color=GRID)
    axes.set_xlabel("number of results", color=INK)
    return as_svg(figure)


def predictions(table: pd.DataFrame) -> str:
    """Measured against predicted values, with 95 % intervals; points on the line are right.

    Args:
        table: observed, mean, low, high.
    """
    observed, mean, low, high = (
        table[c].to_numpy(dtype=np.float64) for c in ("observed", "mean", "low", "high")
    )
    inside = (low <= observed) & (observed <= high)
    figure, axes = new_figure(*PANEL)
    ends = [float(np.min([observed, mean])), float(np.max([observed, mean]))]
    axes.plot(ends, ends, color=_GREY, linewidth=1)
    faint = min(0.35, 20 / len(table))
    for flags, colour, marker in ((inside, BEST, "o"), (~inside, MISS, "D")):
        axes.hlines(observed[flags], low[flags], high[flags], color=colour, alpha=faint,
                    linewidth=1)  # fmt: skip
        axes.plot(mean[flags], observed[flags], marker, color=colour, ms=4, mew=0)
    _labels(axes, "predicted", "measured")
    return as_svg(figure)


def calibration(levels: Sequence[float], curves: Mapping[str, NDArray[np.float64]]) -> str:
    """Share of measurements inside the predicted intervals against the share promised.

    Args:
        levels: promised shares.
        curves: for one or two sets of predictions, the shares found.
    """
    figure, axes = new_figure(*PANEL)
    axes.plot([0, 1], [0, 1], color=_GREY, linewidth=1)
    for (name, shares), (colour, marker, dashes) in zip(curves.items(), _LINES, strict=False):
        axes.plot(levels, shares, marker=marker, color=colour, ms=4, linewidth=1.6,
                  linestyle=dashes, label=name)  # fmt: skip
    if len(curves) > 1:
        axes.legend(frameon=False, fontsize=8, loc="upper left")
    ticks = [0, 0.25, 0.5, 0.75, 1]
    axes.set(xlim=(0, 1.03), ylim=(0, 1.03), xticks=ticks, yticks=ticks)
    percent_axis(axes.xaxis)
    percent_axis(axes.yaxis)
    _labels(axes, "promised", "found inside")
    return as_svg(figure)


def _labels(axes: Any, across: str, up: str) -> None:
    axes.grid(color=GRID)
    axes.set_xlabel(across, color=INK)
    axes.set_ylabel(up, color=INK)
