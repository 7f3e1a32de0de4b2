"""The loop: ask what to measure, look it up, keep the record, until enough is measured."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from gollum import __version__
from gollum.acquisition.strategy import BatchRequest, Selection, Strategy, ask, unmeasured
from gollum.analysis.metrics import (
    QUALITY,
    auc_best_so_far,
    best_so_far,
    coverage_trace,
    quantile_counts,
    top_k_found,
)
from gollum.benchmark.quality import quality
from gollum.benchmark.record import RunFolder
from gollum.benchmark.spec import RunConfig
from gollum.data.pool import Pool
from gollum.errors import FitError
from gollum.features.problem import Problem
from gollum.notes import Note
from gollum.runtime import Runtime, commit

Answer = TypeVar("Answer")


class Loop:
    """State of one run: the rows of its trace so far.

    Args:
        config: what is run.
        problem: on what.
        strategy: makes what chooses, when it is first needed.
        folder: where the record is kept.
        runtime: where it runs.
        rows: of the trace that an earlier run left.
    """

    def __init__(
        self,
        config: RunConfig,
        problem: Problem,
        strategy: Callable[[], Strategy],
        folder: RunFolder,
        runtime: Runtime,
        rows: list[dict[str, Any]],
    ) -> None:
        self.config, self.problem, self.pool = config, problem, problem.pool
        self.strategy, self.folder, self.runtime = strategy, folder, runtime
        self.rows = rows
        self._fate = fate(config, len(problem.pool))

    @property
    def _may_fail(self) -> bool:
        return self.config.protocol == "campaign"

    @property
    def iterations_done(self) -> int:
        """Number of the last iteration; 0 after the starting points."""
        return int(self.rows[-1]["iteration"]) if self.rows else 0

    @property
    def goes_on(self) -> bool:
        """Whether there is another iteration."""
        return self.iterations_done < self.config.n_iters and len(self.rows) < len(self.pool)

    @property
    def is_complete(self) -> bool:
        """Whether nothing is left to do, the judgement of the last fit included."""
        if self.goes_on or not self.rows or not self.folder.summary_file.is_file():
            return False
        known = self.folder.summary()
        return known["status"] == "finished" and ("quality" in known or not self.config.quality)

    def measure_start(self, ids: list[str]) -> list[dict[str, Any]]:
        """Measure the first design."""
        return self._measure(0, ids, ({},) * len(ids))

    def first_design(self) -> list[str]:
        """What the strategy itself begins with.

        Raises:
            FitError: it could not choose.
        """
        return list(self._choose(0, self.config.n_init).ids)

    def iterate(self) -> tuple[list[dict[str, Any]], tuple[str, ...]]:
        """Choose and measure; new rows, and what choosing has to tell.

        Raises:
            FitError: a fit failed; what was measured before is kept.
        """
        iteration = self.iterations_done + 1
        chosen = self._choose(iteration, self.config.batch_size)
        notes = tuple(Note.of(n).within(f"iteration {iteration}") for n in chosen.notes)
        return self._measure(iteration, chosen.ids, _details(self.pool, chosen)), notes

    def _choose(self, iteration: int, count: int) -> Selection:
        """Ask the strategy, which knows the results that have arrived by now."""
        done = self.pool.positions(row["id"] for row in self.rows)
        late = [row["id"] for row in self.rows if row.get("arrives", 0) >= iteration]
        request = BatchRequest(
            count, unmeasured(len(self.pool), done), self.pool.positions(late), done
        )
        return self._ask(
            lambda *known: ask(self.strategy(), self.pool, known[0], known[1], request, known[2]),
            iteration,
        )

    def finish(self) -> tuple[str, ...]:
        """Save the final figures; what the last fit has to tell, if there is one.

        Raises:
            FitError: that fit failed; the run is unfinished then.
        """
        summary = self.summary("finished")
        notes: tuple[str, ...] = ()
        if self.config.quality:
            began = time.perf_counter()
            summary["quality"], notes = self._judged()
            summary["quality_seconds"] = round(time.perf_counter() - began, 3)
        self.folder.save(self.rows, summary)
        return notes

    def _judged(self) -> tuple[dict[str, float | None], tuple[str, ...]]:
        """Figures of a fit to all measurements, on all other candidates; and its notes."""
        done = self.pool.positions(row["id"] for row in self.rows)
        rest, surrogate = unmeasured(len(self.pool), done), self.strategy().surrogate
        if surrogate is None or len(rest) == 0:
            return dict.fromkeys(QUALITY), ()
        fitted = self._ask(surrogate.fit, self.iterations_done + 1, everything=True)
        notes = tuple(Note.of(n).within("last fit") for n in fitted.report.notes)
        return quality(fitted, rest, self.pool.utility[rest]), notes

    def _ask(
        self, answer: Callable[..., Answer], iteration: int, everything: bool = False
    ) -> Answer:
        """What a strategy or surrogate makes of the results that have arrived, or of all.

        Raises:
            FitError: with the iteration, and what to do.
        """
        known = [
            str(row["id"])
            for row in self.rows
            if not row.get("failed") and (everything or row.get("arrives", 0) < iteration)
        ]
        utility = self.pool.utility[self.pool.positions(known)]
        try:
            return answer(known, utility, (self.config.seed, iteration))
        except FitError as error:
            raise FitError(
                f"{self.pool.name}, iteration {iteration}: {error} What was measured is kept in "
                f"'{self.folder.path}'; try another --seed or --preset."
            ) from error.__cause__

    def _measure(
        self, iteration: int, ids: Sequence[str], details: Sequence[dict[str, Any]]
    ) -> list[dict[str, Any]]:
        before = len(self.rows)
        places = self.pool.positions(ids)
        for place, candidate, detail in zip(places, ids, details, strict=True):
            row = {"iteration": iteration, "id": candidate, "objective": self.pool.values[place]}
            self.rows.append({**row, **detail, **self._fate(int(place), iteration)})
            if self.rows[-1].get("failed"):
                self.rows[-1]["objective"] = None
        order = self._order()
        coverage = coverage_trace(self.pool.utility, order)
        best = self.pool.sign() * best_so_far(self.pool.utility[order])
        measured = np.cumsum([not row.get("failed") for row in self.rows]) - 1
        for row, i in zip(self.rows[before:], measured[before:].tolist(), strict=True):
            row["objective"] = None if row["objective"] is None else float(row["objective"])
            row["best_so_far"] = float(best[i]) if i >= 0 else None
            row["top5_found"] = int(coverage.found[i]) if i >= 0 else 0
            row["top5_coverage"] = float(coverage.share[i]) if i >= 0 else 0.0
        self.folder.save(self.rows, self.summary("running"))
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
            "control": self.config.control,
            "seed": self.config.seed,
            "iterations": self.iterations_done,
            "evaluations": len(self.rows),
            "candidates": len(self.pool),
            "top5_coverage": last["top5_coverage"],
            "top5_found": int(last["top5_found"]),
            "best": last["best_so_far"],
            "best_id": self._best_id(),
            "auc": auc_best_so_far(utility, order) if len(order) else None,
            **(
                {}
                if self.config.protocol != "campaign"
                else {"failed": len(self.rows) - len(order)}
            ),
            "top_found": {str(k): v for k, v in top_k_found(utility, order).items()},
            "quantile_found": {str(q): v for q, v in quantile_counts(utility, order).items()},
            "seconds": round(sum(seconds.values()), 3),
            "provenance": {
                "gollum": __version__,
                "commit": commit(),
                "data_sha256": self.problem.fingerprint,
                "model_revision": self.strategy().revision,
                **self.runtime.describe(),
            },
        }

    def _order(self) -> NDArray[np.int64]:
        """Positions of the measured candidates in the pool, in order."""
        return self.pool.positions(row["id"] for row in self.rows if not row.get("failed"))

    def _best_id(self) -> str | None:
        best = self.rows[-1]["best_so_far"]
        found = (str(row["id"]) for row in self.rows if row["objective"] == best)
        return None if best is None else next(found)


def fate(config: RunConfig, size: int) -> Callable[[int, int], dict[str, int]]:
    """What becomes of experiments: the same for all methods of one seed.

    Args:
        config: of the run.
        size: N, the number of candidates.

    Returns:
        For the position of a candidate and the iteration that chose it: whether it fails, and the
        iteration after which its result is known. Nothing where all results are there at once.
    """
    if config.protocol != "campaign":
        return lambda place, iteration: {}
    streams = [np.random.SeedSequence(config.seed, spawn_key=(0, k)) for k in (4, 5)]
    fails, waits = (np.random.default_rng(stream).random(size) for stream in streams)

    def found(place: int, iteration: int) -> dict[str, int]:
        late = waits[place] < config.campaign.late
        failed = fails[place] < config.campaign.failed
        return {"failed": int(failed), "arrives": iteration + int(late)}

    return found


def _details(pool: Pool, chosen: Selection) -> list[dict[str, Any]]:
    """What the trace keeps of each choice besides its result."""
    seconds = {
        "fit_seconds": round(chosen.fit_seconds, 4),
        "acquire_seconds": round(chosen.acquire_seconds, 4),
    }
    if chosen.fitted is None:
        return [seconds] * len(chosen.ids)
    report = chosen.fitted.report
    return [
        {
            "predicted_mean": pool.sign() * mean,
            "predicted_sd": deviation,
            "acquisition": value,
            "loss": report.loss,
            "evaluations": report.evaluations,
            **seconds,
        }
        for mean, deviation, value in zip(
            chosen.means, chosen.deviations, chosen.scores, strict=True
        )
    ]
