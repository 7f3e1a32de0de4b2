"""A run: replay a labelled pool with a surrogate and an acquisition function."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any, Protocol

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gollum.benchmark.controls import controlled
from gollum.benchmark.loop import Loop
from gollum.benchmark.problem import load_problem
from gollum.benchmark.record import RunFolder
from gollum.benchmark.spec import RunConfig
from gollum.benchmark.strategies import GaussianProcess, Strategy
from gollum.data.initial import initial_design
from gollum.data.pool import Pool
from gollum.runtime import Runtime, prepare_process
from gollum.surrogates.base import Surrogate
from gollum.surrogates.build import Problem, build_surrogate
from gollum.surrogates.presets import PEERS, Variant, variant

Build = Callable[..., Surrogate]


class Watcher(Protocol):
    """Told what a run does while it does it; every method may do nothing."""

    def prepared(self, config: RunConfig, problem: Problem, done: int) -> None:
        """The pool is loaded; `done` iterations were found in the folder."""

    def embedding(self, done: int, total: int) -> None:
        """The language model has read so many of the texts."""

    def noted(self, notes: tuple[str, ...]) -> None:
        """Something the user should know, one sentence each."""

    def consents(self, sentence: str) -> bool:
        """Whether the user agrees to what the sentence says."""

    def measured(self, rows: list[dict[str, Any]]) -> None:
        """New rows of the trace: the starting points, or one iteration."""


@dataclass(frozen=True, eq=False)
class RunResult:
    """A finished run.

    Attributes:
        config: what was run.
        problem: on what.
        trace: a row per evaluation, in order.
        summary: final figures and provenance.
        folder: where the record is.
    """

    config: RunConfig
    problem: Problem
    trace: pd.DataFrame
    summary: dict[str, Any]
    folder: RunFolder

    @cached_property
    def order(self) -> NDArray[np.int64]:
        """Positions of the measured candidates in the pool, in order."""
        return self.problem.pool.positions(self.trace["id"])


def run(config: RunConfig, watcher: Watcher, build: Build | None = None) -> RunResult:
    """Run an optimization, or go on with one that was interrupted.

    Every iteration depends on the seed, its number and what was measured before, and on nothing
    else; so a resumed run gives the trace of an unbroken one.

    Args:
        config: what to run.
        watcher: told what happens.
        build: makes the surrogate instead of `build_surrogate`.

    Raises:
        UserError: configuration, data or model can't be used, or another run has the folder.
        FitError: a surrogate could not be fitted.
    """
    with RunFolder(config.folder).locked():
        return _run(config, watcher, build)


def _run(config: RunConfig, watcher: Watcher, build: Build | None) -> RunResult:
    prepare_process(config.threads)
    problem = controlled(load_problem(config.data), config.control, config.seed)
    folder = RunFolder(config.folder)
    rows = folder.earlier_rows(config, problem.fingerprint)
    runtime = Runtime.resolve(config.device, config.model.precision)

    @cache
    def strategy() -> Strategy:
        told = (watcher.embedding, watcher.noted, watcher.consents)
        chosen = _strategy(
            problem,
            config,
            lambda parts: (build or build_surrogate)(problem, parts, config, runtime, *told),
        )
        watcher.noted(chosen.notes)
        return chosen

    loop = Loop(config, problem, strategy, folder, runtime, rows)
    start = [] if rows else _starting_points(config, problem.pool, strategy)
    watcher.prepared(config, problem, loop.iterations_done)
    watcher.noted(problem.notes)
    watcher.measured(rows)
    if not loop.is_complete:
        strategy()  # what can't be made is refused before anything is written
        folder.create(config)
        if start:
            watcher.measured(loop.measure_start(start))
        while loop.goes_on:
            new, notes = loop.iterate()
            watcher.noted(notes)
            watcher.measured(new)
        watcher.noted(loop.finish())
    return RunResult(config, problem, folder.trace(), folder.summary(), folder)


def _strategy(
    problem: Problem, config: RunConfig, build: Callable[[Variant], Surrogate]
) -> Strategy:
    """What chooses, by the name of the surrogate."""
    if config.surrogate in PEERS:
        from gollum.benchmark.peers import peer  # needs what others do not

        return peer(problem, config)
    surrogate = build(variant(config.surrogate))
    return GaussianProcess(surrogate, config.acquisition, config.batch_size)


def _starting_points(config: RunConfig, pool: Pool, strategy: Callable[[], Strategy]) -> list[str]:
    positions = initial_design(
        config.initial,
        utility=pool.utility,
        features=lambda: strategy().features(config.seed),
        n=config.n_init,
        seed=config.seed,
    )
    return [str(i) for i in pool.ids[positions]]
