"""Past suggestions computed again, each from what was known then: do they agree?"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from gollum.campaign.events import Suggested, Suggestion
from gollum.campaign.planning import propose
from gollum.campaign.state import Logged, State
from gollum.listener import SILENT, Listener

AGREE = 1e-6  # relative difference of predictions that replays may show


@dataclass(frozen=True)
class Replayed:
    """A past suggestion, computed again.

    Attributes:
        batch: its number.
        event: what was suggested.
        again: the same, from the same knowledge, by this version on this machine.
    """

    batch: int
    event: Suggested
    again: Suggested

    @property
    def same_experiments(self) -> bool:
        """Whether the same experiments come out, in the same order."""
        ids = [[s.id for s in event.suggestions] for event in (self.event, self.again)]
        return ids[0] == ids[1] and self.event.joined == self.again.joined

    @property
    def agrees(self) -> bool:
        """Whether also the predictions do, up to rounding."""
        pairs = zip(self.event.suggestions, self.again.suggestions, strict=False)
        return self.same_experiments and all(
            (a.mean is None) == (b.mean is None) and all(map(_close, _numbers(a), _numbers(b)))
            for a, b in pairs
        )

    @property
    def changed(self) -> dict[str, tuple[Any, Any]]:
        """What was different then: name → (then, now)."""
        then = {**self.event.provenance, "revision": self.event.revision}
        now = {**self.again.provenance, "revision": self.again.revision}
        return {k: (then.get(k), now[k]) for k in now if then.get(k) != now[k]}


def replays(
    log: Sequence[Logged],
    table: Callable[[str], pd.DataFrame],
    batch: int | None = None,
    listener: Listener = SILENT,
) -> list[Replayed]:
    """Compute suggestions again, in order.

    Args:
        log: all events.
        table: the table of candidates by its sha256, as `State.of` takes it.
        batch: number of one; all by default.
        listener: told what it is at.
    """
    found = []
    for event in (entry.event for entry in log):
        if isinstance(event, Suggested) and batch in (None, event.batch):
            known = State.of(log[: event.basis], table)
            again = propose(
                known,
                event.asked,
                request=event.request,
                fresh=event.fresh,
                extends=event.batch == known.batch,
                limited=event.limited,
                together=event.together,
                screened=event.screened,
                listener=listener,
            )
            found.append(Replayed(event.batch, event, again))
    return found


def _numbers(suggestion: Suggestion) -> list[float]:
    found = (suggestion.mean, suggestion.low, suggestion.high, suggestion.chance)
    return [number for number in found if number is not None]


def _close(a: float, b: float) -> bool:
    return abs(a - b) <= AGREE * max(1.0, abs(a), abs(b))
