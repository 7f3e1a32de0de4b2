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
from functools import partial

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from gollum.acquisition.batch import gains
from gollum.acquisition.limits import Rows
from gollum.acquisition.scoring import Aim, score
from gollum.acquisition.strategy import BatchRequest, Space
from gollum.surrogates.base import Fitted

STARTS = 4  # besides the batch
MEMBERS = 16  # of a batch that move
ROUNDS, DRAWN = 10, 64
REACH, SHRINK = 0.25, 0.6  # of the first box in each direction; from box to box

Gain = Callable[[pd.DataFrame, int], Tensor]


@torch.no_grad()
def moved(
    fitted: Fitted, request: BatchRequest, space: Space, aim: Aim, batch: Rows
) -> pd.DataFrame:
    """Experiments between the candidates that are worth more than those that they start from.

    Args:
        fitted: the surrogate.
        request: what was asked for.
        space: what may be tried.
        aim: the acquisition criterion.
        batch: positions of the best batch of candidates.

    Returns:
        m x k inputs; the index holds provisional ids.

    Raises:
        DataError: the surrogate can't predict other rows than its pool's.
    """
    seed, found = request.ties or (), list[pd.DataFrame]()
    members = [row for row in batch if row not in request.done][:MEMBERS]
    away = dict[int, pd.DataFrame]()  # members that moved → where to
    for row in members:
        held = [other for other in batch if other != row and other not in away]
        assumed = np.concatenate([request.pending, np.array(held, dtype=np.int64)])
        gain = partial(_gain, fitted, aim, request, assumed, dict(away))
        if (better := _climbed(fitted, row, gain, space, seed)) is not None:
            away[row] = better
    alone = partial(_gain, fitted, aim, request, request.pending, {})
    for row in _starts(fitted, request, aim, members):
        if (better := _climbed(fitted, row, alone, space, seed)) is not None:
            found.append(better)
    every = pd.concat([fitted.pool.table[:0], *away.values(), *found])
    return _named(every.drop_duplicates())


def _starts(fitted: Fitted, request: BatchRequest, aim: Aim, members: Sequence[int]) -> list[int]:
    """The best candidates by themselves that are no members of the batch."""
    rows = np.setdiff1d(request.rows, [*members, *request.done])
    best = score(fitted, rows, aim).topk(min(STARTS, len(rows))).indices
    found: list[int] = rows[best.cpu().numpy()].tolist()
    return found


def _climbed(
    fitted: Fitted, row: int, gain: Gain, space: Space, seed: Sequence[int]
) -> pd.DataFrame | None:
    """Where a search from a candidate ends; None where nothing near is better."""
    start = at = fitted.pool.table.iloc[[row]]
    for number in range(ROUNDS):
        around = space.near(at, REACH * SHRINK**number, DRAWN, (*seed, row, number))
        if len(around):
            tried = pd.concat([at, around])
            best = int(gain(tried, row).argmax())
            at = tried.iloc[[best]]
    return None if at is start or at.equals(start) else at


def _gain(
    fitted: Fitted,
    aim: Aim,
    request: BatchRequest,
    assumed: Rows,
    others: Mapping[int, pd.DataFrame],
    tried: pd.DataFrame,
    start: int,
) -> Tensor:
    """What each of m experiments is worth when candidates and others are done as well; m."""
    known = np.union1d(np.unique(fitted.rows), assumed).astype(np.int64)
    like = np.array([*others, *[start] * len(tried)], dtype=np.int64)
    model = fitted.over(known, _named(pd.concat([*others.values(), tried])), like)
    rows = np.arange(len(known), len(model.pool))
    before = model.pool.positions(fitted.pool.ids[assumed])
    every = np.concatenate([before, rows[: len(others)]])
    size = len(request.pending) + request.count
    return gains(model, every, size, aim, request.ties or ())(rows[len(others) :])


def _named(rows: pd.DataFrame) -> pd.DataFrame:
    """Rows with ids that no candidate of a campaign can have."""
    index = pd.Index([f"~{i}" for i in range(len(rows))], name=rows.index.name)
    return rows.set_axis(index, axis=0)
