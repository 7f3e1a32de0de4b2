"""Candidates as components: what each column holds, once for each different cell.

Columns that rename each other, such as a ligand's name and its SMILES, are one component, with all
their slots; so are whole rows. A table of thousands of rows has a few dozen levels, so distances
are computed between those.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

from gollum.features.layout import Blocks, Layout, Slot

Rows = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Distances:
    """Squared distances in S slots between n and m rows, which share levels.

    Attributes:
        parts: of each component S_c x L x M, between its levels.
        left: of each component, which level each of the n rows has; None where L is n.
        right: the same of the m rows.
        inherited: n x m, how what source tasks leave open covaries; None without sources.
    """

    parts: tuple[Tensor, ...]
    left: tuple[Tensor | None, ...]
    right: tuple[Tensor | None, ...]
    inherited: Tensor | None = None

    def expanded(self, component: int, values: Tensor) -> Tensor:
        """What is known between levels, … x L x M, between rows, … x n x m."""
        values, codes = self.columns(component, values), self.left[component]
        return values if codes is None else values.index_select(-2, codes)

    def columns(self, component: int, values: Tensor) -> Tensor:
        """What is known between levels, … x L x M, from these to the m rows, … x L x m."""
        codes = self.right[component]
        return values if codes is None else values.index_select(-1, codes)


@dataclass(frozen=True, eq=False)
class Expected:
    """What source tasks say of n rows.

    Attributes:
        mean: n x K, of all sources together, and what each says beyond that.
        variance: n, of what they say together.
        points: the rows in features that they share with the sources.
        rows: their positions among the candidates; None of rows that are none.
    """

    mean: Tensor
    variance: Tensor
    points: Points
    rows: Rows | None = None

    def at(self, rows: Rows) -> Expected:
        """That of some of the rows."""
        places = torch.as_tensor(rows)
        held = None if self.rows is None else self.rows[rows]
        return Expected(self.mean[places], self.variance[places], self.points.at(rows), held)

    def followed(self, behind: Expected) -> Expected:
        """That of these rows and others behind them."""
        return Expected(
            torch.cat([self.mean, behind.mean]),
            torch.cat([self.variance, behind.variance]),
            self.points.followed(behind.points),
        )

    def scaled(self, factor: float, shift: float) -> Expected:
        """The same in other units: factor · value + shift."""
        mean = factor * self.mean
        mean[:, 0] += shift
        return replace(self, mean=mean, variance=factor**2 * self.variance)


@dataclass(frozen=True, eq=False)
class Points:
    """Rows in the features of their components.

    Attributes:
        layout: the S slots.
        groups: positions of the slots of each component.
        values: of each slot, features of the levels, L x d.
        codes: of each component, which level each of n rows has; None where each has its own.
        size: n.
        expected: what source tasks say of them; None without sources.
    """

    layout: Layout
    groups: tuple[tuple[int, ...], ...]
    values: tuple[NDArray[Any], ...]
    codes: tuple[Rows | None, ...]
    size: int
    expected: Expected | None = None

    @classmethod
    def of(cls, blocks: Blocks) -> Points:
        """A pool's candidates."""
        every = np.arange(len(blocks))
        found: dict[bytes, tuple[Rows, list[int]]] = {}
        for slot, part in enumerate(blocks.parts):
            codes = pd.factorize(every if part.codes is None else part.codes)[0].astype(np.int64)
            found.setdefault(codes.tobytes(), (codes, []))[1].append(slot)
        values: list[NDArray[Any]] = [part.values for part in blocks.parts]
        for codes, slots in found.values():
            first = np.unique(codes, return_index=True)[1]
            for slot in slots:
                values[slot] = blocks.parts[slot].of(first)
        return cls(
            blocks.layout,
            tuple(tuple(slots) for _, slots in found.values()),
            tuple(values),
            tuple(codes for codes, _ in found.values()),
            len(every),
        )

    def __len__(self) -> int:
        return self.size

    def at(self, rows: Rows) -> Points:
        """Some of the rows, with the levels that they have."""
        values, codes = list(self.values), list[Rows | None]()
        for slots, every in zip(self.groups, self.codes, strict=True):
            held = rows if every is None else every[rows]
            levels, back = np.unique(held, return_inverse=True)
            few = 2 * len(levels) <= len(rows)
            codes.append(back.astype(np.int64) if few else None)
            for slot in slots:
                values[slot] = self.values[slot][levels if few else held]
        expected = None if self.expected is None else self.expected.at(rows)
        return Points(self.layout, self.groups, tuple(values), tuple(codes), len(rows), expected)

    def other(self, matrix: NDArray[Any]) -> Points:
        """Other rows, by their features m x d."""
        ends = np.cumsum([slot.size for slot in self.layout]).tolist()
        values = (matrix[:, e - s.size : e] for s, e in zip(self.layout, ends, strict=True))
        alone = (None,) * len(self.groups)
        return Points(self.layout, self.groups, tuple(values), alone, len(matrix))

    def followed(self, behind: Points) -> Points:
        """These rows and behind them others, each of which has levels of its own."""
        values, codes = list(self.values), list[Rows | None]()
        for slots, every in zip(self.groups, self.codes, strict=True):
            levels = len(self.values[slots[0]])
            new = np.arange(levels, levels + len(behind))
            codes.append(None if every is None else np.concatenate([every, new]))
            for slot in slots:
                values[slot] = np.concatenate([self.values[slot], behind.values[slot]])
        expected = None
        if self.expected is not None and behind.expected is not None:
            expected = self.expected.followed(behind.expected)
        size = len(self) + len(behind)
        return Points(self.layout, self.groups, tuple(values), tuple(codes), size, expected)

    def distances(self, other: Points) -> Distances:
        """Squared distances from each of these rows to each of the others."""
        parts = tuple(
            torch.stack(
                [
                    squared_distances(self.layout.slots[s], self.values[s], other.values[s])
                    for s in slots
                ]
            )
            for slots in self.groups
        )
        left, right = (
            tuple(None if codes is None else torch.from_numpy(codes) for codes in points.codes)
            for points in (self, other)
        )
        return Distances(parts, left, right)

    def changes(self, rows: Rows, others: Rows) -> Tensor:
        """Squared distances in each slot from the i-th of k rows to the i-th of others; S x k."""
        found: list[Tensor] = [torch.empty(0)] * len(self.layout)
        for slots, codes in zip(self.groups, self.codes, strict=True):
            pair = [r if codes is None else codes[r] for r in (rows, others)]
            for s in slots:
                a, b = (self.values[s][held] for held in pair)
                found[s] = squared_distances(self.layout.slots[s], a, b, pairs=True)
        return torch.stack(found)


def squared_distances(slot: Slot, a: NDArray[Any], b: NDArray[Any], pairs: bool = False) -> Tensor:
    """Squared distances in a slot, whose mean over the pool is about 1 or below.

    Of bits, 2(1 − T) with Tanimoto's similarity T, which is 1 of two that have none.

    Args:
        slot: the slot.
        a: n x d.
        b: m x d, or n x d for pairs.
        pairs: whether the i-th of one is compared with the i-th of the other alone.

    Returns:
        n x m; n of pairs.
    """
    x, y = (torch.as_tensor(np.asarray(points, dtype=np.float64)) for points in (a, b))
    lengths = [points.square().sum(-1) for points in (x, y)]
    both = lengths[0] + lengths[1] if pairs else lengths[0].unsqueeze(-1) + lengths[1]
    common = (x * y).sum(-1) if pairs else x @ y.T
    if slot.form == "bits":
        found: Tensor = 2.0 * (1.0 - common / (both - common).clamp_min(1.0))
        return torch.where(both == 0.0, 0.0, found)
    near: Tensor = (both - 2.0 * common).clamp_min(0.0) / (2.0 * (slot.spread or 1.0))
    return near
