"""What is asked of a campaign before any model is needed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from gollum.campaign.events import Request
from gollum.campaign.state import Planned, State
from gollum.errors import UserError, nearest


@dataclass(frozen=True)
class Hooks:
    """What is called while a suggestion is made.

    Attributes:
        reading: with (texts read, texts in all), or (fits done, fits in all).
        noted: with sentences for the user.
        stage: with a word for what begins now.
    """

    reading: Callable[[int, int], None] | None = None
    noted: Callable[[tuple[str, ...]], None] = lambda notes: None
    stage: Callable[[str], None] = lambda words: None


def open_batch(state: State) -> list[Planned]:
    """The last batch, if nothing has happened since it was suggested."""
    if not state.batches or state.batches[-1].basis < state.changed:
        return []
    return [plan for plan in state.pending() if plan.batch == state.batch]


def check(state: State, request: Request) -> None:
    """Refuse a request that names what is not there.

    Raises:
        UserError: naming the column.
    """
    columns = [str(c) for c in state.table.columns]
    for option, named in (("--at-most", request.at_most), ("--same", request.same)):
        for column in named:
            if column not in columns:
                raise UserError(
                    f"{option} names a column '{column}' that the campaign does not have."
                    + (nearest(column, columns) or f" The columns are {', '.join(columns)}.")
                )
    if request.cost_weight and state.costs is None:
        raise UserError(
            "there are no costs to weigh; begin a campaign with --cost COLUMN to have them."
        )
