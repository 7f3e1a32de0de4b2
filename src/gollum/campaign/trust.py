"""May the model be trusted, and does the language model help? Asked of the user's own results.

Every measured experiment is predicted by models that have not seen it. All surrogates, and
guessing the mean, leave out the same experiments, so that their errors can be compared in pairs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gollum.analysis.cross_validation import (
    EXACT,
    PARTS,
    Errors,
    Gain,
    Lead,
    errors,
    folds,
    gain,
    lead,
    odd_share,
)
from gollum.campaign.calibration import left_out
from gollum.campaign.state import State
from gollum.data.outcomes import Outcome, Scale
from gollum.errors import FitError
from gollum.notes import Note
from gollum.surrogates import specs

if TYPE_CHECKING:
    from gollum.surrogates.base import Surrogate

Vector = NDArray[np.float64]
Answer = Literal["yes", "no", "can't tell yet"]
Progress = Callable[[int, int], None]

FEWEST = 8  # distinct experiments before methods are compared
FEWEST_LEFT_OUT = 3  # distinct experiments, so that those that are left have a spread
RANDOM = "random"
_GAINS = ["other", *Gain._fields, *Lead._fields]
_COLUMNS = ["method", "id", "fold", "observed", "baseline", "mean", "deviation"]


@dataclass(frozen=True, eq=False)
class Trust:
    """What experiments that were left out tell.

    Attributes:
        experiments: number of distinct experiments with a result.
        scheme: how they were left out, a sentence.
        language: name of the surrogate with the language model; None if there is none.
        answer: whether the language model is helping.
        sentences: the answer in words, then one for each method it is compared with.
        predictions: a row per method and measurement: method, id, fold, observed, baseline (mean
            of what the model had seen), mean, deviation (of a measurement, noise included), in the
            objective's unit; empty where nothing could be left out.
        errors: method, then the fields of `Errors`.
        gains: other, then the fields of `Gain` and `Lead` of the language model over that method.
        notes: what went wrong, and which model is too sure of itself.
    """

    experiments: int
    scheme: str
    language: str | None
    answer: Answer
    sentences: tuple[str, ...]
    predictions: pd.DataFrame
    errors: pd.DataFrame
    gains: pd.DataFrame
    notes: tuple[Note, ...] = ()


def trust(
    state: State,
    surrogates: Mapping[str, Surrogate],
    progress: Progress | None = None,
    scale: Scale | None = None,
    outcome: Outcome | None = None,
) -> Trust:
    """Leave experiments out, predict them, and compare.

    Up to 30 distinct experiments are left out one by one and the rest is fitted anew; more are
    left out in ten parts, which the campaign's seed decides. All measurements of an experiment are
    left out together. 'random' predicts the mean of what was not left out, with its spread.

    Args:
        state: the campaign.
        surrogates: name → surrogate on the campaign's candidates; its own by `own_name`.
        progress: called with (fits done, fits in all).
        scale: on which the outcome is learned; by default the campaign's.
        outcome: what was measured; the objective by default.

    Returns:
        A surrogate that can't be fitted is missing, with a note.
    """
    ids, values = state.observations(outcome)
    count = len(set(ids))
    possible = count >= FEWEST_LEFT_OUT and float(np.ptp(values)) > 0
    predictions, notes = pd.DataFrame(columns=_COLUMNS), list[Note]()
    if possible:
        known = scale or state.scale(outcome)
        predictions, notes = _left_out(state, surrogates, progress, known, outcome)
    methods = {str(method): rows for method, rows in predictions.groupby("method", sort=False)}
    own = own_name(state)
    language = next(
        (
            name
            for name in (own, *surrogates)
            if name in methods
            and (state.policy if name == own else state.policy_with(surrogate=name)).has_model
        ),
        None,
    )
    gains = pd.DataFrame(columns=_GAINS)
    if language is not None and count >= FEWEST:
        gains = _gains(methods, language)
    answer, headline = _verdict(gains, language, count, possible)
    judged = _errors(methods)
    return Trust(
        experiments=count,
        scheme=_scheme(count) if possible else "No experiment was left out.",
        language=language,
        answer=answer,
        sentences=(headline, *(_in_words(row) for row in gains.to_dict("records"))),
        predictions=predictions,
        errors=judged,
        gains=gains,
        notes=(*notes, *_overconfident(judged)),
    )


def own_name(state: State) -> str:
    """What the campaign's surrogate is called: its name, and its parts where these are others."""
    policy = state.policy
    parts = [*(policy.representations or ()), *([policy.kernel] if policy.kernel else ())]
    return f"{policy.surrogate} ({', '.join(parts)})" if parts else policy.surrogate


def named(method: str) -> str:
    """What a method is called in sentences."""
    return "guessing the mean" if method == RANDOM else specs.named(method)


