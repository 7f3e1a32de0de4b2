"""What chooses the next experiments of a run: a fitted surrogate, chance, or another package."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from gollum.acquisition.batch import Selection, select
from gollum.acquisition.criteria import Aim
from gollum.data.pool import Pool
from gollum.features.columns import one_hot
from gollum.surrogates.base import Fitted, Surrogate, untrained

Vector = NDArray[np.float64]


@dataclass(frozen=True)
class Choice:
    """What to measure next.

    Attributes:
        ids: chosen candidates, in the order of measuring.
        details: for each, what the trace keeps of it: columns and values.
        notes: what a user should know, one sentence each.
    """

    ids: tuple[str, ...]
    details: tuple[dict[str, Any], ...]
    notes: tuple[str, ...] = ()


class Strategy(Protocol):
    """Chooses among the candidates of one pool.

    Attributes:
        revision: hash of the language model's weights, or which other package; may be empty.
        notes: what a user should know before it starts, one sentence each.
        surrogate: the surrogate that can be judged, where there is one.
    """

    @property
    def revision(self) -> str: ...  # noqa: D102 (attributes of the class)
    @property
    def notes(self) -> tuple[str, ...]: ...  # noqa: D102
    @property
    def surrogate(self) -> Surrogate | None: ...  # noqa: D102

    def choose(self, ids: Sequence[str], utility: Vector, stream: tuple[int, int]) -> Choice:
        """The next experiments, as a function of these arguments and nothing else.

        Args:
            ids: n measured candidates, in order.
            utility: their n values, larger is better.
            stream: seed of the run and number of the iteration.

        Raises:
            FitError: a surrogate could not be fitted.
        """
        ...

    def features(self, seed: int) -> Vector:
        """N x d features, known before anything is measured, for a first design to spread over."""
        ...


@dataclass(frozen=True, eq=False)
class GaussianProcess:
    """Fits a surrogate and takes the best by an acquisition function.

    Attributes:
        surrogate: what is fitted.
        criterion: the acquisition function's name.
        batch_size: experiments to choose.
    """

    surrogate: Surrogate
    criterion: str
    batch_size: int

    @property
    def revision(self) -> str:
        """Hash of the language model's weights."""
        return self.surrogate.featurizer.revision

    @property
    def notes(self) -> tuple[str, ...]:
        """What the features have to tell."""
        return self.surrogate.featurizer.notes

    def choose(self, ids: Sequence[str], utility: Vector, stream: tuple[int, int]) -> Choice:
        """Fit, score all candidates, choose."""
        pool, began = self.surrogate.pool, time.perf_counter()
        fitted = self.surrogate.fit(ids, utility, stream)
        acquiring = time.perf_counter()
        selection = select(
            fitted,
            unmeasured(pool, ids),
            aim=Aim.of(fitted, self.criterion),
            batch_size=self.batch_size,
            seed=stream,
        )
        seconds = timings(acquiring - began, time.perf_counter() - acquiring)
        details = tuple({**d, **seconds} for d in _details(pool, fitted, selection))
        return Choice(selection.ids, details, fitted.report.notes)

    def features(self, seed: int) -> Vector:
        """What is known before anything is trained: no projection, adapters at zero."""
        return untrained(self.surrogate, seed)


@dataclass(frozen=True, eq=False)
class Random:
    """Any candidate that is not measured yet, all equally likely.

    Attributes:
        pool: the candidates.
        batch_size: experiments to choose.
    """

    pool: Pool
    batch_size: int
    revision: str = ""
    notes: tuple[str, ...] = ()
    surrogate: None = None

    def choose(self, ids: Sequence[str], utility: Vector, stream: tuple[int, int]) -> Choice:
        """Draw without looking at the utilities."""
        began = time.perf_counter()
        seed, iteration = stream
        rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(iteration,)))
        left = unmeasured(self.pool, ids)
        chosen = rng.choice(left, min(self.batch_size, len(left)), replace=False)
        seconds = timings(0.0, time.perf_counter() - began)
        return Choice(tuple(str(i) for i in self.pool.ids[chosen]), (seconds,) * len(chosen))

    def features(self, seed: int) -> Vector:
        """One-hot encoding."""
        return one_hot(self.pool)


def unmeasured(pool: Pool, ids: Sequence[str]) -> NDArray[np.int64]:
    """Positions of the candidates that are left, in pool order."""
    left = np.ones(len(pool), dtype=bool)
    left[pool.positions(ids)] = False
    return np.flatnonzero(left)


def timings(fit: float, acquire: float) -> dict[str, float]:
    """The timing columns of a trace, in seconds."""
    return {"fit_seconds": round(fit, 4), "acquire_seconds": round(acquire, 4)}


def _details(pool: Pool, fitted: Fitted, selection: Selection) -> list[dict[str, Any]]:
    report = fitted.report
    return [
        {
            "predicted_mean": pool.sign() * mean,
            "predicted_sd": deviation,
            "acquisition": value,
            "loss": report.loss,
            "evaluations": report.evaluations,
        }
        for mean, deviation, value in zip(
            selection.means, selection.deviations, selection.scores, strict=True
        )
    ]
