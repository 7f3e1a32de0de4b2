"""Strategies to compare with: chance, and BayBE through the interface that its users have.

BayBE: github.com/emdgroup/baybe (Fitzner et al., Digital Discovery 2025, doi:10.1039/D5DD00050E).
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import metadata
from typing import Any

import numpy as np
import pandas as pd

from gollum.acquisition.strategy import BatchRequest, Selection, Vector
from gollum.data.pool import Pool
from gollum.errors import ConfigError, DataError, FitError, MissingExtraError
from gollum.features.fixed.columns import Scaled, one_hot, partition, texts
from gollum.features.fixed.molecules import canonical
from gollum.features.problem import Problem
from gollum.features.related import together
from gollum.features.representations import Setup
from gollum.notes import Note

TASK, TARGET, UTILITY = "which task", "this one", "utility of results"  # no column is called so


@dataclass(frozen=True, eq=False)
class Random:
    """Any candidate that may be chosen, all equally likely.

    Attributes:
        pool: the candidates.
    """

    pool: Pool
    revision: str = ""
    notes: tuple[str, ...] = ()
    surrogate: None = None

    @classmethod
    def of(cls, setup: Setup) -> Random:
        """Chance on the candidates of a setup."""
        return cls(setup.problem.pool)

    def choose(
        self, ids: Sequence[str], utility: Vector, request: BatchRequest, stream: Sequence[int]
    ) -> Selection:
        """Draw without looking at the utilities, one by one where there are limits."""
        began = time.perf_counter()
        seed, *rest = (*stream, *(request.ties or ())[-1:])
        rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=tuple(rest)))
        rows, chosen = request.rows, list[int]()
        if not request.limits.groups:
            chosen = rng.choice(rows, min(request.count, len(rows)), replace=False).tolist()
        while request.limits.groups and len(chosen) < request.count:
            left = rows[request.limits.allowed(rows, chosen) & ~np.isin(rows, chosen)]
            if len(left) == 0:
                break
            chosen.append(int(rng.choice(left)))
        seconds = time.perf_counter() - began
        return Selection(tuple(str(i) for i in self.pool.ids[chosen]), acquire_seconds=seconds)

    def features(self, seed: int) -> Vector:
        """One-hot encoding."""
        features: Vector = one_hot(self.pool).matrix
        return features


@dataclass(frozen=True, eq=False)
class BayBE:
    """BayBE's default recommender on a discrete search space that is the pool.

    Each iteration begins a new campaign and adds what was measured so far, with the random seed
    set from the stream, so that a resumed run goes on as an unbroken one would.

    Source tasks are told apart by a TaskParameter, which makes its process one of several tasks.

    Attributes:
        pool: the candidates.
        table: N rows, numbered from 0, with a column per parameter.
        space: BayBE's search space made of it.
        notes: what a user should know, one sentence each.
        revision: BayBE's version.
        known: results of source tasks, with a column per parameter and one of utilities.
    """

    pool: Pool
    table: pd.DataFrame
    space: Any
    notes: tuple[str, ...]
    revision: str
    known: pd.DataFrame | None = None
    surrogate: None = None

    def choose(
        self, ids: Sequence[str], utility: Vector, request: BatchRequest, stream: Sequence[int]
    ) -> Selection:
        """Ask a campaign that knows the measurements; limits and targets are not BayBE's.

        Raises:
            ConfigError: the request has limits or a target.
            FitError: BayBE gave no recommendation.
        """
        from baybe import Campaign
        from baybe.settings import Settings
        from baybe.targets import NumericalTarget

        if request.limits.groups or request.shared or request.target is not None:
            raise ConfigError("BayBE is asked without limits on a batch and without a target here.")
        if request.outcomes:
            raise ConfigError("BayBE is asked for a single outcome here; take another surrogate.")
        began = time.perf_counter()
        seed, *rest = stream
        entropy = np.random.SeedSequence(seed, spawn_key=tuple(rest)).generate_state(1)[0]
        measured = self.table.loc[self.pool.positions(ids)].assign(**{UTILITY: utility})
        away = np.setdiff1d(np.arange(len(self.pool)), request.rows)
        away = np.setdiff1d(away, self.pool.positions(ids))  # pending, failed or excluded
        count = min(request.count, len(request.rows))
        try:
            with Settings(random_seed=int(entropy)), _quiet():
                campaign = Campaign(
                    self.space,
                    NumericalTarget(name=UTILITY),
                    allow_recommending_already_measured=False,  # its default would repeat some
                )
                for results in (self.known, measured):
                    if results is not None and len(results):
                        campaign.add_measurements(results)
                if len(away):
                    campaign.toggle_discrete_candidates(self.table.loc[away], exclude=True)
                chosen = campaign.recommend(count).index
        except Exception as error:  # whatever another package may raise
            raise FitError(f"BayBE gave no recommendation: {error}") from error
        return Selection(
            tuple(str(self.pool.ids[row]) for row in chosen),
            revision=self.revision,
            acquire_seconds=time.perf_counter() - began,
        )

    def features(self, seed: int) -> Vector:
        """One-hot encoding."""
        features: Vector = one_hot(self.pool).matrix
        return features


def baybe(setup: Setup) -> BayBE:
    """BayBE with one-hot encodings; raises as `of_problem`."""
    return of_problem(setup.problem, ())


def baybe_chem(setup: Setup) -> BayBE:
    """BayBE with its chemical encoding of structures (its default, MORDRED); as `of_problem`."""
    return of_problem(setup.problem, setup.problem.structures)


def of_problem(problem: Problem, structures: Sequence[str]) -> BayBE:
    """BayBE on the candidates of a problem.

    Args:
        problem: candidates, and results of other tasks.
        structures: columns with SMILES that get a chemical encoding. One with blank cells, or with
            one molecule written in two ways, stays one-hot.

    Raises:
        DataError: no column distinguishes the candidates, one can't be used, or a source has
            another outcome or lacks a column.
        MissingExtraError: BayBE is not installed.
    """
    try:
        from baybe.parameters import TaskParameter
        from baybe.searchspace import SearchSpace
    except ModuleNotFoundError:
        raise MissingExtraError("BayBE", "peers") from None

    pool, sources, count = problem.pool, problem.sources, len(problem.pool)
    every = pool
    if sources:
        for source in sources:
            lacks = [c for c in pool.table.columns if c not in source.table]
            if lacks or not source.comparable:
                what = f"no column '{lacks[0]}'" if lacks else "results of another outcome"
                raise DataError(f"{source.name} has {what}; BayBE can't learn from it.")
        every = together(problem, sources)[0].pool
    notes = list[Note]()
    columns, parameters = dict[str, Any](), list[Any]()
    with _quiet():
        for column, parameter in _parameters(every, structures, notes):
            columns[parameter.name] = column
            parameters.append(parameter)
        if not parameters:
            raise DataError(f"{pool.name}: no input column differs between the candidates.")
        if sources:
            names = [TARGET, *(source.name for source in sources)]
            sizes = [count, *map(len, sources)]
            columns[TASK] = np.repeat(names, sizes)
            parameters.append(TaskParameter(TASK, names, active_values=[TARGET]))
        table = pd.DataFrame(columns)
        space = SearchSpace.from_dataframe(table.iloc[:count], parameters)
    known = None
    if sources:
        utility = np.concatenate([source.utility for source in sources])
        known = table.iloc[count:].assign(**{UTILITY: utility})
    version = f"baybe {metadata.version('baybe')}"
    return BayBE(pool, table.iloc[:count], space, tuple(notes), version, known)


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

    scaled = Scaled.of(pool, column)(pool.table)
    for values, what in zip(scaled.T, ("", " is missing"), strict=False):
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
