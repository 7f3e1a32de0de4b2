"""Another goal, other bounds, further outcomes: what a campaign wants from now on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from gollum.campaign.begin import check_policy
from gollum.campaign.events import Configured
from gollum.campaign.state import Logged, State
from gollum.campaign.wanted import (
    check,
    check_bounds,
    check_reference,
    detailed,
    outcome_of,
)
from gollum.data.outcomes import Goal, Outcome, refuse_twice
from gollum.errors import ConfigError, nearest


def changed(
    state: State,
    objectives: Sequence[str | Outcome],
    goal: Goal | None,
    details: Mapping[str, Any],
) -> Configured | None:
    """The event by which something else is wanted; None where nothing changes.

    Args:
        state: the campaign.
        objectives: as `outcome_of` takes them.
        goal: of the first outcome.
        details: `DETAILS`, as `outcomes_of` takes them.

    Raises:
        ConfigError: it contradicts itself, the results, or how experiments are chosen.
    """
    results = {state.created.objective, *state.created.also}
    named = [outcome_of(one, results) for one in objectives]
    refuse_twice(one.name for one in named)
    known = {one.name: one for one in state.outcomes}
    for one in named:
        if one.name in state.table.columns or one.name == state.created.id_column:
            raise ConfigError(f"'{one.name}' is an input of the campaign and no result of it.")
        if one.name not in {*results, *known} and (close := nearest(one.name, results)):
            raise ConfigError(f"the campaign has no result '{one.name}'.{close}")
        if "goal" not in one.model_fields_set and one.name not in known:
            raise ConfigError(f"say what is wanted of '{one.name}', as in {one.name}:at-least=90.")
        unit = state.created.units.get(one.name, "")
        before = known.get(one.name, Outcome(name=one.name, unit=unit))
        news = {key: getattr(one, key) for key in one.model_fields_set - {"name"}}
        said = {"found": False} if "bounds" in news else {}
        known[one.name] = before.model_copy(update=said | news)
    first = state.objective.name
    if goal is not None:
        known[first] = known[first].model_copy(update={"goal": goal})
    outcomes = tuple(detailed(list(known.values()), details))
    check(outcomes)
    if not outcomes[0].goal.pursued and any(one.goal.pursued for one in outcomes):
        raise ConfigError(
            f"'{first}' is what this campaign began to optimize and goes before other objectives; "
            "let it be maximized, minimized or brought to a target."
        )
    if outcomes == state.outcomes:
        return None
    event = _brief(state, outcomes)
    after = state.after(Logged(state.sequence + 1, "", "", event))
    check_policy(state.keys, outcomes)
    check_reference(after)
    check_bounds(after)
    if problem := after.praised_failure():
        blamed = outcomes[0].failed_as != state.objective.failed_as
        remedy = "give a worse value" if blamed else "let it count as something else first"
        raise ConfigError(f"{problem}; {remedy}.")
    return event


def _brief(state: State, outcomes: tuple[Outcome, ...]) -> Configured:
    """The event; in old files as these say it, as long as that is enough."""
    first, before = outcomes[0], state.objective
    same = before.model_copy(update={"goal": first.goal, "failed_as": first.failed_as})
    if not state.created.outcomes and outcomes == (same,) and first.failed_as is not None:
        goal = None if first.goal == before.goal else first.goal
        failed = None if first.failed_as == before.failed_as else first.failed_as
        return Configured(goal=goal, failed_as=failed)
    kept = first.failed_as == before.failed_as
    if not state.created.outcomes and outcomes == (same,) and kept:
        return Configured(goal=first.goal)
    return Configured(outcomes=outcomes)