def _left_out(
    state: State,
    surrogates: Mapping[str, Surrogate],
    progress: Progress | None,
    scale: Scale,
    outcome: Outcome | None,
) -> tuple[pd.DataFrame, list[Note]]:
    """Predictions of every method, and what went wrong."""
    ids, values = state.observations(outcome)
    part = folds(ids, state.created.seed)
    parts, fits = int(part.max()) + 1, 0

    def tick() -> None:
        nonlocal fits
        fits += 1
        if progress is not None:
            progress(fits, parts * len(surrogates))

    mean, deviation = _guesses(values, part)
    rows = pd.DataFrame({"id": ids, "fold": part, "observed": values, "baseline": mean})
    tables = [rows.assign(method=RANDOM, mean=mean, deviation=deviation)]
    notes = []
    for number, (name, surrogate) in enumerate(surrogates.items(), start=1):
        try:
            learned = left_out(surrogate, state, part, tick, scale=scale, outcome=outcome)
            mean, deviation = scale.values(learned[0]), scale.deviation(*learned)
        except FitError as error:
            what = f"{named(name)} could not be fitted and is left out: {error}"
            notes.append(Note("failed-fit", "", what))
            fits = number * parts
        else:
            tables.append(rows.assign(method=name, mean=mean, deviation=deviation))
    return pd.concat(tables, ignore_index=True)[_COLUMNS], notes


def _guesses(values: Vector, part: NDArray[np.int64]) -> tuple[Vector, Vector]:
    """Mean and spread of what was not left out; the spread of all where that one is 0."""
    mean, deviation = np.empty_like(values), np.empty_like(values)
    for number in range(int(part.max()) + 1):
        seen = values[part != number]
        mean[part == number] = seen.mean()
        deviation[part == number] = seen.std(ddof=1) or values.std(ddof=1)
    return mean, deviation


def _errors(methods: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    found = []
    for method, rows in methods.items():
        columns = ("observed", "mean", "deviation", "baseline")
        y, mean, deviation, baseline = (rows[c].to_numpy(dtype=np.float64) for c in columns)
        judged = errors(y, mean, deviation**2, baseline)
        if method == RANDOM:  # the mean of the others is the lower, the higher a value is
            judged = judged._replace(spearman=float("nan"))
        found.append((method, *judged))
    return pd.DataFrame(found, columns=["method", *Errors._fields])


def _overconfident(judged: pd.DataFrame) -> list[Note]:
    """A note for each model whose 95 % intervals hold too few results to be chance."""
    notes = []
    for row in judged[judged["method"] != RANDOM].to_dict("records"):
        inside = row["inside"]
        if odd_share(inside, row["measurements"]) == "too few":
            what = (
                f"The model {named(row['method'])} is too sure of itself: {100 * inside:.0f} % of "
                "the left-out results fell inside its 95 % intervals, so its intervals should be "
                "wider and its chances less extreme."
            )
            notes.append(Note("too-sure", "", what))
    return notes


def _gains(methods: Mapping[str, pd.DataFrame], language: str) -> pd.DataFrame:
    def moments(method: str) -> tuple[Vector, Vector]:
        mean, deviation = methods[method][["mean", "deviation"]].to_numpy(dtype=np.float64).T
        return mean, deviation**2

    ids = methods[language]["id"].tolist()
    y, own = methods[language]["observed"].to_numpy(dtype=np.float64), moments(language)
    rows = [
        (o, *gain(ids, y, own[0], moments(o)[0]), *lead(ids, y, own, moments(o)))
        for o in methods
        if o != language
    ]
    return pd.DataFrame(rows, columns=_GAINS)


def _verdict(
    gains: pd.DataFrame, language: str | None, count: int, possible: bool
) -> tuple[Answer, str]:
    """Yes if its log loss is smaller than all others' for certain, no if another's is."""
    if count < FEWEST:
        more = FEWEST - count
        return "can't tell yet", (
            f"Can't tell yet: {count} different experiments have a result, and a comparison needs "
            f"{FEWEST}; {more} more to go."
        )
    if not possible:
        return "can't tell yet", "Can't tell yet: all results are equal."
    if language is None:
        return "can't tell yet", "Can't tell: no language model was among the models compared."
    model = f"the language model ({language})"
    worse = gains[gains["nats_high"] < 0]
    unsure = gains.loc[~(gains["nats_low"] > 0), "other"]
    if len(worse):
        best = named(str(worse.sort_values("nats")["other"].iloc[0]))
        return "no", f"No: on your results, {best} predicts better than {model}."
    if not len(unsure):
        return "yes", f"Yes: {model} predicts your results better than all it was compared with."
    others = " and ".join(map(named, unsure))
    return "can't tell yet", (
        f"Can't tell yet: with {count} experiments, {model} is not reliably better or worse than "
        f"{others}."
    )


def _in_words(row: Mapping[Any, Any]) -> str:
    """One comparison: of log losses, which decide, and of squared errors."""
    text = f"Its log loss is {_smaller(row['nats'])} than that of {named(row['other'])}"
    if not np.isnan(row["nats_low"]):
        low, high, chance = _smaller(row["nats_low"]), _smaller(row["nats_high"]), ""
        if row["nats_low"] <= 0 <= row["nats_high"]:
            chance = ", which may be chance"
        else:
            low = low.removesuffix(" smaller").removesuffix(" larger")
        text += f" (95 % interval: {low} to {high}){chance}"
    if np.isnan(row["share"]):
        return f"{text}; that one makes no error at all."
    way = "smaller" if row["share"] >= 0 else "larger"
    return f"{text}; its squared error is {100 * abs(row['share']):.0f} % {way}."


def _smaller(difference: float) -> str:
    return f"{abs(difference):.2f} {'smaller' if difference >= 0 else 'larger'}"


def _scheme(count: int) -> str:
    if count <= EXACT:
        return (
            f"Each of the {count} experiments was predicted by models fitted to all others; "
            "repeats of an experiment were left out together."
        )
    return (
        f"The {count} experiments were dealt into {PARTS} parts, and each part was predicted by "
        "models fitted to the others; repeats of an experiment were left out together."
    )
