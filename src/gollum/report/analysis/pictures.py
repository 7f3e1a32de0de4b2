"""Pictures of what a model has learned; each makes a figure of matplotlib of a tidy table."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from gollum.analysis.learned.contrast import KINDS
from gollum.report.drawing import (
    COLOURS,
    GRID,
    INK,
    MARKERS,
    WIDTH,
    Style,
    new_figure,
    new_panels,
    percent_axis,
    plain,
    styles,
)

PAIRS = {"high_high": KINDS[0], "high_low": KINDS[1], "low_low": KINDS[2]}
GREY, PALE = "#8a8f98", "#c9ccd2"
HEIGHT = 2.9
PANEL_SIDE = 2.9  # inches of a map
MOST_LEVELS = len(COLOURS)  # that colours can tell apart
ROW = 0.24  # inches of a row with a name


def distances(table: pd.DataFrame, steps: Sequence[str]) -> Any:
    """Mean distances of pairs over that of all pairs, at each step of training.

    Args:
        table: rows of `Understanding.geometry`, one per step, in order.
        steps: what each is called.
    """
    figure, axes = new_figure(WIDTH, HEIGHT)
    x = np.arange(len(table))
    for (column, name), colour, marker in zip(PAIRS.items(), COLOURS, MARKERS, strict=False):
        share = table[column] / table["mean_distance"]
        axes.plot(x, share, marker=marker, color=colour, linewidth=1.8, ms=5, label=name)
    axes.axhline(1.0, color=GREY, linewidth=1)
    axes.set_xticks(x, list(steps))
    _labels(axes, "evaluations of the likelihood", "distance / mean distance")
    _key(axes)
    return figure


def over_rounds(table: pd.DataFrame, columns: Sequence[tuple[str, str]]) -> Any:
    """Figures of the trained models over the number of results, a line per model and panel each.

    Args:
        table: model, measured and the columns.
        columns: with what their axes say.
    """
    figure, panels = new_panels(len(columns), WIDTH, HEIGHT)
    drawn = styles([str(m) for m in table["model"].unique()])
    for axes, (column, label) in zip(panels, columns, strict=True):
        for model, rows in table.groupby("model", sort=False):
            style = drawn[str(model)]
            axes.plot(rows["measured"], rows[column], **_line(style, str(model)))
        axes.set_ylim(bottom=0)
        _labels(axes, "results", label)
    _key(panels[0])
    return figure


def gradients(table: pd.DataFrame, stages: Sequence[tuple[str, str]]) -> Any:
    """What the likelihood does to pairs by the difference of their outcomes.

    Left its mean gradient with quartiles, right the share of pairs that it pulls together.

    Args:
        table: rows of `Understanding.gradients` of one model.
        stages: of the table, with what they are called.
    """
    figure, (left, right) = new_panels(2, WIDTH, HEIGHT)
    for (stage, name), colour, marker in zip(stages, COLOURS, MARKERS, strict=False):
        rows = table[table["stage"] == stage]
        # Each stage in units of its own largest mean, as they differ by orders of magnitude.
        unit = float(rows["gradient"].abs().max()) or 1.0
        left.fill_between(rows["difference"], rows["low"] / unit, rows["high"] / unit,
                          color=colour, alpha=0.15, linewidth=0)  # fmt: skip
        left.plot(rows["difference"], rows["gradient"] / unit, color=colour, marker=marker, ms=4.5,
                  linewidth=1.6, label=name)  # fmt: skip
        right.plot(rows["difference"], rows["together"], color=colour, marker=marker, ms=4.5,
                   linewidth=1.6, label=name)  # fmt: skip
    left.axhline(0, color=GREY, linewidth=1)
    right.axhline(0.5, color=GREY, linewidth=1)
    right.set_ylim(0, 1.02)
    percent_axis(right.yaxis)
    across = "difference of the outcomes"
    _labels(left, across, "gradient (largest = 1)")
    _labels(right, across, "pairs pulled together")
    _key(right)
    return figure


def outcome_maps(panels: Sequence[tuple[str, pd.DataFrame]], label: str, axis: str) -> Any:
    """Maps side by side, coloured by outcome; unknown outcomes are grey.

    Args:
        panels: title and table with x, y, outcome and whether it was `known` to the model then.
        label: of the colours.
        axis: what the directions are called, such as 'PC'.
    """
    across = min(3, len(panels))
    down = -(-len(panels) // across)
    size = (PANEL_SIDE * across + 0.7, PANEL_SIDE * down)
    figure, drawn = new_panels(len(panels), *size, across)
    every = pd.concat([table["outcome"] for _, table in panels]).dropna()
    ends = {"vmin": every.min(), "vmax": every.max()} if len(every) else {}
    colours = None
    for axes, (title, table) in zip(drawn, panels, strict=True):
        told = table["outcome"].notna()
        axes.scatter(*_xy(table[~told]), s=7, color=PALE, linewidths=0)
        shown = table[told].sort_values("outcome")
        colours = axes.scatter(*_xy(shown), s=9, c=shown["outcome"], cmap="viridis", linewidths=0,
                               **ends)  # fmt: skip
        seen = table[table["known"]]
        axes.scatter(*_xy(seen), s=20, facecolors="none", edgecolors=INK, linewidths=0.7)
        _map_axes(axes, title, axis)
    if colours is not None and len(every):
        bar = figure.colorbar(colours, ax=drawn, shrink=0.8)
        bar.set_label(plain(label, 50), color=INK)
        bar.outline.set_visible(False)
    return figure


def component_maps(table: pd.DataFrame, columns: Sequence[str], axis: str) -> Any:
    """One map, coloured by each of some columns with few levels."""
    across = min(2, len(columns))
    down = -(-len(columns) // across)
    figure, panels = new_panels(len(columns), 3.4 * across, 3.4 * down, across)
    for axes, column in zip(panels, columns, strict=True):
        for number, (level, rows) in enumerate(table.groupby(column, dropna=False)):
            axes.scatter(*_xy(rows), s=10, color=COLOURS[number], marker=MARKERS[number],
                         linewidths=0, label=plain(str(level), 26))  # fmt: skip
        _map_axes(axes, column, axis)
        axes.legend(frameon=False, fontsize=7, loc="upper center", bbox_to_anchor=(0.5, -0.1),
                    ncols=2, handletextpad=0.2, columnspacing=0.8)  # fmt: skip
    return figure


def selection_map(table: pd.DataFrame, axis: str) -> Any:
    """One map with the measured experiments, coloured by the round that chose them."""
    figure, axes = new_figure(4.6, 3.6)
    never, chosen = table[table["selected"].isna()], table.dropna(subset=["selected"])
    axes.scatter(*_xy(never), s=7, color=PALE, linewidths=0, label="never chosen")
    shown = axes.scatter(*_xy(chosen), s=22, c=chosen["selected"], cmap="viridis", linewidths=0.4,
                         edgecolors=INK, label="chosen")  # fmt: skip
    bar = figure.colorbar(shown, ax=axes, shrink=0.8)
    bar.set_label("round (0: start)", color=INK)
    bar.outline.set_visible(False)
    _map_axes(axes, "", axis)
    axes.legend(frameon=False, fontsize=8, loc="best")
    return figure


def reliability(table: pd.DataFrame, schemes: Sequence[str]) -> Any:
    """Share of outcomes inside the intervals against the share promised, a panel per scheme.

    Args:
        table: model, scheme, level, inside.
        schemes: the panels.
    """
    figure, panels = new_panels(len(schemes), WIDTH, 3.1)
    drawn = styles([str(m) for m in table["model"].unique()])
    ticks = [0, 0.25, 0.5, 0.75, 1]
    for axes, scheme in zip(panels, schemes, strict=True):
        axes.plot([0, 1], [0, 1], color=GREY, linewidth=1)
        for model, rows in table[table["scheme"] == scheme].groupby("model", sort=False):
            style = drawn[str(model)]
            axes.plot(rows["level"], rows["inside"], **_line(style, str(model)))
        axes.set(xlim=(0, 1.03), ylim=(0, 1.03), xticks=ticks, yticks=ticks)
        percent_axis(axes.xaxis)
        percent_axis(axes.yaxis)
        axes.set_title(scheme, loc="left", fontsize=9, color=INK)
        _labels(axes, "promised", "found inside")
    _key(panels[0])
    return figure


def intervals(
    table: pd.DataFrame, across: str, *, zero: float = 0.0, found: str = "predicted",
    truth: str = "measured",
) -> Any:  # fmt: skip
    """Rows with a name, a prediction with its interval, and what is true where that is known.

    Args:
        table: label, value, low, high and truth; the first row stands at the top.
        across: what the axis says.
        zero: where the line stands.
        found: what predictions are called.
        truth: what known values are called.
    """
    figure, axes = new_figure(WIDTH, 0.75 + ROW * len(table))
    y = np.arange(len(table))[::-1]
    axes.axvline(zero, color=GREY, linewidth=1)
    axes.hlines(y, table["low"], table["high"], color=COLOURS[0], linewidth=1.6)
    axes.plot(table["value"], y, "o", color=COLOURS[0], ms=5, label=found)
    known = table["truth"].notna().to_numpy()
    if known.any():
        axes.plot(table["truth"][known], y[known], "D", color=COLOURS[1], ms=5, mfc="none",
                  mew=1.3, label=truth)  # fmt: skip
        figure.legend(frameon=False, fontsize=8, loc="outside upper right", ncols=2, labelcolor=INK)
    axes.set_yticks(y, [plain(str(label), 44) for label in table["label"]], fontsize=8)
    axes.set_ylim(-0.6, len(table) - 0.4)
    axes.grid(axis="x", color=GRID)
    axes.set_xlabel(plain(across, 80), color=INK)
    return figure


def success(runs: pd.DataFrame, figures: Sequence[tuple[str, str]], outcome: str) -> Any:
    """Success against figures of a fit, a mark per task and method.

    Args:
        runs: method, the columns and the outcome `top5_coverage`.
        figures: columns with what their axes say.
        outcome: what the other axis says.
    """
    figure, panels = new_panels(len(figures), WIDTH, 3.1)
    means = runs.groupby(["task", "method"])[[c for c, _ in figures] + ["top5_coverage"]].mean()
    drawn = styles([str(m) for m in runs["method"].unique()])
    for axes, (column, label) in zip(panels, figures, strict=True):
        for method, rows in means.groupby("method"):
            style = drawn[str(method)]
            axes.plot(rows[column], rows["top5_coverage"], style.marker, color=style.colour, ms=4,
                      alpha=0.55, mew=0)  # fmt: skip
            middle = rows.mean()
            axes.plot(middle[column], middle["top5_coverage"], style.marker, color=style.colour,
                      ms=9, mec=INK, mew=0.9, label=plain(str(method)))  # fmt: skip
        percent_axis(axes.yaxis)
        _labels(axes, label, outcome)
    _key(panels[-1])
    return figure


def correlations(table: pd.DataFrame, figures: Sequence[tuple[str, str]]) -> Any:
    """Correlations with success at each level, with intervals.

    Args:
        table: as from `predictors`.
        figures: of the table, with what they are called.
    """
    levels = list(table["over"].unique())
    figure, axes = new_figure(WIDTH, 2.6)
    for number, (name, label) in enumerate(figures):
        rows = table[table["figure"] == name].set_index("over").loc[levels]
        y = np.arange(len(levels))[::-1] + 0.14 * (1 - 2 * number)
        axes.hlines(y, rows["low"], rows["high"], color=COLOURS[number], linewidth=1.8)
        axes.plot(rows["r"], y, MARKERS[number], color=COLOURS[number], ms=6, label=label)
    axes.axvline(0, color=GREY, linewidth=1)
    axes.set_yticks(np.arange(len(levels))[::-1], levels)
    axes.set_xlim(-1.02, 1.02)
    axes.grid(axis="x", color=GRID)
    axes.set_xlabel("correlation with the share of the top 5 % found", color=INK)
    axes.legend(frameon=False, fontsize=8, loc="lower left", labelcolor=INK)
    return figure


def _line(style: Style, name: str) -> dict[str, Any]:
    return {
        "color": style.colour, "marker": style.marker, "linestyle": style.dashes,
        "linewidth": 1.6, "ms": 4.5, "label": plain(name),
    }  # fmt: skip


def _xy(table: pd.DataFrame) -> tuple[Any, Any]:
    return table["x"].to_numpy(), table["y"].to_numpy()


def _map_axes(axes: Any, title: str, axis: str) -> None:
    axes.set_title(plain(title, 40), loc="left", fontsize=9, color=INK)
    axes.set_xticks([])
    axes.set_yticks([])
    axes.set_xlabel(f"{axis} 1", color=INK, fontsize=8)
    axes.set_ylabel(f"{axis} 2", color=INK, fontsize=8)


def _labels(axes: Any, across: str, up: str) -> None:
    axes.grid(color=GRID)
    axes.set_xlabel(plain(across, 60), color=INK)
    axes.set_ylabel(plain(up, 60), color=INK)


def _key(axes: Any) -> None:
    axes.legend(frameon=False, fontsize=8, labelcolor=INK, loc="best")
