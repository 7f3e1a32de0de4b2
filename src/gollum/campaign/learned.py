"""What there is to look into of a campaign: candidates, and what was known at each suggestion."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pandas as pd

from gollum.acquisition.model_based import make_strategy
from gollum.analysis.learned.cases import Case, Round
from gollum.campaign.events import Suggested
from gollum.campaign.planning import problem_of, setup_of, stream_of
from gollum.campaign.state import Logged, State
from gollum.errors import ConfigError
from gollum.features.problem import Problem
from gollum.listener import SILENT, Listener
from gollum.surrogates.base import Surrogate

COMPARED = ("one_hot", "pllm")  # beside the campaign's own


def case_of_campaign(
    log: Sequence[Logged],
    table: Callable[[str], pd.DataFrame],
    models: Sequence[str] = (),
    listener: Listener = SILENT,
) -> Case:
    """The objective of a campaign, as far as it has come.

    Args:
        log: all events.
        table: the table of candidates by its sha256, as `State.of` takes it.
        models: surrogates to look into, the most important one first; by default the campaign's
            own, and `COMPARED`.
        listener: told what takes long.

    Raises:
        ConfigError: the campaign's strategy has no model, and none is named.
    """
    state = State.of(log, table)
    if not models and state.policy.factory is None:
        raise ConfigError(
            f"experiments of {state.created.name} are chosen by '{state.policy.surrogate}', which "
            "has no model; name one to fit to the results, such as --models combined."
        )
    names = list(dict.fromkeys(models or (state.policy.surrogate, *COMPARED)))
    bases = [e.event.basis for e in log if isinstance(e.event, Suggested)]
    states = [State.of(log[:basis], table) for basis in dict.fromkeys(bases)] + [state]
    return Case(
        title=state.created.name,
        unit=state.created.units.get(state.objective.name, ""),
        problem=problem_of(state, state.policy),
        scale=state.scale(),
        rounds=tuple(_rounds(states, state)),
        models={name: _maker(state, name, listener) for name in names},
        selected=_selected(state),
        notes=tuple(_notes(state)),
    )


def _notes(state: State) -> list[str]:
    """What is not looked into."""
    told, name = list[str](), state.objective.name
    if len(state.outcomes) > 1:
        told.append(f"Of {len(state.outcomes)} outcomes, {name} alone is looked into.")
    if state.goal.kind == "target":
        told.append(f"Good and bad mean large and small values of {name} here, near or far from "
                    "the target.")  # fmt: skip
    return told


def _rounds(states: Sequence[State], last: State) -> list[Round]:
    """Each number of results once, on the scale of today."""
    found = dict[int, Round]()
    for number, state in enumerate(states, start=1):
        ids, values = state.observations()
        if len(ids):
            scale = last.scale()
            known = Round(
                number, tuple(ids), scale.utility(values), stream_of(state),
                state.extents(scale=scale),
            )  # fmt: skip
            if state is last:  # which may have corrected what it did not add to
                found.pop(len(ids), None)
            found.setdefault(len(ids), known)
    return list(found.values())


def _selected(state: State) -> dict[str, int]:
    """In which batch each experiment with a result was suggested; 0 for what came otherwise."""
    batch = {plan.suggestion.id: plan.batch for plan in state.plans.values()}
    return {str(i): batch.get(str(i), 0) for i in state.means().index}


def _maker(state: State, name: str, listener: Listener) -> Callable[[Problem], Surrogate]:
    """What makes a surrogate with the numbers of the campaign; its own as it is."""
    own = name == state.policy.surrogate
    policy = state.policy if own else state.policy_with(surrogate=name)

    def make(problem: Problem) -> Surrogate:
        made = make_strategy(setup_of(problem, policy, listener), policy).surrogate
        if made is None:
            raise ConfigError(f"'{name}' has no model that could be looked into.")
        return made

    return make
