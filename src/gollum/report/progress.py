"""The picture of one run: best value and share of the top found, against random search."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gollum.data.pool import Direction
from gollum.data.spreadsheets.units import bare_name
from gollum.files import write_file

Array = NDArray[np.float64]

SIZE_INCHES = (8.0, 3.2)
DPI = 150  # 1200 x 480 pixels
RUN, RANDOM, INK = "#0b6e99", "#8a8f98", "#2b2f36"
SHADE, GRID = "#fdf3dc", "#e6e8eb"


def plot_progress(
    trace: pd.DataFrame,
    random_best: Array,
    random_coverage: Array,
    *,
    n_init: int,
    objective: str,
    unit: str | None,
    direction: Direction,
    title: str,
    path: Path,
) -> Path:
    """Draw a run next to random search and write it as one PNG.

    Left: the best value so far. Right: the share of the pool's top 5 % that was found. Random
    search is shown as its median and the band from the 10th to the 90th percentile.

    Args:
        trace: a row per evaluation, in order, with columns `objective`, `best_so_far` (in the
            objective's own units) and `top5_coverage` (in [0, 1]).
        random_best: repeats x T best values of random search, in the objective's own units.
        random_coverage: repeats x T shares of the top found, in [0, 1].
        n_init: how many of the first rows are starting points.
        objective: name of the objective.
        unit: its unit, if it has one.
        direction: whether large or small values are wanted.
        title: stands above both panels.
        path: the file to write; replaced in one step if it exists.

    Returns:
        The path.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=SIZE_INCHES, dpi=DPI, layout="constrained")
    left, right = figure.subplots(1, 2)
    extreme = "Highest" if direction == "maximize" else "Lowest"
    measured = f" ({_label(unit, 16)})" if unit else ""
    name = _label(bare_name(objective), 36)
    _prepare(left, f"{extreme} {name} so far{measured}", n_init)
    _prepare(right, "Share of the top 5 % found", n_init)
    _random(left, random_best)
    _measurements(left, trace["objective"].to_numpy(dtype=np.float64))
    _run(left, trace["best_so_far"].to_numpy(dtype=np.float64), "{:.4g}")
    coverage = 100 * trace["top5_coverage"].to_numpy(dtype=np.float64)
    _random(right, 100 * random_coverage)
    _run(right, coverage, "{:.0f} %")
    _percent_axis(right, max(coverage.max(), 100 * random_coverage.max()))
    _headings(figure, left, title)
    return _save(figure, Path(path))


def _prepare(axes: Any, heading: str, n_init: int) -> None:
    """Everything but the data: heading, grid, frame, and the shaded starting points."""
    from matplotlib.ticker import MaxNLocator

    axes.set_title(heading, loc="left", fontsize=9, color=INK)
    axes.set_xlabel("Number of experiments", fontsize=8.5, color=INK)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, steps=[1, 2, 5, 10]))
    axes.tick_params(labelsize=8, colors=INK, length=0)
    axes.grid(axis="y", color=GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.spines["bottom"].set_color(RANDOM)
    axes.axvspan(0.5, n_init + 0.5, color=SHADE, linewidth=0, label="starting points")


def _measurements(axes: Any, values: Array) -> None:
    x = np.arange(1, len(values) + 1)
    axes.plot(x, values, "o", color=RUN, alpha=0.35, ms=3.5, mew=0, clip_on=False,
              label="each experiment")  # fmt: skip


def _random(axes: Any, searches: Array) -> None:
    """Median and band of repeats x T searches."""
    low, median, high = np.quantile(searches, [0.1, 0.5, 0.9], axis=0)
    x = np.arange(1, len(median) + 1)
    axes.fill_between(x, low, high, step="post", color=RANDOM, alpha=0.25, linewidth=0,
                      label="random, 10–90 %")  # fmt: skip
    axes.step(x, median, where="post", color=RANDOM, linewidth=1.4, label="random search, median")


def _run(axes: Any, values: Array, final: str) -> None:
    """The run, with its last value written at its end."""
    end = len(values)
    x = np.arange(1, end + 1)
    axes.step(x, values, where="post", color=RUN, linewidth=2.2, label="this run")
    axes.plot(end, values[-1], "o", color=RUN, ms=4.5, clip_on=False)
    axes.annotate(final.format(values[-1]), (end, values[-1]), xytext=(7, 0), va="center",
                  textcoords="offset points", fontsize=9, fontweight="bold", color=RUN,
                  annotation_clip=False)  # fmt: skip
    axes.margins(x=0)


def _percent_axis(axes: Any, largest: float) -> None:
    """Percent from 0, with some room above the largest value."""
    from matplotlib.ticker import MaxNLocator, PercentFormatter

    axes.set_ylim(0, max(5.0, 1.08 * largest))
    axes.yaxis.set_major_locator(MaxNLocator(integer=True, steps=[1, 2, 5, 10]))
    axes.yaxis.set_major_formatter(PercentFormatter(decimals=0, symbol=" %"))


def _headings(figure: Any, axes: Any, title: str) -> None:
    """The title, and one legend for both panels below them."""
    figure.suptitle(_label(title, 90), fontsize=10.5, fontweight="bold", color=INK)
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(handles[::-1], labels[::-1], loc="outside lower center", ncols=len(labels),
                  fontsize=8, frameon=False, labelcolor=INK)  # fmt: skip


def _label(text: str, longest: int) -> str:
    """At most `longest` characters, with dollar signs that do not start a formula."""
    cut = text if len(text) <= longest else text[: longest - 1] + "…"
    return cut.replace("$", r"\$")


def _save(figure: Any, path: Path) -> Path:
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    content = BytesIO()
    FigureCanvasAgg(figure).print_png(content)
    write_file(path, content.getvalue())
    return path
