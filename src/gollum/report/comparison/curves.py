"""Curves of a comparison: how far methods are after each iteration."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd

from gollum.report.drawing import (
    GRID,
    INK,
    PANEL,
    WIDTH,
    as_svg,
    key_columns,
    new_figure,
    percent_axis,
    plain,
    styles,
)

Curves = Mapping[tuple[str, str], pd.DataFrame]


def legend(methods: Sequence[str]) -> str:
    """The key to all curves."""
    from matplotlib.lines import Line2D

    look = styles(methods)
    handles = [
        Line2D([], [], color=s.colour, linestyle=s.dashes, linewidth=2, label=plain(m))
        for m, s in ((m, look[m]) for m in methods)
    ]
    columns = key_columns(methods, 3)
    figure, axes = new_figure(WIDTH, 0.1 + 0.22 * -(-len(handles) // columns))
    axes.set_axis_off()
    axes.legend(handles=handles, ncols=columns, loc="center left", frameon=False,
                borderaxespad=0, handlelength=3)  # fmt: skip
    return as_svg(figure)


def curve_panel(
    heading: str, curves: Mapping[str, pd.DataFrame], methods: Sequence[str], share: bool
) -> str:
    """Median over seeds by iteration, with the band that holds the middle half of the seeds.

    Args:
        heading: stands above.
        curves: per method a table iterations x seeds.
        methods: all methods of the comparison, for their styles.
        share: whether values are shares, written in percent.
    """
    look = styles(methods)
    figure, axes = new_figure(*PANEL)
    for method, table in curves.items():
        style, x = look[method], table.index.to_numpy()
        low, middle, high = table.quantile([0.25, 0.5, 0.75], axis=1).to_numpy()
        axes.fill_between(x, low, high, step="post", color=style.colour, alpha=0.15, linewidth=0)
        axes.step(x, middle, where="post", color=style.colour, linestyle=style.dashes,
                  linewidth=1.6)  # fmt: skip
    if share:
        percent_axis(axes.yaxis)
    axes.grid(axis="y", color=GRID)
    axes.margins(x=0)
    axes.set_xlabel("iteration", color=INK)
    axes.set_title(plain(heading), loc="left", fontsize=9, fontweight="bold", color=INK)
    return as_svg(figure)


def coverage(curves: Curves, tasks: Sequence[str], methods: Sequence[str]) -> str:
    """Mean over tasks of the mean share found over seeds, by iteration.

    Args:
        curves: for each task and method a table iterations x seeds.
        tasks: those to average over; every method has all of them.
        methods: what to draw.
    """
    look = styles(methods)
    figure, axes = new_figure(WIDTH, 3.2)
    for method in methods:
        each = [curves[task, method].mean(axis=1) for task in tasks]
        mean = pd.concat(each, axis=1).dropna().mean(axis=1)
        style = look[method]
        axes.step(mean.index, mean, where="post", color=style.colour, linestyle=style.dashes,
                  linewidth=2)  # fmt: skip
    percent_axis(axes.yaxis)
    axes.grid(axis="y", color=GRID)
    axes.margins(x=0)
    axes.set_xlabel("iteration", color=INK)
    return as_svg(figure)
