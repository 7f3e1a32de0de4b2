"""A run: replay a labelled pool with a surrogate and an acquisition function."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gollum.acquisition.model_based import make_strategy
from gollum.acquisition.strategy import Strategy
from gollum.benchmark.controls import controlled
from gollum.benchmark.loop import Loop
from gollum.benchmark.problem import load_problem
from gollum.benchmark.record import RunFolder
from gollum.benchmark.spec import REPRESENTATIVE, RunConfig
from gollum.benchmark.transfer import with_sources
from gollum.data.initial import initial_design
from gollum.data.pool import Pool
from gollum.features.problem import Problem
from gollum.features.representations import Setup
from gollum.listener import SILENT, Listener
from gollum.runtime import Runtime, prepare_process
from gollum.surrogates.base import Surrogate, SurrogateFactory

Build = Callable[[SurrogateFactory, Setup], Surrogate]


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


def run(config: RunConfig, listener: Listener = SILENT, build: Build | None = None) -> RunResult:
    """Run an optimization, or go on with one that was interrupted.

    Every iteration depends on the seed, its number and what was measured before, and on nothing
    else; so a resumed run gives the trace of an unbroken one.

    Args:
        config: what to run.
        listener: told what happens.
        build: makes the surrogate by its factory instead of calling that.

    Raises:
        UserError: configuration, data or model can't be used, or another run has the folder.
        FitError: a surrogate could not be fitted.
    """
    with RunFolder(config.folder).locked():
        return _run(config, listener, build)


def _run(config: RunConfig, listener: Listener, build: Build | None) -> RunResult:
    prepare_process(config.threads)
    problem = problem_of(config)
    folder = RunFolder(config.folder)
    rows = folder.earlier_rows(config, problem.fingerprint)
    runtime = Runtime.resolve(config.device, config.model.precision)

    # Runs that learn from other tasks read the same texts again and again.
    setup = Setup(problem, config, runtime, listener, keep=bool(problem.sources))

    @cache
    def strategy() -> Strategy:
        starts = config.protocol == "campaign" or config.initial == REPRESENTATIVE
        made = make_strategy(setup, config, starts=starts, build=build)
        listener.noted(made.notes)
        return made

    loop = Loop(config, problem, strategy, folder, runtime, rows)
    start = [] if rows else _starting_points(config, problem.pool, loop)
    listener.prepared(config, problem, loop.iterations_done)
    listener.noted(problem.notes)
    listener.measured(rows)
    if not loop.is_complete:
        strategy()  # what can't be made is refused before anything is written
        folder.create(config)
        if start:
            listener.measured(loop.measure_start(start))
        while loop.goes_on:
            new, notes = loop.iterate()
            listener.noted(notes)
            listener.measured(new)
        listener.noted(loop.finish())
    return RunResult(config, problem, folder.trace(), folder.summary(), folder)


def problem_of(config: RunConfig) -> Problem:
    """What a run is on: its candidates, less what its control takes away, with its sources.

    Raises:
        UserError: the data can't be used.
    """
    problem = controlled(load_problem(config.data), config.control, config.seed)
    return with_sources(problem, config)


def _starting_points(config: RunConfig, pool: Pool, loop: Loop) -> list[str]:
    if config.initial == REPRESENTATIVE:
        return loop.first_design()
    positions = initial_design(
        config.initial,
        utility=pool.utility,
        features=lambda: loop.strategy().features(config.seed),
        n=config.n_init,
        seed=config.seed,
    )
    return [str(i) for i in pool.ids[positions]]
