"""The strategy of this package: a first design, then the best batch under a fitted surrogate."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from gollum.acquisition.batch import batch_improvement, select
from gollum.acquisition.criteria import CRITERIA
from gollum.acquisition.design import features_of_first_design, few_options, representative
from gollum.acquisition.limits import Rows
from gollum.acquisition.moving import One, Pursuit, moved
from gollum.acquisition.policy import Policy
from gollum.acquisition.scoring import Aim, Constraint, score, widened
from gollum.acquisition.strategy import (
    STRATEGIES,
    BatchRequest,
    Observed,
    Selection,
    Space,
    Strategy,
    Vector,
    is_ready,
)
from gollum.data.pool import Pool
from gollum.errors import ConfigError, DataError, FitError, UserError
from gollum.features.fixed.columns import one_hot
from gollum.features.representations import Setup
from gollum.listener import SILENT, Listener
from gollum.notes import Note
from gollum.protocols import require, running
from gollum.surrogates.base import Fitted, Surrogate, SurrogateFactory, fit_to
from gollum.surrogates.known import Known
from gollum.surrogates.specs import surrogate_factory, with_parts

if TYPE_CHECKING:
    from gollum.acquisition.several import Several

SHARED = 12  # values of a shared column that a whole batch is built for


@dataclass(frozen=True, eq=False)
class ModelBased:
    """Fits a surrogate and takes the best batch by an acquisition criterion.

    Attributes:
        pool: the candidates.
        build: makes the surrogate, when it is first needed.
        criterion: name of the criterion.
        starts: whether it makes first designs of its own until there is something to learn from;
            otherwise a model is fitted to whatever there is.
        listener: told what it is at.
    """

    pool: Pool
    build: Callable[[], Surrogate]
    criterion: str
    starts: bool = True
    listener: Listener = field(default=SILENT)

    @cached_property
    def surrogate(self) -> Surrogate:
        """What is fitted."""
        self.listener.stage("Reading the experiments")
        made = self.build()
        if hasattr(made, "choose") and not hasattr(made, "fit"):
            raise ConfigError(
                f"{type(made).__name__} is a Strategy and no Surrogate; enter it in "
                "gollum.STRATEGIES."
            )
        require(made, Surrogate)
        return made

    @property
    def revision(self) -> str:
        """Hash of the language model's weights."""
        return self.surrogate.revision

    @property
    def notes(self) -> tuple[str, ...]:
        """What the surrogate has to tell."""
        return self.surrogate.notes

    def choose(
        self, ids: Sequence[str], utility: Vector, request: BatchRequest, stream: Sequence[int]
    ) -> Selection:
        """A first design, or the best batch that a fit to the results finds.

        Raises:
            ConfigError: the acquisition is unknown, or knows no targets.
            FitError: the surrogate could not be fitted.
            UserError: no candidate meets the request.
        """
        request = replace(request, ties=tuple(stream) if request.ties is None else request.ties)
        if self.starts and not is_ready(ids, utility):
            self.listener.stage("Choosing first experiments")
            return self._first(request)
        criterion = CRITERIA[self.criterion]
        surrogate, began = self.surrogate, time.perf_counter()
        self.listener.stage("Fitting the model")
        name = type(surrogate).__name__
        with running(surrogate, f"fitting {name}"):
            if request.outcomes:
                fitted, others, untold = models_of(
                    surrogate, request.outcomes, stream, request.apart
                )
            else:
                fitted = fit_to(surrogate, ids, utility, stream, request.extents)
                others, untold = {}, ()
        require(fitted, Fitted)
        fitting = time.perf_counter() - began
        self.listener.stage("Choosing experiments")
        began = time.perf_counter()
        with running(fitted, f"predicting by {name}"), running(criterion, f"'{self.criterion}'"):
            chosen = self._wanted(fitted, others, request)
            if request.space is not None:
                chosen = self._moved(fitted, others, request, request.space, chosen)
        if not np.isfinite([*chosen.means, *chosen.deviations]).all():
            raise FitError(f"{name} predicts what is no number, such as for '{chosen.ids[0]}'.")
        return replace(
            chosen,
            fitted=chosen.fitted or fitted,
            others=chosen.others or others,
            revision=surrogate.revision,
            notes=(*fitted.report.notes, *untold, *chosen.notes),
            fit_seconds=fitting,
            acquire_seconds=time.perf_counter() - began,
        )

    def features(self, seed: int) -> Vector:
        """What is known before anything is trained: no projection, adapters at zero."""
        untrained = getattr(self.surrogate, "untrained", None)
        features: Vector = one_hot(self.pool).matrix if untrained is None else untrained(seed)
        return features

    def _wanted(
        self, fitted: Fitted, others: Mapping[str, Fitted], request: BatchRequest
    ) -> Selection:
        """The best batch for one objective or several, within the limits of other outcomes."""
        if not others:
            return self._best(fitted, request)
        modelled = Modelled(request.outcomes, fitted, others)
        if (several := modelled.several) is None:
            return self._best(fitted, request, modelled.constraints)
        from gollum.acquisition.several import select_several, selection_of

        return selection_of(several, *select_several(several, request, request.ties or ()))

    def _best(
        self, fitted: Fitted, request: BatchRequest, limits: tuple[Constraint, ...] = ()
    ) -> Selection:
        """The best batch; with a shared column, the best of those that its values allow."""
        aim = Aim.of(fitted, self.criterion, request.target, limits)
        ties, penalties = request.ties or (), request.penalties

        def batch(part: Rows) -> Selection:
            return select(
                fitted, part, aim=aim, batch_size=request.count, seed=ties,
                pending=request.pending, limits=request.limits, penalties=penalties,
                screened=request.screened,
            )  # fmt: skip

        plates = _plates(request)
        if len(plates) == 1:
            return batch(plates[0])
        off = np.zeros(len(fitted.pool)) if penalties is None else penalties
        values = np.full(len(fitted.pool), -np.inf)
        values[request.rows] = score(fitted, request.rows, aim).cpu().numpy() - off[request.rows]
        full = [plate for plate in plates if len(plate) >= request.count] or plates
        full.sort(key=lambda plate: -values[plate].max())

        def worth(selection: Selection) -> float:
            chosen = fitted.pool.positions(selection.ids)
            gain = batch_improvement(fitted, chosen, aim, ties, request.pending)
            return math.log(max(gain, 1e-300)) - float(off[chosen].mean())

        return max(map(batch, full[:SHARED]), key=worth)

    def _moved(
        self,
        fitted: Fitted,
        others: Mapping[str, Fitted],
        request: BatchRequest,
        space: Space,
        chosen: Selection,
    ) -> Selection:
        """The best batch of candidates and of what can be tried near the best of them."""
        self.listener.stage("Moving between candidates")
        pursuit = self._pursuit(Modelled(request.outcomes, fitted, others), request)
        every = np.arange(len(self.pool))
        try:
            rows = moved(pursuit, request, space, self.pool.positions(chosen.ids))
            if rows.empty:
                return chosen
            grown = fitted.over(every, rows)
            beside = {outcome: one.over(every, rows) for outcome, one in others.items()}
        except DataError as error:
            return replace(chosen, notes=(f"{error} Only listed candidates are suggested.",))
        best = self._wanted(grown, beside, replace(space.request(rows), ties=request.ties))
        new = [i for i in best.ids if i in rows.index]
        if not new:
            return best
        name = dict(zip(new, space.names(len(new)), strict=True))

        def kept(model: Fitted) -> Fitted:
            found = model.over(np.append(every, model.pool.positions(new)), rows[:0])
            table = found.pool.table.rename(index=name)
            return replace(found, pool=replace(found.pool, table=table))

        model = kept(grown)
        return replace(
            best,
            ids=tuple(name.get(i, i) for i in best.ids),
            joined=model.pool.table[len(every) :],
            fitted=model,
            others={outcome: kept(one) for outcome, one in beside.items()},
        )

    def _pursuit(self, modelled: Modelled, request: BatchRequest) -> Pursuit:
        """What experiments between the candidates are tried for."""
        if (several := modelled.several) is None:
            aim = Aim.of(modelled.fitted, self.criterion, request.target, modelled.constraints)
            return One(modelled.fitted, aim)
        from gollum.acquisition.several import Together

        return Together.of(several, request)

    def _first(self, request: BatchRequest) -> Selection:
        """A first design; where a value is shared, on the middle one of the largest plates."""
        ties = request.ties or (0,)
        features, revision = features_of_first_design(self.pool), ""
        if features is None:
            features, revision = self.features(ties[0]), self.revision
        plates = _plates(request)
        largest = [plate for plate in plates if len(plate) == max(map(len, plates))]
        plate = largest[len(largest) // 2]
        seed = np.random.SeedSequence([ties[0], ties[-1]]).generate_state(1)[0]
        seen = np.union1d(request.done, request.pending).astype(np.int64)
        options = few_options(self.pool)
        chosen = representative(
            features, plate, request.count, int(seed), seen, request.limits, options
        )
        return Selection(tuple(str(i) for i in self.pool.ids[chosen]), revision=revision)


def constraint_of(observed: Observed, fitted: Fitted) -> Constraint:
    """The limits of an outcome, in what its model learns."""
    scale, goal = observed.scale, observed.outcome.goal
    ends = [
        None if end is None else float(scale.utility(np.array([end]))[0])
        for end in (goal.low, goal.high)
    ]
    low, high = ends if scale.sign > 0 else ends[::-1]
    return Constraint(fitted, low, high)


@dataclass(frozen=True, eq=False)
class Modelled:
    """Outcomes with their models.

    Attributes:
        outcomes: all, the objective first.
        fitted: model of the objective.
        others: name of a further outcome → its model, where there is one.
    """

    outcomes: Sequence[Observed]
    fitted: Fitted
    others: Mapping[str, Fitted]

    @cached_property
    def further(self) -> list[tuple[Observed, Fitted]]:
        """Further outcomes that have a model."""
        known = (one for one in self.outcomes[1:] if one.outcome.name in self.others)
        return [(one, self.others[one.outcome.name]) for one in known]

    @cached_property
    def limits(self) -> list[tuple[Observed, Constraint]]:
        """Those of them that are limits."""
        return [(o, constraint_of(o, f)) for o, f in self.further if o.outcome.goal.is_limit]

    @property
    def constraints(self) -> tuple[Constraint, ...]:
        """The limits by themselves."""
        return tuple(constraint for _, constraint in self.limits)

    @cached_property
    def several(self) -> Several | None:
        """The objectives, where there are several of them with results."""
        pursued = [(one, fitted) for one, fitted in self.further if one.outcome.goal.pursued]
        if not pursued or len(self.outcomes[0].ids) == 0:
            return None
        from gollum.acquisition.several import Several

        ones, models = zip(*[(self.outcomes[0], self.fitted), *pursued], strict=True)
        return Several.of(ones, models, self.constraints)

    def log_limits(self, rows: Rows, wider: Mapping[str, float]) -> Vector | None:
        """Log probability that all limits hold, of m candidates; None without limits.

        Args:
            rows: m candidates.
            wider: name of an outcome → factor on its model's deviations.
        """
        found = None
        for one, constraint in self.limits:
            mean, variance = constraint.fitted.standardised(rows)
            variance = widened(variance, wider.get(one.outcome.name, 1.0))
            part = constraint.log_chance(mean, variance).cpu().numpy()
            found = part if found is None else found + part
        return found


def unaided(surrogate: Surrogate) -> Surrogate:
    """A surrogate without what it knows of the objective from elsewhere."""
    found: Surrogate = getattr(surrogate, "unaided", surrogate)
    return found


def models_of(
    surrogate: Surrogate, outcomes: Sequence[Observed], stream: Sequence[int], apart: bool = False
) -> tuple[Fitted, dict[str, Fitted], tuple[Note, ...]]:
    """Models of all outcomes that have results enough for one.

    A surrogate that `shares` learns them together; others fit each by itself.

    Args:
        surrogate: what is fitted.
        outcomes: the objective first.
        stream: names the random stream.
        apart: whether each is fitted by itself in any case.

    Returns:
        The model of the objective, those of further outcomes by name, and which have too few.

    Raises:
        FitError: one could not be fitted.
    """
    first, *rest = outcomes
    joined = [] if apart or not shares(surrogate) else [one for one in rest if _is_learned(one)]
    if joined:
        taking: Any = surrogate
        results = [(one.ids, one.utility) for one in (first, *joined)]
        fitted, *models = taking.fit_together(results, stream)
        found = {one.outcome.name: m for one, m in zip(joined, models, strict=True)}
    else:
        fitted, found = fit_to(surrogate, first.ids, first.utility, stream, first.extents), {}
    untold = list[Note]()
    surrogate = unaided(surrogate)
    for number, one in enumerate(rest, start=1):
        name = one.outcome.name
        if one.known is not None:
            found[name] = Known.of(surrogate.pool, one.ids, one.scale.utility(one.known))
        elif not is_ready(one.ids, one.values):
            what = "has no result so far" if len(one.ids) == 0 else "has no two different results"
            effect = "what is wanted of it plays no part yet"
            untold.append(Note("unknown-outcome", "", f"'{name}' {what}; {effect}."))
        elif name not in found:
            found[name] = fit_to(surrogate, one.ids, one.utility, (*stream, number), one.extents)
    return fitted, found, tuple(untold)


def alongside(surrogate: Surrogate, one: Observed, outcomes: Sequence[Observed]) -> Surrogate:
    """What is fitted to one outcome where parts of its results are left out."""
    others = [o for o in outcomes if o is not one and _is_learned(o)]
    if not others or not shares(surrogate):
        return surrogate
    from gollum.surrogates.shared import Alongside

    whole: Any = surrogate
    return Alongside(whole, one.ids, tuple((o.ids, o.utility) for o in others))


def shares(surrogate: Surrogate) -> bool:
    """Whether several outcomes are learned together."""
    return bool(getattr(surrogate, "shares", False))


def _is_learned(one: Observed) -> bool:
    """Whether there is something to learn, and enough to learn it from."""
    return one.known is None and is_ready(one.ids, one.values)


def make_strategy(
    setup: Setup,
    policy: Policy,
    *,
    starts: bool = True,
    build: Callable[[SurrogateFactory, Setup], Surrogate] | None = None,
) -> Strategy:
    """The strategy that a policy names: the same for campaigns and benchmarks.

    Args:
        setup: the candidates and where it runs.
        policy: surrogate or strategy, its parts and the acquisition, by name.
        starts: whether it makes first designs of its own.
        build: makes a surrogate by its factory instead of calling that.

    Raises:
        ConfigError: a name is unknown.
        MissingExtraError: a package is not installed.
    """
    if policy.surrogate in STRATEGIES:
        strategy = STRATEGIES[policy.surrogate](setup)
        require(strategy, Strategy)
        return strategy
    factory = with_parts(surrogate_factory(policy.surrogate), policy.representations, policy.kernel)

    def made() -> Surrogate:
        with running(factory, f"surrogate '{policy.surrogate}'"):
            surrogate: Surrogate = factory(setup) if build is None else build(factory, setup)
        return surrogate

    # Earlier results tell more about the first experiments than a design that knows nothing.
    starts = starts and not setup.problem.sources
    return ModelBased(setup.problem.pool, made, policy.acquisition, starts, setup.listener)


def _plates(request: BatchRequest) -> list[Rows]:
    """The candidates apart by the values that a batch shares; one part without such columns.

    Raises:
        UserError: no candidate is within the limits.
    """
    plates = [request.rows]
    if request.shared:
        keys = np.stack([codes[request.rows] for codes in request.shared], axis=1)
        _, group = np.unique(keys, axis=0, return_inverse=True)
        plates = [request.rows[group == number] for number in range(int(group.max()) + 1)]
    plates = [plate for plate in plates if request.limits.allowed(plate, []).any()]
    if not plates:
        raise UserError("no candidate meets the limits of this request; loosen --at-most.")
    return plates
