"""Moves from candidates to better ones between them: local search under the acquisition.

The best candidates are starts. Around each, a box of the space is drawn from, the best of the draws
is the next middle, and the box shrinks: a random search in a trust region. It needs no gradients,
which features of words don't have, and nothing has to be rounded or repaired, as a space draws only
what can be set and keeps all rules. An experiment of the batch moves as if all others of it were
done, so that the batch improves as a whole, by one coordinate after the other. On the way the words
of whole rows are those of the start; what is found is then read and compared as any candidate.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Protocol

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from gollum.acquisition.batch import gains
from gollum.acquisition.limits import Rows
from gollum.acquisition.scoring import Aim
from gollum.acquisition.strategy import BatchRequest, Space
from gollum.data.pool import Pool
from gollum.surrogates.base import Fitted

STARTS = 4  # besides the batch
MEMBERS = 16  # of a batch that move
ROUNDS, DRAWN = 10, 64
REACH, SHRINK = 0.25, 0.6  # of the first box in each direction; from box to box

Gain = Callable[[pd.DataFrame, int], Tensor]


class Pursuit(Protocol):
    """What experiments are tried for, with the models that tell how much they bring."""

    @property
    def pool(self) -> Pool:
        """The candidates."""
        ...

    @property
    def measured(self) -> Rows:
        """Candidates with a result, each once."""
        ...

    def over(self, rows: Rows, table: pd.DataFrame, like: Rows) -> Pursuit:
        """The same over some rows of the pool, followed by others, as `Fitted.over`.

        Raises:
            DataError: a model can't predict other rows than its pool's.
        """
        ...

    def worth(self, rows: Rows, assumed: Rows, size: int, seed: Sequence[int]) -> Tensor:
        """What each of m candidates brings when others are tried as well, up to `size` in all; m.

        Args:
            rows: m candidates.
            assumed: these others.
            size: how many may be assumed.
            seed: names samples.
        """
        ...


@dataclass(frozen=True, eq=False)
class One:
    """One objective, within the limits of other outcomes.

    Attributes:
        fitted: its model.
        aim: the acquisition criterion, with the limits.
    """

    fitted: Fitted
    aim: Aim

    @property
    def pool(self) -> Pool:
        """The candidates."""
        return self.fitted.pool

    @property
    def measured(self) -> Rows:
        """Those with a result of the objective or of what has limits."""
        models = [self.fitted, *(constraint.fitted for constraint in self.aim.constraints)]
        return np.unique(np.concatenate([model.rows for model in models]))

    def over(self, rows: Rows, table: pd.DataFrame, like: Rows) -> One:
        """All models over these."""
        limits = tuple(limit.over(rows, table, like) for limit in self.aim.constraints)
        aim = replace(self.aim, constraints=limits)
        return replace(self, fitted=self.fitted.over(rows, table, like), aim=aim)

    def worth(self, rows: Rows, assumed: Rows, size: int, seed: Sequence[int]) -> Tensor:
        """By the criterion."""
        return gains(self.fitted, assumed, size, self.aim, seed)(rows)


@torch.no_grad()
def moved(pursuit: Pursuit, request: BatchRequest, space: Space, batch: Rows) -> pd.DataFrame:
    """Experiments between the candidates that are worth more than those that they start from.

    Args:
        pursuit: what they are worth.
        request: what was asked for.
        space: what may be tried.
        batch: positions of the best batch of candidates.

    Returns:
        m x k inputs; the index holds provisional ids.

    Raises:
        DataError: a surrogate can't predict other rows than its pool's.
    """
    seed, found = request.ties or (), list[pd.DataFrame]()
    members = [row for row in batch if row not in request.done][:MEMBERS]
    away = dict[int, pd.DataFrame]()  # members that moved → where to
    for row in members:
        held = [other for other in batch if other != row and other not in away]
        assumed = np.concatenate([request.pending, np.array(held, dtype=np.int64)])
        gain = partial(_gain, pursuit, request, assumed, dict(away))
        if (better := _climbed(pursuit, row, gain, space, seed)) is not None:
            away[row] = better
    alone = partial(_gain, pursuit, request, request.pending, {})
    for row in _starts(pursuit, request, members):
        if (better := _climbed(pursuit, row, alone, space, seed)) is not None:
            found.append(better)
    every = pd.concat([pursuit.pool.table[:0], *away.values(), *found])
    return _named(every.drop_duplicates())


def _starts(pursuit: Pursuit, request: BatchRequest, members: Sequence[int]) -> list[int]:
    """The best candidates by themselves that are no members of the batch."""
    rows = np.setdiff1d(request.rows, [*members, *request.done])
    values = pursuit.worth(rows, rows[:0], 0, request.ties or ())
    best = values.topk(min(STARTS, len(rows))).indices
    found: list[int] = rows[best.cpu().numpy()].tolist()
    return found


def _climbed(
    pursuit: Pursuit, row: int, gain: Gain, space: Space, seed: Sequence[int]
) -> pd.DataFrame | None:
    """Where a search from a candidate ends; None where nothing near is better."""
    start = at = pursuit.pool.table.iloc[[row]]
    for number in range(ROUNDS):
        around = space.near(at, REACH * SHRINK**number, DRAWN, (*seed, row, number))
        if len(around):
            tried = pd.concat([at, around])
            best = int(gain(tried, row).argmax())
            at = tried.iloc[[best]]
    return None if at is start or at.equals(start) else at


def _gain(
    pursuit: Pursuit,
    request: BatchRequest,
    assumed: Rows,
    others: Mapping[int, pd.DataFrame],
    tried: pd.DataFrame,
    start: int,
) -> Tensor:
    """What each of m experiments is worth when candidates and others are done as well; m."""
    known = np.union1d(pursuit.measured, assumed).astype(np.int64)
    like = np.array([*others, *[start] * len(tried)], dtype=np.int64)
    model = pursuit.over(known, _named(pd.concat([*others.values(), tried])), like)
    rows = np.arange(len(known), len(model.pool))
    before = model.pool.positions(pursuit.pool.ids[assumed])
    every = np.concatenate([before, rows[: len(others)]])
    size = len(request.pending) + request.count
    return model.worth(rows[len(others) :], every, size, request.ties or ())


def _named(rows: pd.DataFrame) -> pd.DataFrame:
    """Rows with ids that no candidate of a campaign can have."""
    index = pd.Index([f"~{i}" for i in range(len(rows))], name=rows.index.name)
    return rows.set_axis(index, axis=0)
