"""How far a campaign has come, and what is left to gain."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gollum.analysis.metrics import INTERVAL
from gollum.campaign.front import front_of, reference_of
from gollum.campaign.state import State
from gollum.data.outcomes import Goal, Outcome, Scale

if TYPE_CHECKING:
    from torch import Tensor

    from gollum.acquisition.model_based import Modelled
    from gollum.surrogates.base import Fitted

Vector = NDArray[np.float64]
Decision = Literal["go on", "little is left to gain", "stop"]

TOP = 8  # open candidates that are looked at: a usual batch
FEWEST = 8  # distinct experiments before the model's word counts
QUIET = 8  # results without an improvement before it may say stop
LITTLE, NOTHING = 0.02, 0.005  # expected gain, as a share of the range of results
MOSTLY_NOISE = 0.5  # noise variance of standardised results
CONFIRM = "Measure the best one again to be sure (gollum suggest --repeats 1)"
THEN = {  # what to do with each
    "go on": "",
    "little is left to gain": f" {CONFIRM}, stop, or widen the space (gollum add).",
    "stop": f" {CONFIRM}, or widen the space (gollum add).",
}
RULE = (
    f"The gains that the model expects of the {TOP} best open candidates are added up: no batch of "
    f"{TOP} can gain more on average. Little is left to gain when the sum is below "
    f"{100 * LITTLE:g} % of the range of your results; stop when it is below "
    f"{100 * NOTHING:g} % and the last {QUIET} results brought no improvement either. With fewer "
    f"than {FEWEST} different experiments, or when the model takes most differences between "
    "results for noise, the advice is always to go on."
)


@dataclass(frozen=True)
class Best:
    """The best experiment so far.

    Attributes:
        id: the candidate.
        value: mean of its measurements, in the objective's unit.
        count: how often it was measured.
        desirability: from 0 to 1, where several objectives are weighed; else None.
    """

    id: str
    value: float
    count: int
    desirability: float | None = None


@dataclass(frozen=True, eq=False)
class Advice:
    """What is left to gain.

    Attributes:
        decision: what to do.
        sentence: the decision with its reason, and what to do.
        outlook: what the best open candidates may bring, a sentence; empty where nothing can be
            said.
        candidates: up to 8 open candidates of the largest gain, in its order: id, mean and
            deviation (predicted true value), low and high (95 % interval of it, inside the
            bounds), gain (expected improvement) and chance (probability
            of an improvement); objective's unit.
        gain: sum of those gains, an upper bound for what they gain together.
        chance: probability that any of them improves: an upper bound …
        single: … and that of the best one alone, a lower bound.
        left: number of open candidates.
        quiet: results since the last improvement.
        further: outcome → mean, low and high (median and 95 % interval of its true value) of the
            same candidates.
        limits: probability that all limits hold, of each; None without limits.
        front: whether gains are shares of the hypervolume, and chances those to join the front.
        rule: how the decision was made.
    """

    decision: Decision
    sentence: str
    outlook: str
    candidates: pd.DataFrame
    gain: float
    chance: float
    single: float
    left: int
    quiet: int
    further: Mapping[str, pd.DataFrame] = field(default_factory=dict)
    limits: Vector | None = None
    front: bool = False
    rule: str = RULE


def progress(state: State) -> pd.DataFrame:
    """What came of each experiment that was run, in order of arrival.

    Returns:
        Columns run, id, status, value (NaN if failed), best (mean of the measurements of the best
        experiment so far within all limits; it falls when a repeat disappoints) and improved
        (whether no experiment was as good before). Where objectives are weighed, the best has the
        largest desirability.
    """
    objective = state.created.objective
    means = state.means_of_all
    worth = dict(zip(means.index, state.worth(means).tolist(), strict=True))
    within = {candidate for candidate, value in worth.items() if np.isfinite(value)}
    totals: dict[str, tuple[float, int]] = {}
    utilities: dict[str, float] = {}
    top, peak, rows = "", -np.inf, []
    for run, measurement in state.measurements.items():
        result = measurement.result
        value = result.values.get(objective) if result.status == "measured" else None
        if value is not None:
            total, count = totals.get(result.id, (0.0, 0))
            totals[result.id] = total + value, count + 1
            mean = np.array([(total + value) / (count + 1)])
            if result.id in within:
                own = worth[result.id] if state.weighed else float(state.utility(mean)[0])
                utilities[result.id] = own
            if top == result.id:  # a repeat of the best: is it still?
                top = max(utilities, key=utilities.__getitem__)
            elif result.id in within and (not top or utilities[result.id] > utilities[top]):
                top = result.id
        elif result.status != "failed":
            continue
        improved = bool(top) and utilities[top] > peak
        peak = utilities[top] if improved else peak
        best = totals[top][0] / totals[top][1] if top else np.nan
        shown = np.nan if value is None else value
        rows.append((run, result.id, result.status, shown, best, improved))
    return pd.DataFrame(rows, columns=["run", "id", "status", "value", "best", "improved"])


def progress_of(state: State, outcome: Outcome) -> pd.DataFrame:
    """What came of a further outcome, in order of arrival.

    Returns:
        Columns run, status, value (NaN if missing) and best: the best value so far of an objective,
        NaN of a limit and of what is only watched.
    """
    rows = []
    for run, measurement in state.measurements.items():
        result = measurement.result
        if result.status in ("measured", "failed"):
            rows.append((run, result.status, result.values.get(outcome.name, np.nan)))
    table = pd.DataFrame(rows, columns=["run", "status", "value"])
    value = table["value"].to_numpy(dtype=np.float64)
    merit = np.where(np.isnan(value), -np.inf, outcome.goal.merit(value))
    at = [int(np.argmax(merit[: n + 1])) for n in range(len(merit))]
    known = outcome.goal.pursued & np.isfinite(merit[at])
    return table.assign(best=np.where(known, value[at], np.nan))


def best(state: State) -> Best | None:
    """The experiment whose measurements have the best mean; None before the first.

    Of several outcomes, the one within all limits, of the largest desirability where they are
    weighed; None while there is none.
    """
    means, worth = state.measured(), state.worth(state.means_of_all)
    if means.empty or not np.isfinite(worth).any():
        return None
    row = means.loc[state.means_of_all.index[int(np.argmax(worth))]]
    desirable = float(worth.max()) if state.weighed else None
    return Best(str(row.name), float(row["mean"]), int(row["count"]), desirable)


def improvement(
    mean: Vector, deviation: Vector, level: float, goal: Goal, most: float | None = None
) -> tuple[Vector, Vector]:
    """Expected improvement, and its probability, of N values known as Gaussians.

    With h(a) = E(a + σz)₊ = a Φ(a/σ) + σ φ(a/σ), z standard normal: h(μ − best) when maximizing
    (Jones et al., J. Glob. Optim. 1998, 13, 455, eq. 15). For a target t whose best distance is d,
    E(d − |f − t|)₊ = h(m + d) − 2 h(m) + h(m − d) with m = μ − t, since the triangle that is the
    improvement is such a sum of ramps. Where nothing is better than `most`, a value beyond it
    counts as that: h(μ − best) − h(μ − most) when maximizing.

    Args:
        mean: N means μ of the objective.
        deviation: N standard deviations σ > 0.
        level: the best value, in the objective's unit.
        goal: what is wanted.
        most: the bound in the wanted direction, if there is one.

    Returns:
        N gains ≥ 0 in the objective's unit, and N probabilities.
    """
    from scipy.special import ndtr

    def ramp(a: Vector) -> Vector:
        z = a / deviation
        expected: Vector = a * ndtr(z) + deviation * np.exp(-0.5 * z**2) / np.sqrt(2 * np.pi)
        return expected

    if goal.kind == "target":
        target = float(goal.target or 0.0)
        off, reach = mean - target, abs(level - target)
        gain = ramp(off + reach) - 2 * ramp(off) + ramp(off - reach)
        chance = ndtr((reach - off) / deviation) - ndtr((-reach - off) / deviation)
    else:
        ahead = mean - level if goal.kind == "maximize" else level - mean
        gain, chance = ramp(ahead), ndtr(ahead / deviation)
        if most is not None:
            gain = gain - ramp(mean - most if goal.kind == "maximize" else most - mean)
    return np.maximum(gain, 0.0), chance


def advice(
    state: State,
    fitted: Fitted,
    wider: Mapping[str, float] | None = None,
    scale: Scale | None = None,
    modelled: Modelled | None = None,
    everywhere: tuple[Tensor, Tensor] | None = None,
) -> Advice:
    """Go on, or is little left to gain?

    Gains are of true values, without the noise of a measurement, over the true value that the
    model gives the best measured experiment: a lucky measurement is no reason to stop.

    Args:
        state: the campaign.
        fitted: the model, given all results.
        wider: outcome → factor on the deviations of its model, 1 by default.
        scale: on which it has learned the objective; by default the campaign's.
        modelled: all outcomes with their models, where there are several.
        everywhere: standardised mean and variance of all N candidates, if they are known already.
    """
    left = np.flatnonzero(state.open())
    table = progress(state)
    improvements = np.flatnonzero(table["improved"].to_numpy(dtype=bool))
    quiet = len(table) - 1 - int(improvements[-1]) if len(improvements) else len(table)
    means = state.measured()
    candidates = pd.DataFrame(columns=["id", "mean", "deviation", "low", "high", "gain", "chance"])
    wide, several = wider or {}, None if modelled is None else modelled.several
    if len(left) and len(means):
        known = scale or state.scale()
        moments = fitted.standardised(left)
        if everywhere is not None:
            moments = everywhere[0][left], everywhere[1][left]
        factor = wide.get(state.objective.name, 1.0)
        candidates = _promising(state, fitted, left, moments, factor, known, modelled)
    gain = float(candidates["gain"].sum())
    spread = float(np.ptp(means["mean"].to_numpy())) if len(means) else 0.0
    rule = RULE
    if several is not None:
        whole = "the best desirability" if state.weighed else "the hypervolume so far"
        rule, spread = RULE.replace("the range of your results", whole), float(spread > 0)
        quiet = _quiet(state)
    chance = min(1.0, float(candidates["chance"].sum()))
    single = float(candidates["chance"].max()) if len(candidates) else 0.0
    noise, front = fitted.noise, several is not None and not state.weighed
    further, held = dict[str, pd.DataFrame](), None
    if modelled is not None and len(candidates):
        rows = fitted.pool.positions(candidates["id"])
        further, held = _others(modelled, rows, wide), modelled.log_limits(rows, wide)
    decision, reason = decide(
        gain, spread, experiments=len(means), left=len(left), quiet=quiet, noise=noise
    )
    return Advice(
        decision=decision,
        sentence=_sentence(decision, reason, len(state.pending())),
        outlook=_outlook(state, candidates, chance, front) if len(candidates) else "",
        candidates=candidates,
        gain=gain,
        chance=chance,
        single=single,
        left=len(left),
        quiet=quiet,
        further=further,
        limits=None if held is None else np.exp(held),
        front=front,
        rule=rule,
    )


def _sentence(decision: Decision, reason: str, pending: int) -> str:
    """The decision with its reason and what to do; what is pending comes before an end."""
    first = decision.capitalize()
    if pending and decision != "go on":
        count = "pending experiment" if pending == 1 else f"{pending} pending experiments"
        first = f"After the {count}, {decision}"
    return f"{first}: {reason}.{THEN[decision]}"


def _quiet(state: State) -> int:
    """Experiments since the front or the largest desirability last grew."""
    front = front_of(state)
    if front is not None:
        level = front.table["volume"].to_numpy(dtype=np.float64)
    else:
        level = np.maximum.accumulate(state.worth(state.means_of_all))
    grown = np.flatnonzero(np.diff(level, prepend=-np.inf) > 0)
    return len(level) - 1 - int(grown[-1]) if len(grown) else len(level)


def decide(
    gain: float, spread: float, *, experiments: int, left: int, quiet: int, noise: float
) -> tuple[Decision, str]:
    """Apply `RULE`.

    Args:
        gain: summed expected improvement of the best open candidates.
        spread: range of the results, in the same unit.
        experiments: number of distinct measured ones.
        left: number of open candidates.
        quiet: results since the last improvement.
        noise: the model's noise variance, of standardised results.

    Returns:
        The decision and its reason.
    """
    if left == 0:
        return "stop", "every candidate was run, is pending or is avoided"
    if experiments < FEWEST:
        return "go on", f"{experiments} different experiments are too few for the model to tell"
    if spread == 0:
        return "go on", "all results are equal, so the model has nothing to learn from"
    if noise >= MOSTLY_NOISE:
        return "go on", "the model takes most differences between results for noise"
    share = gain / spread
    if share >= LITTLE:
        return "go on", "the model sees room for improvement among the open candidates"
    if share < NOTHING and quiet >= QUIET:
        return "stop", (
            "the model expects next to nothing of the open candidates, and the last "
            f"{quiet} results brought no improvement"
        )
    return "little is left to gain", "the model expects little of the open candidates"


def _promising(
    state: State,
    fitted: Fitted,
    left: NDArray[np.int64],
    moments: tuple[Tensor, Tensor],
    wider: float,
    scale: Scale,
    modelled: Modelled | None,
) -> pd.DataFrame:
    """The open candidates of the largest gain, by their positions and standardised moments."""
    from gollum.acquisition.scoring import widened  # PyTorch: only where a model is

    means = state.means_of_all
    allowed = state.feasible(means) if state.limits else np.ones(len(means), dtype=bool)
    measured = means[state.objective.name].notna().to_numpy()
    known = means.index[measured & allowed if (measured & allowed).any() else measured].tolist()
    believed = scale.values(fitted.posterior(known)[0].cpu().numpy())
    merits = state.utility(believed)
    # While no experiment is within the limits, the worst one is what there is to improve on.
    place = np.argmax(merits) if (measured & allowed).any() else np.argmin(merits)
    level = float(believed[place])
    utility = (fitted.location + fitted.scale * moments[0]).cpu().numpy()
    spread = (fitted.scale * widened(moments[1], wider).sqrt()).cpu().numpy()
    mean, deviation = scale.values(utility), scale.deviation(utility, spread)
    lows, highs = scale.interval(utility, INTERVAL * spread)
    linear = scale.transform == "identity"  # beyond a bound is what counts as the bound
    centre = scale.sign * utility if linear else mean
    low, high = scale.bounds
    most = {"maximize": high, "minimize": low}.get(state.goal.kind) if linear else None
    gain, chance = improvement(centre, np.maximum(deviation, 1e-12), level, state.goal, most)
    if modelled is not None:
        gain, chance = _of_all(state, modelled, left, gain, chance)
    table = pd.DataFrame(
        {
            "id": fitted.pool.ids[left], "mean": mean, "deviation": deviation,
            "low": lows, "high": highs, "gain": gain, "chance": chance,
        }
    )  # fmt: skip
    return table.nlargest(TOP, "gain").reset_index(drop=True)


def _of_all(
    state: State, modelled: Modelled, rows: NDArray[np.int64], gain: Vector, chance: Vector
) -> tuple[Vector, Vector]:
    """Gains and chances of several outcomes: within the limits, and of all objectives."""
    several = modelled.several
    if several is None:
        held = modelled.log_limits(rows, {})
        share = np.ones(len(rows)) if held is None else np.exp(held)
        return gain * share, chance * share
    point = None
    if not state.weighed and len(several.known[0]):
        pursued = tuple(one.outcome for one in several.objectives)
        point = reference_of(pursued, several.known[1])  # that of status and report
    gain, chance = several.gains(rows, point), np.zeros(len(rows))
    best = np.argsort(-gain, kind="stable")[:TOP]
    chance[best] = several.chances(rows[best])
    return gain, chance


def _others(
    modelled: Modelled, rows: NDArray[np.int64], wider: Mapping[str, float]
) -> dict[str, pd.DataFrame]:
    """What is predicted of further outcomes at m candidates."""
    from gollum.acquisition.scoring import widened

    found = {}
    for one, model in modelled.further:
        mean, variance = model.standardised(rows)
        spread = model.scale * widened(variance, wider.get(one.outcome.name, 1.0)).sqrt()
        utility = (model.location + model.scale * mean).cpu().numpy()
        low, high = one.scale.interval(utility, INTERVAL * spread.cpu().numpy())
        columns = {"mean": one.scale.values(utility), "low": low, "high": high}
        found[one.outcome.name] = pd.DataFrame(columns)
    return found


def _outlook(state: State, candidates: pd.DataFrame, chance: float, front: bool) -> str:
    """What the open candidates may bring, a sentence."""
    closer = state.goal.kind == "target"
    better = f"{'comes closer to the target' if closer else 'is better'} than the best so far"
    better = "joins the front" if front else better
    unit = " of the hypervolume" if front else ""
    low, high = f"{100 * candidates['chance'].max():.0f} %", f"{100 * chance:.0f} %"
    between = f"about {low}" if low == high else f"between {low} and {high}"
    count = len(candidates)
    largest, whole = (
        f"{_brief(100 * gain)} %{unit}" if unit else _brief(gain)
        for gain in (candidates["gain"].max(), candidates["gain"].sum())
    )
    if count == 1:
        return (
            f"The chance that the last open candidate {better} is {low}; the expected gain is "
            f"{largest}."
        )
    return (
        f"The chance that any of the {count} most promising candidates {better} is {between}; the "
        f"first of them is expected to gain {largest}, all together at most "
        f"{whole}."
    )


def _brief(number: float) -> str:
    """With two figures."""
    return f"{float(f'{number:.2g}'):.6g}"
