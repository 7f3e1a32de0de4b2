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
Vector = NDArray[np.float64]
Mask = NDArray[np.bool_]
_LINES = ((BEST, "o", "-"), (MISS, "s", (0, (5, 1.5))))


def progress(table: pd.DataFrame, wanted: Sequence[float] = (), small: bool = False) -> str:
    """Results in order of arrival, and the best so far.

    Args:
        table: see `gollum.campaign.advice.progress`.
        wanted: values to come close to, or to stay above or below.
        small: whether others stand beside it.
    """
    from matplotlib.ticker import MaxNLocator

    x = np.arange(1, len(table) + 1)
    value, best = (table[c].to_numpy(dtype=np.float64) for c in ("value", "best"))
    failed = table["status"].to_numpy() == "failed"
    figure, axes = new_figure(*(PANEL if small else (WIDTH, 2.9)))
    for value_wanted in wanted:
        axes.axhline(value_wanted, color=_GREY, linestyle=(0, (4, 3)), linewidth=1.2)
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


def front(
    x: Vector,
    y: Vector,
    feasible: Mask,
    members: Mask,
    stepped: float,
    limits: Sequence[float] = (),
) -> str:
    """Results of two outcomes against each other, with those on the front.

    Args:
        x: n values of the one.
        y: n values of the other.
        feasible: which experiments are known to meet all limits.
        members: which are on the front.
        stepped: 1 to join the front by steps where a larger x is better, −1 where a smaller one is;
            0 where these two are not all that counts.
        limits: values of the other that may not be passed.
    """
    figure, axes = new_figure(*PANEL)
    axes.plot(x[~feasible], y[~feasible], "x", color=_GREY, ms=4, mew=1)
    other = feasible & ~members
    axes.plot(x[other], y[other], "o", color=RESULT, ms=4, mew=0)
    if stepped:
        order = np.argsort(x[members], kind="stable")
        where = "pre" if stepped > 0 else "post"  # up to which x the value of the other is reached
        axes.step(x[members][order], y[members][order], where=where, color=BEST, linewidth=1.6)
    axes.plot(x[members], y[members], "D", color=BEST, ms=5, mew=0)
    for value in limits:
        axes.axhline(value, color=MISS, linestyle=(0, (4, 3)), linewidth=1.2)
    axes.grid(color=GRID)
    return as_svg(figure)


def volume(shares: Vector) -> str:
    """Hypervolume after each of n experiments, as shares."""
    from matplotlib.ticker import MaxNLocator

    figure, axes = new_figure(*PANEL)
    x = np.arange(1, len(shares) + 1)
    axes.step(x, shares, where="post", color=BEST, linewidth=2.2)
    axes.set_xlim(0.5, len(x) + 0.5)
    axes.set_ylim(0, max(1e-6, 1.08 * float(shares.max())))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, steps=[1, 2, 5, 10]))
    percent_axis(axes.yaxis)
    axes.grid(axis="y", color=GRID)
    axes.set_xlabel("number of experiments", color=INK)
    return as_svg(figure)


def parallel(values: NDArray[np.float64], better: Sequence[float], members: Mask) -> str:
    """Each experiment as a line across its outcomes, better ones above; the front in blue.

    Args:
        values: n x k, none missing.
        better: for each outcome, −1 where less is better.
        members: which are on the front.
    """
    low, high = values.min(axis=0), values.max(axis=0)
    width = np.where(high > low, high - low, 1.0)
    shares = (values - low) / width
    shares = np.where(np.array(better) < 0, 1 - shares, shares)
    figure, axes = new_figure(WIDTH, 2.9)
    x = np.arange(values.shape[1])
    for flags, style in (
        (~members, {"color": _GREY, "linewidth": 0.8, "alpha": 0.5}),
        (members, {"color": BEST, "linewidth": 1.8}),
    ):
        for line in shares[flags]:
            axes.plot(x, line, **style)
    for i, sign in enumerate(better):
        ends = (low[i], high[i]) if sign > 0 else (high[i], low[i])
        axes.plot([i, i], [0, 1], color=INK, linewidth=0.8)
        for at, value, place in ((0, ends[0], "top"), (1, ends[1], "bottom")):
            axes.annotate(f"{value:.4g}", (i, at), xytext=(0, -4 if at == 0 else 4), fontsize=8,
                          textcoords="offset points", ha="center", va=place, color=INK)  # fmt: skip
    axes.set_xticks(x, [str(i + 1) for i in x])
    axes.tick_params(axis="x", pad=12)
    axes.set_yticks([])
    axes.set_ylim(-0.08, 1.08)
    axes.spines["bottom"].set_visible(False)
    return as_svg(figure)


def _labels(axes: Any, across: str, up: str) -> None:
    axes.grid(color=GRID)
    axes.set_xlabel(across, color=INK)
    axes.set_ylabel(up, color=INK)
