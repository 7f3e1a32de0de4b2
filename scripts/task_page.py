"""Write docs/tasks.md and its pictures: what the benchmark tasks hold, as far as they are here.

GOLLUM_DATA=FOLDER python scripts/task_page.py
"""

from __future__ import annotations

import argparse
from io import BytesIO
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np

from gollum.analysis.metrics import top_mask, top_threshold
from gollum.data.catalog import Task, all_tasks
from gollum.data.pool import Pool
from gollum.files import write_file, write_text

DOCS = Path(__file__).resolve().parent.parent / "docs"
ITERATIONS = 50  # after ten starting points from below the median, which are never in the top
COLUMNS, WIDTH, HEIGHT, DPI, BINS = 4, 2.35, 1.72, 110, 40
LARGE, LONGEST_LABEL = 1e4, 32
REST, TOP, INK = "#7a8fa3", "#d55e00", "#2b2f36"
INTRODUCTION = """# The benchmark tasks

<!-- Written by scripts/task_page.py. -->

A task is a pool of experiments with known results. A run (`gollum run --data.task NAME`) starts
from ten poor ones and looks for the top 5 %. `gollum tasks` lists what is here, `gollum tasks NAME`
tells everything about a task, and `gollum tasks --download NAME` fetches one that has an address.
Tables without one are read from the folder that `GOLLUM_DATA` names; their sources say what they
were made from. Rows, range and (where the published bytes are at hand) the sha256 are checked
whenever a table is read.

- *Rows*: of the file, with the number of distinct experiments in brackets where inputs repeat. Of
  repeated inputs the first measurement counts, or their mean where the table says "mean".
- *Columns*: what varies between the experiments; names and structures of the same component are
  one column.
- *Ceiling*: the largest share of the top 5 % that 60 measurements can find, ten starting points
  from below the median and 50 more. Ties can make the top larger than 5 %.

`--data.texts authors` gives a language model the text of the paper's authors in place of ours, for
the tasks marked with a star (`gollum tasks --download NAME` fetches it).
"""
CAPTION = """
![Histograms of the objective of each task](pictures/{picture})

*How often each value of the objective occurs; heights are square roots of counts, so that a few
experiments among many are seen. Orange, from the dashed line on, is the top 5 %: above each panel
its threshold and how many experiments reach it.*
"""
HEADER = """
| name | what | rows | columns | objective | range | ceiling | licence | source |
|---|---|---|---|---|---|---|---|---|
"""


def main() -> None:
    """Write the page and a picture per group."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--output", type=Path, default=DOCS, help="folder of the page")
    folder = parser.parse_args().output
    (folder / "pictures").mkdir(parents=True, exist_ok=True)
    page = INTRODUCTION
    for group, tasks in groupby(all_tasks(), key=lambda task: task.group):
        pools = [(task, task.load()) for task in tasks if task.is_here()]
        if not pools:
            continue
        picture = f"tasks-{group.replace(' ', '-')}.png"
        write_file(folder / "pictures" / picture, draw(pools))
        lines = (line(task, pool) for task, pool in pools)
        page += f"\n## {group.capitalize()}\n{HEADER}" + "\n".join(lines) + "\n"
        page += CAPTION.format(picture=picture)
    write_text(folder / "tasks.md", page)


def line(task: Task, pool: Pool) -> str:
    """One row of the table."""
    repeats = ", mean" if task.replicates == "mean" else ""
    rows = str(task.rows) + (f" ({len(pool)}{repeats})" if len(pool) < task.rows else "")
    unit = f", {task.unit}" if task.unit else ""
    cells = (
        f"`{task.name}`" + ("\\*" if task.authors_texts else ""),
        task.title,
        rows,
        ", ".join(varying(task, pool)),
        f"{task.objective}{unit}; {task.direction}",
        "{:g} to {:g}".format(*task.range),
        f"{100 * ceiling(pool):.0f} %",
        task.licence.split(" (")[0],
        task.source,
    )
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def varying(task: Task, pool: Pool) -> list[str]:
    """Inputs that differ between experiments, without the structures of those that have names."""
    return [
        column
        for column in task.inputs
        if pool.table[column].nunique(dropna=False) > 1
        and not (column.endswith("_smiles") and column.removesuffix("_smiles") in task.inputs)
    ]


def ceiling(pool: Pool) -> float:
    """The largest share of the top that a run can find."""
    return min(1.0, ITERATIONS / int(top_mask(pool.utility).sum()))


def draw(pools: list[tuple[Task, Pool]]) -> bytes:
    """A PNG with a histogram for each task."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    count = -(-len(pools) // COLUMNS)
    width, height = COLUMNS * WIDTH, count * HEIGHT
    figure = Figure(figsize=(width, height), dpi=DPI)
    figure.subplots_adjust(
        left=0.02, right=0.98, top=1 - 0.4 / height, bottom=0.45 / height, wspace=0.14, hspace=0.9
    )
    panels = figure.subplots(count, COLUMNS, squeeze=False).ravel()
    for axes, (task, pool) in zip(panels, pools, strict=False):
        histogram(axes, task, pool)
    for axes in panels[len(pools) :]:
        axes.set_axis_off()
    content = BytesIO()
    FigureCanvasAgg(figure).print_png(content)
    return content.getvalue()


def histogram(axes: Any, task: Task, pool: Pool) -> None:
    """Values of the objective, the top 5 % in another colour behind a dashed line."""
    from matplotlib.ticker import MaxNLocator

    top, threshold = top_mask(pool.utility), pool.sign() * top_threshold(pool.utility) + 0.0
    edges = np.linspace(pool.values.min(), pool.values.max(), BINS + 1)
    axes.hist(pool.values, edges, color=REST)
    axes.hist(pool.values[top], edges, color=TOP)
    axes.set_yscale("function", functions=(np.sqrt, np.square))
    axes.axvline(threshold, color=TOP, linewidth=1.0, linestyle=(0, (4, 2)))
    shown = f"{threshold:.4g}" if abs(threshold) < LARGE else f"{threshold:.0f}"
    sign = "≥" if pool.direction == "maximize" else "≤"
    axes.set_title(task.name, loc="left", fontsize=8.5, fontweight="bold", color=INK, pad=13)
    axes.text(0, 1.03, f"{sign} {shown}: {top.sum()}", transform=axes.transAxes, fontsize=8,
              color=TOP)  # fmt: skip
    label = f"{task.objective} ({task.unit})"
    fits = task.unit and len(label) <= LONGEST_LABEL
    axes.set_xlabel(label if fits else task.objective, fontsize=8, color=INK)
    axes.xaxis.set_major_locator(MaxNLocator(4))
    axes.tick_params(labelsize=8, colors=INK, length=2)
    axes.set_yticks([])
    axes.spines[["top", "right", "left"]].set_visible(False)


if __name__ == "__main__":
    main()
