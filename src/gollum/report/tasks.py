"""The benchmark tasks as tables for the terminal."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from rich import box
from rich.table import Table

from gollum.data.catalog import Task
from gollum.data.published import Published

LONGEST_UNIT = 12  # characters


def task_table(tasks: Iterable[Task]) -> Table:
    """One line per task, below the name of its group: rows, objective, and whether it is here."""
    caption = "`gollum tasks NAME` tells more, `gollum tasks --download NAME` fetches."
    table = Table(caption=caption, box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    table.add_column("task", no_wrap=True)
    table.add_column("rows", no_wrap=True, justify="right")
    table.add_column("objective", overflow="fold")
    table.add_column("direction", no_wrap=True)
    table.add_column("here", no_wrap=True)
    group = ""
    for task in tasks:
        if task.group != group:
            group = task.group
            table.add_section()
            table.add_row(f"({group})")
        table.add_row(
            task.name, str(task.rows), _with_unit(task), task.direction, _availability(task)
        )
    return table


def task_details(task: Task) -> Table:
    """Everything the catalogue knows of a task."""
    table = Table(show_header=False, title=task.title)
    table.add_column("field", no_wrap=True)
    table.add_column("value", overflow="fold")
    values = task.model_dump(exclude_none=True)
    places = Published.model_fields
    for field in (*(field for field in values if field not in places), *places):
        if values.get(field) not in (None, (), ""):
            table.add_row(field, _in_words(values[field]))
    table.add_row("here", _availability(task))
    return table


def _in_words(value: Any) -> str:
    if isinstance(value, dict):
        return "; ".join(f"{key}: {_in_words(part)}" for key, part in value.items())
    if isinstance(value, tuple):
        return ", ".join(map(_in_words, value))
    return f"{value:g}" if isinstance(value, float) else str(value)


def _with_unit(task: Task) -> str:
    """The objective, with its unit where that is a short one."""
    short = task.unit and len(task.unit) <= LONGEST_UNIT
    return f"{task.objective} ({task.unit})" if short else task.objective


def _availability(task: Task) -> str:
    if task.is_bundled:
        return "bundled"
    return "yes" if task.is_here() else "no"
