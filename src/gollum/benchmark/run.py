"""The loop: replay a labelled pool with a surrogate and an acquisition function."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any, Protocol

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from gollum import __version__
from gollum.acquisition.criteria import Selection, select
from gollum.analysis.metrics import (
    auc_best_so_far,
    best_so_far,
    coverage_trace,
    quantile_counts,
    top_k_found,
)
from gollum.benchmark.problem import load_problem
from gollum.benchmark.record import RunFolder
from gollum.benchmark.spec import RunConfig
from gollum.data.initial import initial_design
from gollum.data.pool import Pool
from gollum.errors import FitError
from gollum.features.base import Featurizer
from gollum.runtime import Runtime, prepare_process, seeded
from gollum.surrogates.base import Fitted, Surrogate
from gollum.surrogates.build import Problem, build_surrogate
from gollum.surrogates.presets import variant


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


def run(config: RunConfig, watcher: Watcher) -> RunResult:
    """Run an optimization, or go on with one that was interrupted.

    Every iteration depends on the seed, its number and what was measured before, and on nothing
    else; so a resumed run gives the trace of an unbroken one.

    Raises:
        UserError: configuration, data or model can't be used.
        FitError: a surrogate could not be fitted.
    """
    prepare_process(config.threads)
    parts = variant(config.surrogate)
    problem = load_problem(config.data)
    folder = RunFolder(config.folder)
    rows = folder.earlier_rows(config, problem.fingerprint)
    runtime = Runtime.resolve(config.device, config.model.precision)

    @cache
    def surrogate() -> Surrogate:
        told = (watcher.embedding, watcher.noted, watcher.consents)
        built = build_surrogate(problem, parts, config, runtime, *told)
        watcher.noted(built.featurizer.notes)
        return built

    done = int(rows[-1]["iteration"]) if rows else 0
    start = [] if rows else _starting_points(config, problem.pool, surrogate)
    watcher.prepared(config, problem, done)
    watcher.noted(problem.notes)
    watcher.measured(rows)
    if not rows or (done < config.n_iters and len(rows) < len(problem.pool)):
        loop = _Loop(config, problem, surrogate(), folder, runtime, rows)
        folder.create(config)
        if start:
            watcher.measured(loop.measure_start(start))
        while loop.iterations_done < config.n_iters and len(loop.rows) < len(problem.pool):
            new, notes = loop.iterate()
            watcher.noted(notes)
            watcher.measured(new)
    return RunResult(config, problem, folder.trace(), folder.summary(), folder)


def _starting_points(
    config: RunConfig, pool: Pool, surrogate: Callable[[], Surrogate]
) -> list[str]:
    def features() -> NDArray[np.float64]:
        """What is known before anything is trained: no projection, adapters at zero."""
        featurizer = surrogate().featurizer
        source: Featurizer = getattr(featurizer, "inner", featurizer)
        with seeded(config.seed, 0), torch.no_grad():
            source.reset()
            source.train(False)
            matrix: NDArray[np.float64] = source(np.arange(len(pool))).cpu().numpy()
        return matrix

    positions = initial_design(
        config.initial,
        utility=pool.utility,
        features=features,
        n=config.n_init,
        seed=config.seed,
    )
    return [str(i) for i in pool.ids[positions]]


class _Loop:
    """State of one run: the rows of its trace so far."""

    def __init__(
        self,
        config: RunConfig,
        problem: Problem,
        surrogate: Surrogate,
        folder: RunFolder,
        runtime: Runtime,
        rows: list[dict[str, Any]],
    ) -> None:
        self.config, self.problem, self.pool = config, problem, problem.pool
        self.surrogate, self.folder, self.runtime = surrogate, folder, runtime
        self.rows = rows

    @property
    def iterations_done(self) -> int:
        """Number of the last iteration; 0 after the starting points."""
        return int(self.rows[-1]["iteration"]) if self.rows else 0

    @property
    def candidates(self) -> NDArray[np.int64]:
        """Positions of what is not measured yet, in pool order."""
        unknown = np.ones(len(self.pool), dtype=bool)
        unknown[self._order()] = False
        return np.flatnonzero(unknown)

    def measure_start(self, ids: list[str]) -> list[dict[str, Any]]:
        """Measure the first design."""
        return self._measure(0, ids, [{}] * len(ids))

    def iterate(self) -> tuple[list[dict[str, Any]], tuple[str, ...]]:
        """Fit, choose, measure; new rows, and what the fit has to tell.

        Raises:
            FitError: the fit failed; what was measured before is kept.
        """
        iteration = self.iterations_done + 1
        stream = (self.config.seed, iteration)
        ids = [str(row["id"]) for row in self.rows]
        began = time.perf_counter()
        try:
            fitted = self.surrogate.fit(ids, self.pool.utility[self.pool.positions(ids)], stream)
        except FitError as error:
            raise FitError(
                f"{self.pool.name}, iteration {iteration}: {error} What was measured is kept in "
                f"'{self.folder.path}'; try another --seed or --preset."
            ) from None
        acquiring = time.perf_counter()
        selection = select(
            fitted,
            self.candidates,
            criterion=self.config.acquisition,
            batch_size=self.config.batch_size,
            seed=stream,
        )
        seconds = {
            "fit_seconds": round(acquiring - began, 4),
            "acquire_seconds": round(time.perf_counter() - acquiring, 4),
        }
        details = [{**d, **seconds} for d in self._details(fitted, selection)]
        notes = tuple(f"iteration {iteration}: {note}" for note in fitted.report.notes)
        return self._measure(iteration, list(selection.ids), details), notes

    def _details(self, fitted: Fitted, selection: Selection) -> list[dict[str, Any]]:
        report = fitted.report
        return [
            {
                "predicted_mean": self.pool.sign() * mean,
                "predicted_sd": deviation,
                "acquisition": value,
                "loss": report.loss,
                "evaluations": report.evaluations,
            }
            for mean, deviation, value in zip(
                selection.means, selection.deviations, selection.scores, strict=True
            )
        ]

    def _measure(
        self, iteration: int, ids: list[str], details: list[dict[str, Any]]
    ) -> list[dict[str, Any]]:
        before = len(self.rows)
        values = self.pool.values[self.pool.positions(ids)].tolist()
        for candidate, value, detail in zip(ids, values, details, strict=True):
            self.rows.append(
                {"iteration": iteration, "id": candidate, "objective": value, **detail}
            )
        order = self._order()
        coverage = coverage_trace(self.pool.utility, order)
        best = self.pool.sign() * best_so_far(self.pool.utility[order])
        for i, row in enumerate(self.rows[before:], start=before):
            row["best_so_far"] = float(best[i])
            row["top5_found"] = int(coverage.found[i])
            row["top5_coverage"] = float(coverage.share[i])
        done = iteration >= self.config.n_iters or len(self.rows) == len(self.pool)
        self.folder.save(self.rows, self.summary("finished" if done else "running"))
        return self.rows[before:]

    def summary(self, status: str) -> dict[str, Any]:
        """Figures of the run so far and where they come from."""
        last = self.rows[-1]
        order, utility = self._order(), self.pool.utility
        seconds = {
            row["iteration"]: row.get("fit_seconds", 0) + row.get("acquire_seconds", 0)
            for row in self.rows
            if row["iteration"] > 0
        }
        return {
            "status": status,
            "task": self.pool.name,
            "surrogate": self.config.surrogate,
            "preset": self.config.preset,
            "seed": self.config.seed,
            "iterations": self.iterations_done,
            "evaluations": len(self.rows),
            "top5_coverage": last["top5_coverage"],
            "top5_found": int(last["top5_found"]),
            "best": last["best_so_far"],
            "best_id": self._best_id(),
            "auc": auc_best_so_far(utility, order),
            "top_found": {str(k): v for k, v in top_k_found(utility, order).items()},
            "quantile_found": {str(q): v for q, v in quantile_counts(utility, order).items()},
            "seconds": round(sum(seconds.values()), 3),
            "provenance": {
                "gollum": __version__,
                "data_sha256": self.problem.fingerprint,
                "model_revision": self.surrogate.featurizer.revision,
                **self.runtime.describe(),
            },
        }

    def _order(self) -> NDArray[np.int64]:
        """Positions of the measured candidates in the pool, in order."""
        return self.pool.positions(row["id"] for row in self.rows)

    def _best_id(self) -> str:
        best = self.rows[-1]["best_so_far"]
        return str(next(row["id"] for row in self.rows if row["objective"] == best))
