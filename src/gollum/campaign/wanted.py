"""What a user says of outcomes, as `yield` or `ee:at-least=90` with bounds, scales and weights."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from typing import Any, get_args

import numpy as np

from gollum.campaign.state import State
from gollum.data.outcomes import (
    UNBOUNDED,
    Bounds,
    Goal,
    Outcome,
    Transform,
    bounds_of,
    refuse_twice,
    spelt,
)
from gollum.data.pool import cell_text
from gollum.data.spreadsheets.numbers import composed
from gollum.errors import ConfigError, listed, nearest, quoted

_WITH_GOAL = re.compile(r"(.+):(\s*[A-Za-z_-]+(?:\s*[=\s].*)?)")
DETAILS = ("bounds", "transform", "failed_as", "reference", "weight")  # of an outcome, by name
_RETURNED = ("failed_as", "reference", "weight")  # those that None or 'none' takes back


def outcome_of(said: str | Outcome, columns: Collection[str] = ()) -> Outcome:
    """An outcome from 'yield', 'yield:minimize' or 'ee:at-least=90'; without a goal, none is set.

    Args:
        said: a text or an outcome.
        columns: of the table; one of these is a name as it stands, also with a colon in it.

    Raises:
        ConfigError: what follows the colon is no goal, or the name is blank.
    """
    if isinstance(said, Outcome):
        return said
    text = composed(str(said)).strip()
    match = _WITH_GOAL.fullmatch(text)
    name, colon, goal = (match[1], ":", match[2]) if match else text.rpartition(":")
    if text in columns or not colon:
        name, goal = text, ""
    if not name.strip():
        raise ConfigError("an objective has a name, such as yield or ee:at-least=90; give one.")
    return Outcome(name=name.strip(), goal=Goal.of(goal)) if goal else Outcome(name=name)


def outcomes_of(
    objectives: str | Outcome | Sequence[str | Outcome],
    goal: Goal | None = None,
    columns: Collection[str] = (),
    **details: Any,
) -> tuple[Outcome, ...]:
    """All outcomes, those that are pursued first.

    Args:
        objectives: one or several, as `outcome_of` takes them.
        goal: of those that say none; 'maximize' by default.
        columns: of the table.
        details: `DETAILS`, each a mapping of names to values; for a single outcome, a value. A
            weight, reference or failed_as of None or 'none' is taken back.

    Raises:
        ConfigError: one is given twice, or what is said contradicts itself.
    """
    given = [objectives] if isinstance(objectives, str | Outcome) else list(objectives)
    found = [outcome_of(one, columns) for one in given]
    if not found:
        raise ConfigError("give an objective, the column to optimize.")
    refuse_twice(one.name for one in found)
    silent = [one.name for one in found if "goal" not in one.model_fields_set]
    if goal is not None and not silent:
        raise ConfigError(
            f"the goal '{goal.words()}' is said beside objectives that say their own; leave it out."
        )
    if goal is not None and goal.kind != "maximize" and len(silent) > 1:
        raise ConfigError(
            f"the goal '{goal.words()}' may be that of {listed(silent)}; write each as "
            f"{silent[0]}:minimize or the like."
        )
    if goal is not None:
        found = [one.model_copy(update={"goal": goal}) if one.name in silent else one
                 for one in found]  # fmt: skip
    found = detailed(found, details)
    found.sort(key=lambda one: not one.goal.pursued)
    check(found)
    return tuple(found)


def detailed(outcomes: Sequence[Outcome], details: Mapping[str, Any]) -> list[Outcome]:
    """Outcomes with what is said of each by name.

    Raises:
        ConfigError: there is no such outcome, or a value can't be understood.
    """
    found = {one.name: one for one in outcomes}
    for detail in DETAILS:
        given = details.get(detail)
        if given is None:
            continue
        if not isinstance(given, Mapping):
            given = {next(iter(found)): given}
        for name, value in given.items():
            if name not in found:
                raise ConfigError(
                    f"there is no objective '{name}' for --{detail.replace('_', '-')}."
                    f"{nearest(name, found) or f' Name one of {listed(found)}.'}"
                )
            known = {key: getattr(found[name], key) for key in found[name].model_fields_set}
            known |= {"found": False} if detail == "bounds" else {}  # said bounds hold
            found[name] = Outcome(**known | {detail: _value(detail, value)})
    return list(found.values())


def check(outcomes: Sequence[Outcome]) -> None:
    """Refuse outcomes that contradict themselves or each other; those pursued are first.

    Raises:
        ConfigError: they do.
    """
    for one in outcomes:
        one.check()
    if all(one.goal.kind == "watch" for one in outcomes):
        raise ConfigError("every objective is only watched; say what to maximize or minimize.")
    pursued = [one for one in outcomes if one.goal.pursued]
    weighed = [one for one in pursued if one.weight is not None]
    for one in outcomes:
        for detail in ("weight", "reference"):
            value = getattr(one, detail)
            if value is not None and (len(pursued) < 2 or not one.goal.pursued):
                raise ConfigError(
                    f"'{one.name}' has a {detail}, which is for several objectives of which more "
                    f"is always wanted; leave it out, or take it back by --{detail} "
                    f"{quoted(f'{one.name}=none')}."
                )
            if value is not None and detail == "reference" and weighed:
                raise ConfigError(
                    f"'{one.name}' has a reference, which is for a front, and "
                    f"'{weighed[0].name}' a weight, which is for a sum; keep one of them, and take "
                    f"the other back by --reference {quoted(f'{one.name}=none')} or --weight "
                    f"{quoted(f'{weighed[0].name}=none')}."
                )
    for one in pursued if weighed else ():
        if one.bounds != UNBOUNDED and None in one.bounds:
            raise ConfigError(f"'{one.name}' is weighed and needs both bounds.")


def _value(detail: str, value: Any) -> Any:
    if detail == "bounds":
        return _bounds(value)
    if detail == "transform":
        if value not in get_args(Transform):
            raise ConfigError(
                f"a transform is {', '.join(get_args(Transform))}, not '{value}'."
                f"{nearest(str(value), get_args(Transform))}"
            )
        return value
    if detail in _RETURNED and (value is None or str(value).strip().lower() == "none"):
        return None
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = float("nan")
    if not abs(number) < float("inf"):
        what = {"failed_as": "a failed experiment can't count as"}.get(detail)
        raise ConfigError(
            f"{what} {value}; give a finite number." if what
            else f"a {detail} is a finite number, not '{value}'."
        )  # fmt: skip
    return number


def _bounds(value: Any) -> Bounds:
    if isinstance(value, str):
        return bounds_of(value)
    if value is None:
        return UNBOUNDED
    low, high = value
    return None if low is None else float(low), None if high is None else float(high)


def check_bounds(state: State) -> None:
    """Refuse bounds that a result goes beyond.

    Raises:
        ConfigError: one does, named by its run.
    """
    for one in state.outcomes:
        for run, measurement in state.measurements.items() if not one.found else ():
            value = measurement.result.values.get(one.name)
            if value is not None and not one.within(value):
                low, high = one.bounds
                low = None if low is None else min(low, value)
                high = None if high is None else max(high, value)
                wider = ":".join("" if end is None else f"{end:g}" for end in (low, high))
                raise ConfigError(
                    f"{run}: {one.name} {value:g} is outside of the bounds ({spelt(one.bounds)}); "
                    f"correct it, or give wider ones as --bounds {quoted(f'{one.name}={wider}')}."
                )


def check_reference(state: State) -> None:
    """Refuse a reference point that no result is better than.

    Raises:
        ConfigError: it is such a point.
    """
    pursued = [one for one in state.pursued if one.reference is not None]
    means = state.means_of_all.dropna(subset=[one.name for one in pursued])
    if not pursued or not len(means):
        return
    better = np.ones(len(means), dtype=bool)
    for one in pursued:
        merit = one.goal.merit(np.array([*means[one.name], one.reference], dtype=np.float64))
        better &= merit[:-1] > merit[-1]
    if not better.any():
        point = ", ".join(f"{one.name} {cell_text(one.reference)}" for one in pursued)
        raise ConfigError(
            f"no result is better than the reference ({point}) in all of it, so nothing would "
            "count; give one that is worse than what you have, or take it back by --reference "
            f"{quoted(f'{pursued[0].name}=none')}."
        )
