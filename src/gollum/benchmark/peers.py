"""BayBE behind the protocol of this package, through the interface that its users have.

BayBE: github.com/emdgroup/baybe (Fitzner et al., Digital Discovery 2025, doi:10.1039/D5DD00050E).
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import metadata
from typing import Any

import numpy as np
import pandas as pd

from gollum.benchmark.spec import RunConfig
from gollum.benchmark.strategies import Choice, Random, Strategy, Vector, timings, unmeasured
from gollum.data.pool import Pool
from gollum.errors import DataError, FitError, MissingExtraError
from gollum.features.columns import numbers, one_hot, partition, texts
from gollum.features.molecules import canonical
from gollum.notes import Note
from gollum.surrogates.build import Problem


def peer(problem: Problem, config: RunConfig) -> Strategy:
    """What chooses, where that is no Gaussian process of this package.

    Args:
        problem: the candidates.
        config: of the run; `surrogate` is a key of `PEERS`.

    Raises:
        DataError: the pool lacks what it needs.
        MissingExtraError: its package is not installed.
    """
    return STRATEGIES[config.surrogate](problem, config.batch_size)


@dataclass(frozen=True, eq=False)
class BayBE:
    """BayBE's default recommender on a discrete search space that is the pool.

    Each iteration begins a new campaign and adds what was measured so far, with the random seed
    set from the stream, so that a resumed run goes on as an unbroken one would.

    Attributes:
        pool: the candidates.
        table: N rows, numbered from 0, with a column per parameter.
        space: BayBE's search space made of it.
        batch_size: experiments to choose.
        notes: what a user should know, one sentence each.
        revision: BayBE's version.
    """

    pool: Pool
    table: pd.DataFrame
    space: Any
    batch_size: int
    notes: tuple[str, ...]
    revision: str
    surrogate: None = None

    def choose(self, ids: Sequence[str], utility: Vector, stream: tuple[int, int]) -> Choice:
        """Ask a campaign that knows the measurements."""
        from baybe import Campaign
        from baybe.settings import Settings
        from baybe.targets import NumericalTarget

        began = time.perf_counter()
        seed, iteration = stream
        entropy = np.random.SeedSequence(seed, spawn_key=(iteration,)).generate_state(1)[0]
        rows = self.pool.positions(ids)
        measured = self.table.loc[rows].assign(**{self.pool.objective: utility})
        count = min(self.batch_size, len(unmeasured(self.pool, ids)))
        try:
            with Settings(random_seed=int(entropy)), _quiet():
                campaign = Campaign(
                    self.space,
                    NumericalTarget(name=self.pool.objective),
                    allow_recommending_already_measured=False,  # its default would repeat some
                )
                campaign.add_measurements(measured)
                chosen = campaign.recommend(count).index
        except Exception as error:  # whatever another package may raise
            raise FitError(f"BayBE gave no recommendation: {error}") from error
        seconds = timings(0.0, time.perf_counter() - began)
        return Choice(tuple(str(self.pool.ids[row]) for row in chosen), (seconds,) * len(chosen))

    def features(self, seed: int) -> Vector:
        """One-hot encoding."""
        return one_hot(self.pool)


def baybe(problem: Problem, batch_size: int, chemical: bool) -> BayBE:
    """BayBE on a pool.

    Args:
        problem: the candidates.
        batch_size: experiments per iteration.
        chemical: whether structures get BayBE's chemical encoding (its default, MORDRED) instead
            of the one-hot one. A column with blank cells, or with one molecule written in two
            ways, stays one-hot.

    Raises:
        DataError: no column distinguishes the candidates, or one can't be used.
        MissingExtraError: BayBE is not installed.
    """
    try:
        from baybe.searchspace import SearchSpace
    except ModuleNotFoundError:
        raise MissingExtraError("BayBE", "peers") from None

    pool, notes = problem.pool, list[Note]()
    columns, parameters = dict[str, Any](), list[Any]()
    with _quiet():
        for column, parameter in _parameters(pool, problem.structures if chemical else (), notes):
            columns[parameter.name] = column
            parameters.append(parameter)
        if not parameters:
            raise DataError(f"{pool.name}: no input column differs between the candidates.")
        table = pd.DataFrame(columns)
        space = SearchSpace.from_dataframe(table, parameters)
    version = f"baybe {metadata.version('baybe')}"
    return BayBE(pool, table, space, batch_size, tuple(notes), version)


STRATEGIES: dict[str, Callable[[Problem, int], Strategy]] = {
    "random": lambda problem, batch_size: Random(problem.pool, batch_size),
    "baybe": lambda problem, batch_size: baybe(problem, batch_size, chemical=False),
    "baybe_chem": lambda problem, batch_size: baybe(problem, batch_size, chemical=True),
}


def _parameters(
    pool: Pool, structures: Sequence[str], notes: list[Note]
) -> Iterator[tuple[Any, Any]]:
    """Values and parameter of each column that says something new; structures come first."""
    numeric, seen = set(pool.numeric_columns()), set[bytes]()
    for column in sorted(pool.table.columns, key=lambda c: c not in structures):
        if column in numeric:
            yield from _numerical(pool, column)
        elif (parts := partition(pool.table[column])) is not None and parts not in seen:
            seen.add(parts)
            yield _labelled(pool, column, column in structures, notes)


def _numerical(pool: Pool, column: str) -> Iterator[tuple[Any, Any]]:
    """The number in [0, 1], and where cells are missing, which ones."""
    from baybe.parameters import NumericalDiscreteParameter

    for values, what in zip(numbers(pool, column).T, ("", " is missing"), strict=False):
        yield values, NumericalDiscreteParameter(f"{column}{what}", np.unique(values).tolist())


def _labelled(
    pool: Pool, column: str, is_structure: bool, notes: list[Note]
) -> tuple[list[str], Any]:
    from baybe.parameters import CategoricalParameter, SubstanceParameter

    labels = [f"={text}" for text in texts(pool.table[column])]  # BayBE takes no empty ones
    if is_structure:
        molecules = canonical(pool, column)
        data = dict(zip(labels, molecules, strict=True))
        if all(molecules) and len(set(molecules)) == len(data):
            return labels, SubstanceParameter(column, data)
        told = (
            f"column '{column}' has blank cells, or one molecule written in two ways; BayBE gets "
            "it one-hot encoded."
        )
        notes.append(Note("no-structures", pool.name, told))
    return labels, CategoricalParameter(column, sorted(set(labels)))


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the warnings of BayBE and of what it calls."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
