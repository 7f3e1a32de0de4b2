"""What chooses the next experiments, in campaigns and in benchmarks alike."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gollum.acquisition.limits import NO_LIMITS, Limits, Rows
from gollum.data.extents import Extents
from gollum.data.outcomes import Outcome, Scale
from gollum.data.pool import Pool
from gollum.errors import FitError
from gollum.features.representations import Setup
from gollum.protocols import require, running
from gollum.registry import Registry

if TYPE_CHECKING:
    from gollum.surrogates.base import Fitted, Surrogate

Vector = NDArray[np.float64]


class Space(Protocol):
    """Experiments that may be tried though no candidate is listed for them."""

    def near(
        self, row: pd.DataFrame, reach: float, count: int, seed: Sequence[int]
    ) -> pd.DataFrame:
        """Draw some of those around an experiment, which differ from it in numbers only.

        Args:
            row: its 1 x k inputs.
            reach: how far, as a part of each quantity's range.
            count: how many at most.
            seed: names the draws.

        Returns:
            Up to count x k inputs of what is no candidate and may be suggested, all different;
            none where nothing is near.
        """
        ...

    def request(self, rows: pd.DataFrame) -> BatchRequest:
        """The request that this is part of, with such rows behind the candidates."""
        ...

    def names(self, count: int) -> list[str]:
        """Ids that no candidate has."""
        ...


NO_ROWS: Rows = np.array([], dtype=np.int64)


@dataclass(frozen=True, eq=False)
class Observed:
    """An outcome with its results, some of which may be missing.

    Attributes:
        outcome: what is wanted of it.
        ids: n measured candidates; an id may repeat.
        values: their n values, in the outcome's unit.
        scale: on which it is learned.
        known: the values of all N candidates, where they are known before anything is measured.
        extents: what is known of results that are no plain number, on the scale.
    """

    outcome: Outcome
    ids: Sequence[str]
    values: Vector
    scale: Scale
    known: Vector | None = None
    extents: Extents | None = None

    @property
    def utility(self) -> Vector:
        """What a model learns; n."""
        return self.scale.utility(self.values)


@dataclass(frozen=True, eq=False)
class BatchRequest:
    """What a batch has to respect, with candidates as positions in the pool.

    Attributes:
        count: how many experiments to choose; fewer when candidates or limits end before.
        rows: candidates that may be chosen.
        pending: experiments whose results are not there yet.
        done: experiments that were run, failed ones included.
        limits: what the batch must not exceed.
        shared: for each column whose value the whole batch shares, the group of each of N
            candidates.
        penalties: for all N candidates, what is taken off their acquisition value; or None.
        target: the utility to come close to; None where larger is better.
        ties: numbers that break ties and name samples; those of the stream by default.
        outcomes: all outcomes, the objective first, where there are several; otherwise empty.
        space: what may be tried besides the candidates, if anything.
        extents: what is known of results of the objective that are no plain number, in units of
            utility; or None.
        apart: whether several outcomes have nothing in common, as in older suggestions: each is
            learned by itself.
        screened: whether very many candidates are first screened by a cheaper form of the
            surrogate, which in older suggestions they are not.
    """

    count: int
    rows: Rows
    pending: Rows = field(default_factory=lambda: NO_ROWS)
    done: Rows = field(default_factory=lambda: NO_ROWS)
    limits: Limits = NO_LIMITS
    shared: tuple[Rows, ...] = ()
    penalties: Vector | None = None
    target: float | None = None
    ties: tuple[int, ...] | None = None
    outcomes: tuple[Observed, ...] = ()
    space: Space | None = None
    extents: Extents | None = None
    apart: bool = False
    screened: bool = True


@dataclass(frozen=True)
class Selection:
    """What to measure next.

    Attributes:
        ids: chosen candidates, best first.
        scores: their acquisition values at the moment of choosing, of the standardised utility;
            empty where nothing was predicted, as the two after it.
        means: posterior mean of their utility, before anything of this batch was assumed.
        deviations: posterior standard deviation of their utility, likewise.
        joined: k inputs of those chosen ones that are no candidates, by id, as a table; None where
            all are.
        fitted: the model that predicted, where there is one; its pool ends with what joined.
        others: name of a further outcome → its model.
        revision: hash of the model's weights, or which other package; empty where the choice did
            not depend on it.
        notes: what a user should know, one sentence each.
        fit_seconds: time that the fit took.
        acquire_seconds: time that choosing took.
    """

    ids: tuple[str, ...]
    scores: tuple[float, ...] = ()
    means: tuple[float, ...] = ()
    deviations: tuple[float, ...] = ()
    joined: pd.DataFrame | None = None
    fitted: Fitted | None = None
    others: Mapping[str, Fitted] = field(default_factory=dict)
    revision: str = ""
    notes: tuple[str, ...] = ()
    fit_seconds: float = 0.0
    acquire_seconds: float = 0.0


class Strategy(Protocol):
    """Chooses among the candidates of one pool.

    Attributes:
        revision: hash of the language model's weights, or which other package; may be empty.
        notes: what a user should know before it starts, one sentence each.
        surrogate: the surrogate that can be judged and asked for reasons, where there is one.
    """

    @property
    def revision(self) -> str: ...  # noqa: D102 (attributes of the class)
    @property
    def notes(self) -> tuple[str, ...]: ...  # noqa: D102
    @property
    def surrogate(self) -> Surrogate | None: ...  # noqa: D102

    def choose(
        self, ids: Sequence[str], utility: Vector, request: BatchRequest, stream: Sequence[int]
    ) -> Selection:
        """The next experiments, as a function of these arguments and nothing else.

        Args:
            ids: n measured candidates, in order; an id may repeat (replicates).
            utility: their n values, larger is better.
            request: what to respect.
            stream: numbers that name the random stream, such as (seed, iteration).

        Raises:
            FitError: a surrogate could not be fitted.
            UserError: no candidate meets the request.
        """
        ...

    def features(self, seed: int) -> Vector:
        """N x d features, known before anything is measured, for a first design to spread over."""
        ...


STRATEGIES: Registry[Callable[[Setup], Strategy]] = Registry(
    "strategy",
    "strategies",
    {
        "random": "gollum.acquisition.baselines:Random.of",
        "baybe": "gollum.acquisition.baselines:baybe",
        "baybe_chem": "gollum.acquisition.baselines:baybe_chem",
    },
)


def ask(
    strategy: Strategy,
    pool: Pool,
    ids: Sequence[str],
    utility: Vector,
    request: BatchRequest,
    stream: Sequence[int],
) -> Selection:
    """What a strategy chooses, as its `choose`, and checked.

    Raises:
        FitError: it chose nothing, or what it was not asked for.
    """
    with running(strategy, f"strategy {type(strategy).__name__}"):
        selection = strategy.choose(ids, utility, request, stream)
    require(selection, Selection)
    chosen, known = selection.ids, set(pool.ids[request.rows])
    if request.space is not None and selection.joined is not None:
        known |= set(selection.joined.index)
    odd = len(set(chosen)) < len(chosen) or not set(chosen) <= known
    if odd or len(chosen) == 0:
        what = "what it was not asked for" if odd else "nothing"
        raise FitError(f"strategy {type(strategy).__name__} chose {what}.")
    return selection


def is_ready(ids: Sequence[str], utility: Vector) -> bool:
    """Whether there are enough results for a model: of two experiments, and not all the same."""
    return len(set(ids)) >= 2 and len(set(utility[np.isfinite(utility)].tolist())) > 1


def unmeasured(count: int, done: Rows) -> Rows:
    """Positions of N candidates that are left, in pool order."""
    left = np.ones(count, dtype=bool)
    left[done] = False
    return np.flatnonzero(left)
