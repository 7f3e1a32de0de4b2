"""A sweep from its cells to its records: what is checked before, and going on until all is done."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from functools import cache
from pathlib import Path
from typing import Protocol

import pandas as pd

from gollum.benchmark.controls import controlled
from gollum.benchmark.problem import load_problem
from gollum.benchmark.spec import DataConfig
from gollum.benchmark.sweeps.cells import Cell, Outcome
from gollum.benchmark.sweeps.engines import Engine, Event
from gollum.benchmark.sweeps.records import Records, collect, failures, write_records, write_table
from gollum.benchmark.sweeps.spec import SweepSpec, expand, load_spec
from gollum.benchmark.transfer import with_sources
from gollum.data.catalog import get_task
from gollum.errors import ConfigError, DataError, UserError
from gollum.files import write_text

PAUSE = 2.0  # seconds between two looks at what other processes are doing


class Observer(Protocol):
    """Told what happens in a sweep."""

    def happened(self, event: Event) -> None:
        """Something happened to a cell."""

    def waiting(self, count: int) -> None:
        """Nothing is left but so many cells that other processes are running."""


def check(cells: Sequence[Cell]) -> None:
    """Find out before anything runs whether tables, models and folders can be used.

    What a cell lacks besides, such as a package or a GPU, costs that cell only.

    Raises:
        DataError: tables are not here, or not as published; or a folder holds a damaged file.
        ModelError: a language model can't be had.
        ConfigError: a folder holds another run.
    """
    tasks = dict.fromkeys(cell.config.data.task for cell in cells)
    if missing := [task for task in tasks if task and not get_task(task).is_here()]:
        raise DataError(
            f"the tables of {', '.join(missing)} are not here; `gollum tasks NAME` says where each "
            "can be had."
        )
    for name, remote_code in dict.fromkeys(_models(cells)):
        import torch  # which takes seconds, as language models do

        from gollum.language.loading import weights_size

        weights_size(name, torch.float32, trust_remote_code=remote_code)
    load = cache(lambda key: load_problem(DataConfig.model_validate_json(key)))
    for cell in cells:
        problem = load(cell.config.data.model_dump_json())
        if cell.folder.config_file.exists():
            problem = controlled(problem, cell.config.control, cell.config.seed)
            problem = with_sources(problem, cell.config)
            cell.folder.earlier_rows(cell.config, problem.fingerprint)


def run_sweep(cells: Sequence[Cell], engine: Engine, observer: Observer) -> None:
    """Run cells until each is finished or has failed, here or in another process.

    Args:
        cells: those that are missing.
        engine: what runs them.
        observer: told what happens.
    """
    left = list(cells)
    busy: list[Cell] = []
    while left:
        with closing(engine(left)) as events:
            for event in events:
                if event.outcome is not None and event.outcome.kind == "locked":
                    busy.append(event.cell)
                observer.happened(event)
        left = _freed(busy, observer)


def _freed(busy: list[Cell], observer: Observer) -> list[Cell]:
    """Wait for cells that others run; those that nobody runs any more and that are not done.

    What has come to an end, and what is returned, leaves the list.
    """
    told = False
    while busy:
        for cell in list(busy):
            if (state := cell.state()) != "missing":
                busy.remove(cell)
                observer.happened(Event(cell, Outcome(state, message="by another process")))
        if free := [cell for cell in busy if not cell.folder.is_locked()]:
            busy[:] = [cell for cell in busy if cell not in free]
            return free
        if not busy:
            break
        if not told:
            observer.waiting(len(busy))
            told = True
        time.sleep(PAUSE)
    return []


def forget_failures(cells: Sequence[Cell]) -> None:
    """Let failed cells be run again."""
    for cell in cells:
        cell.folder.failure_file.unlink(missing_ok=True)


def write_spec(spec: SweepSpec, cells: Sequence[Cell]) -> str | None:
    """Keep the spec, as it is run, in the sweep's folder, unless the one there asks for more.

    Args:
        spec: the spec.
        cells: of the spec.

    Returns:
        What the user should know where the earlier spec stays.

    Raises:
        ConfigError: the folder can't be written.
    """
    file = spec.folder / "spec.yaml"
    if _labels(file) - {cell.label for cell in cells}:
        return (
            f"'{file}' asks for runs that this command leaves out, so it is kept; remove it to "
            "have what is run now written there."
        )
    try:
        spec.folder.mkdir(parents=True, exist_ok=True)
        write_text(file, spec.to_yaml())
    except OSError as error:
        raise ConfigError(
            f"folder '{spec.folder}' can't be written ({error.strerror}); choose another with "
            "--output."
        ) from None
    return None


def _labels(file: Path) -> set[str]:
    """Folders of the cells of a spec; none where there is no spec that can be read."""
    try:
        return {cell.label for cell in expand(load_spec(file)).cells}
    except UserError:
        return set()


def write_results(folder: Path) -> tuple[Records, pd.DataFrame]:
    """Write records.csv, records-traces.csv.gz and failures.csv of a sweep; records and failures.

    Raises:
        DataError: they can't be written.
    """
    records, failed = collect(folder), failures(folder)
    write_records(records, folder / "records.csv")
    write_table(failed, folder / "failures.csv")
    return records, failed


def _models(cells: Sequence[Cell]) -> Iterator[tuple[str, bool]]:
    """Language models that are to be loaded, and whether code that comes with them may run."""
    for cell in cells:
        config = cell.config
        if config.has_model and config.remote.url is None:
            yield config.model.name, config.model.trust_remote_code
