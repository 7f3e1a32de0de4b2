"""Benchmark tasks: labelled pools with their history."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Literal, get_args

import pandas as pd
import yaml
from pydantic import Field, model_validator

from gollum.data.pool import Direction, Pool
from gollum.data.published import LOCAL_DATA, Published, tasks_folder
from gollum.errors import DataError, nearest
from gollum.notes import Note

Group = Literal["organic synthesis", "process", "materials and catalysis", "molecules"]
RANGE_TOLERANCE = 1e-3  # of the range, as the catalogue rounds its ends


class AuthorsTexts(Published):
    """A table with the texts that the paper's authors gave their models, row by row as the task."""

    column: str = "procedure"
    """Column with the texts."""
    objective: str = "objective"
    """Column with the objective."""
    scale: float = 1.0
    """Factor from their objective to ours."""
    columns: dict[str, str] = Field(default_factory=dict)
    """Their name of each of our inputs to be compared; all inputs, named alike, by default."""


class Task(Published):
    """A labelled pool with its history: what it holds, where it is and whom to cite."""

    name: str
    """What commands and records call the task."""
    title: str
    """What the experiment is, for people."""
    group: Group
    """Field that the task belongs to."""
    rows: int
    """Rows of the file, before repeated inputs are dropped."""
    objective: str
    """Column to optimize."""
    unit: str
    """Unit of the objective; empty where it has none or the source states none."""
    direction: Direction
    """Whether large or small objective values are wanted."""
    range: tuple[float, float]
    """Lowest and highest objective of the file."""
    inputs: tuple[str, ...]
    """Columns that describe an experiment."""
    structures: tuple[str, ...] = ()
    """Input columns that hold SMILES."""
    absent: tuple[str, ...] = ()
    """Words for a component that is not there; such cells are read as blank."""
    replicates: Literal["first", "mean"] = "first"
    """What counts where inputs repeat: the first measurement, or the mean of all."""
    reaction: str | None = None
    """Template of the reaction SMILES, for reactions whose products are known."""
    template: str
    """Template of the text that a language model reads."""
    licence: str
    """Licence that the source states for its copy."""
    source: str
    """Where the table was taken from, with version."""
    citation: str
    """The paper that reports the measurements."""
    authors_texts: AuthorsTexts | None = None
    """The texts of the paper's authors."""

    @model_validator(mode="after")
    def _is_consistent(self) -> Task:
        if not set(self.structures) <= set(self.inputs):
            raise ValueError("'structures' must be among the inputs")
        return self

    def load(self) -> Pool:
        """The task as a pool; rows that repeat earlier inputs are dropped and reported.

        Raises:
            DataError: the table is not here, is not the published one, or has lost rows,
                columns or objective values.
        """
        table = self.table()
        pool = self._pool(table)
        self._check_range(table[self.objective])
        if self.replicates == "first" or len(pool) == len(table):
            return pool
        groups = table.groupby(list(self.inputs), dropna=False, sort=False)
        means = groups[self.objective].transform("mean")
        told = "the measurements of rows with equal inputs were averaged."
        pool = self._pool(table.assign(**{self.objective: means}))
        return replace(pool, notes=(*pool.notes, Note("averaged", self.name, told)))

    def table(self) -> pd.DataFrame:
        """The whole table, a row per measurement.

        Raises:
            DataError: it is not here, is not the published one, or has lost rows.
        """
        if not self.is_here():
            raise DataError(self._how_to_get_it())
        table = self.read(self.name)
        if len(table) != self.rows:
            raise DataError(
                f"{self.path()}: expected {self.rows} rows, got {len(table)}; get it again."
            )
        return table.replace(dict.fromkeys(self.absent, "")) if self.absent else table

    def _pool(self, table: pd.DataFrame) -> Pool:
        return Pool.from_table(
            table, self.objective, self.direction, inputs=self.inputs, name=self.name
        )

    def _check_range(self, values: pd.Series) -> None:
        if values.isna().any():
            raise DataError(
                f"{self.path()}: column '{self.objective}' has blank cells; get it again."
            )
        low, high = self.range
        slack = RANGE_TOLERANCE * (high - low)
        if abs(values.min() - low) > slack or abs(values.max() - high) > slack:
            raise DataError(
                f"{self.path()}: column '{self.objective}' runs from {values.min():g} to "
                f"{values.max():g}, in the published table from {low:g} to {high:g}; get it again."
            )

    def _how_to_get_it(self) -> str:
        folder = f"set {LOCAL_DATA} to a folder that holds {self.local}"
        if self.url is None:
            return (
                f"The table of '{self.name}' is not here and cannot be downloaded as it is: "
                f"{folder}, made from {self.source}."
            )
        return (
            f"The table of '{self.name}' is not here: run `gollum tasks --download {self.name}`, "
            f"or {folder}."
        )


@cache
def all_tasks() -> tuple[Task, ...]:
    """Every task, in the order of the catalogue."""
    return tuple(
        Task(name=name, group=group, **entry)
        for group in get_args(Group)
        for name, entry in yaml.safe_load(catalogue_file(group).read_text("utf-8")).items()
    )


def catalogue_file(group: Group) -> Path:
    """The file that declares the tasks of a group."""
    return tasks_folder() / f"{group.replace(' ', '-')}.yaml"


def task_names() -> tuple[str, ...]:
    """Names of all tasks, in the order of the catalogue."""
    return tuple(task.name for task in all_tasks())


def get_task(name: str) -> Task:
    """Look a task up.

    Raises:
        DataError: there is no such task; the message suggests the nearest name.
    """
    for task in all_tasks():
        if task.name == name:
            return task
    suggestion = nearest(name, task_names()) or " `gollum tasks` lists them."
    raise DataError(f"There is no task '{name}'.{suggestion}")


def download(task: Task, folder: Path | None = None) -> tuple[Path, ...]:
    """Fetch what a task needs and the package does not hold: its table, and the authors' texts.

    Args:
        task: the task; a table without an address must be here already.
        folder: where to put the files; the user's cache folder by default.

    Returns:
        The files, each of them once, the table first.

    Raises:
        DataError: a file cannot be had (`Published.fetch` says why); what came before it stays.
    """
    if task.url is None and not task.is_here():
        raise DataError(task._how_to_get_it())
    table = task.path() if task.url is None else task.fetch(task.name, folder)
    texts = task.authors_texts
    if texts is None or texts.url == task.url:
        return (table,)
    return table, texts.fetch(task.name, folder)
