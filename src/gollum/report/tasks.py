"""The benchmark tasks as tables for the terminal."""

from __future__ import annotations

from collections.abc import Iterable

from rich import box
from rich.table import Table

from gollum.data.catalog import Task

LONGEST_UNIT = 12  # characters


def task_table(tasks: Iterable[Task]) -> Table:
    """One line per task: rows, objective, direction, licence, source, and whether it is here."""
    caption = "`gollum tasks NAME` tells more, `gollum tasks --download NAME` fetches."
    table = Table(caption=caption, box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    for column in ("task", "rows", "objective", "direction", "licence", "source", "here"):
        table.add_column(column, overflow="fold", no_wrap=column in ("task", "here", "direction"))
    group = ""
    for task in tasks:
        if task.group != group:
            group = task.group
            table.add_section()
        table.add_row(
            task.name,
            str(task.rows),
            _with_unit(task),
            task.direction,
            task.licence.split(" (")[0],
            task.source.split()[0].split(":")[0],
            _availability(task),
        )
    return table


def task_details(task: Task) -> Table:
    """Everything the catalogue knows of a task."""
    table = Table(show_header=False, title=task.title)
    table.add_column("field", no_wrap=True)
    table.add_column("value", overflow="fold")
    for field, value in task.model_dump(exclude_none=True).items():
        table.add_row(field, ", ".join(value) if isinstance(value, tuple) else str(value))
    table.add_row("here", _availability(task))
    return table


def _with_unit(task: Task) -> str:
    """The objective, with its unit where that is a short one."""
    short = task.unit and len(task.unit) <= LONGEST_UNIT
    return f"{task.objective} ({task.unit})" if short else task.objective


def _availability(task: Task) -> str:
    if task.is_bundled:
        return "bundled"
    return "yes" if task.is_here() else "no"
