"""Benchmark tasks: bundled with the package, in a local folder, or fetched on request."""

from __future__ import annotations

import hashlib
import os
from functools import cache
from http.client import HTTPException
from importlib.resources import files
from pathlib import Path, PurePosixPath
from typing import Literal
from urllib.request import urlopen

import numpy as np
import pandas as pd
import yaml
from pydantic import BaseModel, ConfigDict, model_validator

from gollum.cachefile import cache_folder
from gollum.data.pool import Direction, Pool
from gollum.data.readers import read_table
from gollum.errors import DataError, nearest
from gollum.files import write_file

LOCAL_DATA = "GOLLUM_DATA"  # environment variable: a folder with further tables
TIMEOUT = 30  # seconds without an answer before a download is given up
Group = Literal["organic synthesis", "process", "materials and catalysis", "molecules"]


class Task(BaseModel):
    """A labelled pool with its history: what it holds, where it is and whom to cite."""

    model_config = ConfigDict(frozen=True, extra="forbid")

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
    """Unit of the objective."""
    direction: Direction
    """Whether large or small objective values are wanted."""
    inputs: tuple[str, ...]
    """Columns that describe an experiment."""
    structures: tuple[str, ...] = ()
    """Input columns that hold SMILES."""
    reaction: str | None = None
    """Template of the reaction SMILES, for reactions."""
    template: str
    """Template of the text that a language model reads."""
    licence: str
    """Licence that the source states for its copy."""
    source: str
    """Where the table was taken from, with version."""
    citation: str
    """The paper that reports the measurements."""
    sha256: str
    """Hash of the bundled file, or of the file behind the URL."""
    file: str | None = None
    """Name of the bundled file."""
    url: str | None = None
    """Where a task that is not bundled can be fetched."""
    local: str | None = None
    """Path below the folder that GOLLUM_DATA names; rows and columns as behind the URL."""

    @model_validator(mode="after")
    def _is_consistent(self) -> Task:
        if (self.file is None) != (self.url is not None and self.local is not None):
            raise ValueError("give either 'file', or 'url' and 'local'")
        if not set(self.structures) <= set(self.inputs):
            raise ValueError("'structures' must be among the inputs")
        return self

    @property
    def is_bundled(self) -> bool:
        """Whether the table ships with the package."""
        return self.file is not None

    def path(self) -> Path:
        """Where the table is, or where a download will put it."""
        if self.file is not None:
            return _tasks_folder() / self.file
        local = self._local_path()
        return local if local is not None and local.exists() else self._cached()

    def is_here(self) -> bool:
        """Whether the table can be loaded without a download."""
        return self.path().is_file()

    def load(self) -> Pool:
        """The task as a pool; rows that repeat earlier inputs are dropped and reported.

        Raises:
            DataError: the table is not here, is not the published one, or has lost rows,
                columns or objective values.
        """
        if not self.is_here():
            raise DataError(
                f"The table of '{self.name}' is not here: run `gollum tasks --download "
                f"{self.name}`, or set {LOCAL_DATA} to a folder that holds {self.local}."
            )
        path = self.path()
        if path != self._local_path():
            _check_hash(path, self.sha256, self.name)
        pool = Pool.from_table(
            self._checked(read_table(path)),
            self.objective,
            self.direction,
            inputs=self.inputs,
            name=self.name,
        )
        if not np.isfinite(pool.values).all():
            raise DataError(f"{path}: column '{self.objective}' has blank cells; fetch it again.")
        return pool

    def _checked(self, table: pd.DataFrame) -> pd.DataFrame:
        if len(table) != self.rows:
            raise DataError(
                f"{self.path()}: expected {self.rows} rows, got {len(table)}; fetch it again."
            )
        return table

    def _local_path(self) -> Path | None:
        folder = os.environ.get(LOCAL_DATA)
        return Path(folder, self.local) if folder and self.local else None

    def _cached(self) -> Path:
        return cache_folder("tasks") / PurePosixPath(self.url or "").name


@cache
def all_tasks() -> tuple[Task, ...]:
    """Every task, in the order of the catalogue."""
    entries = yaml.safe_load((_tasks_folder() / "tasks.yaml").read_text("utf-8"))
    return tuple(Task(name=name, **entry) for name, entry in entries.items())


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


def download(task: Task, folder: Path | None = None) -> Path:
    """Fetch the table of a task that is not bundled.

    Args:
        task: the task; a bundled one needs no download, so its path is returned.
        folder: where to put the file; the user's cache folder by default.

    Returns:
        The file, which appears only once it is complete and its sha256 is right.

    Raises:
        DataError: the server cannot be reached, its file is not the published one, or the
            folder cannot be written; nothing is left behind.
    """
    if task.url is None:
        return task.path()
    target = (folder or cache_folder("tasks")) / PurePosixPath(task.url).name
    content = _fetch(task.url, task.name)
    if hashlib.sha256(content).hexdigest() != task.sha256:
        raise DataError(
            f"{task.url} no longer gives the published table of '{task.name}' (its sha256 "
            "differs), so it was not kept."
        )
    _write(content, target)
    return target


def _fetch(url: str, name: str) -> bytes:
    try:
        with urlopen(url, timeout=TIMEOUT) as answer:  # noqa: S310 (addresses of the catalogue)
            return bytes(answer.read())
    except (OSError, HTTPException) as error:
        reason = getattr(error, "reason", None) or error
        raise DataError(
            f"'{name}' could not be fetched from {url} ({reason}); try again with a network, or "
            f"set {LOCAL_DATA} to a folder that holds it."
        ) from None


def _write(content: bytes, target: Path) -> None:
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        write_file(target, content)
    except OSError as error:
        raise DataError(f"{target} cannot be written: {error.strerror}.") from None


def _check_hash(path: Path, sha256: str, name: str) -> None:
    if hashlib.sha256(path.read_bytes()).hexdigest() != sha256:
        raise DataError(
            f"{path} is not the published table of '{name}' (its sha256 differs); delete it and "
            "fetch or install it again."
        )


def _tasks_folder() -> Path:
    return Path(str(files("gollum.data") / "tasks"))
