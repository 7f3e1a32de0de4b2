"""Combinations of options that keep within bounds: counted before any of them is made.

Every rule is a bound on a sum: each option of a factor adds a whole number, and what they add stays
between two limits. `a + b <= 10` is one; 'not both dppf and 80' says that of two conditions at most
one is met; 'at most 2 of these' that of what is present.

Factors that bounds tie together are a block. Its factors are taken one after the other, and those
of the choices so far after which the same ones can follow are one state. The states and what leads
from one to the next are a decision diagram (Bergman, Ciré, van Hoeve & Hooker 2016), whose paths
are the combinations. Counted from its end, it gives their number, draws in which all are equally
likely, and a list that meets no dead end, in memory for the diagram and what is asked for alone.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gollum.errors import GollumError

MOST_LINKS = 20_000_000  # of a block: states times options, over its factors
PIECE = 2_000_000  # of these at a time

Integers = NDArray[np.int64]
Codes = NDArray[np.int32]


class EntangledError(GollumError):
    """Bounds tie factors together in more ways than can be looked at."""


@dataclass(frozen=True, eq=False)
class Bound:
    """What the options of some factors add stays between two limits.

    Attributes:
        adds: place of a factor → what each of its options adds.
        low: the smallest sum that is allowed.
        high: the largest.
    """

    adds: Mapping[int, Integers]
    low: int
    high: int

    @classmethod
    def of(
        cls, adds: Mapping[int, Integers], low: int | None = None, high: int | None = None
    ) -> Bound:
        """A bound with one limit or two, as tight as what can be reached."""
        least, most = (sum(int(pick(a)) for a in adds.values()) for pick in (np.min, np.max))
        return cls(
            adds,
            least if low is None else max(low, least),
            most if high is None else min(high, most),
        )

    def moved(self, by: int) -> Bound:
        """The same for factors that stand so many places behind."""
        return Bound({place + by: adds for place, adds in self.adds.items()}, self.low, self.high)


@dataclass(frozen=True, eq=False)
class _Links:
    """What leads from the states before a factor to those behind it, ordered by the former.

    Attributes:
        first: S + 1 positions; the links of state s are those from first[s] to first[s + 1].
        option: of each link, the option that is taken.
        child: the state that it leads to.
        ways: of each state behind, in how many ways one can go on from there.
    """

    first: Integers
    option: Codes
    child: Codes
    ways: NDArray[np.float64]

    def extended(self, codes: Codes, states: Codes) -> tuple[Codes, Codes]:
        """All ways to go on from each of n partial combinations, in order."""
        begin, count = self.first[states], np.diff(self.first)[states]
        row = np.repeat(np.arange(len(states)), count)
        link = np.arange(len(row)) + np.repeat(begin - (np.cumsum(count) - count), count)
        return np.column_stack([codes[row], self.option[link]]), self.child[link]

    def drawn(self, states: Codes, rng: np.random.Generator) -> tuple[Codes, Codes]:
        """One way to go on from each of n states, as likely as it has ways to end."""
        up_to = np.concatenate([[0.0], np.cumsum(self.ways[self.child])])
        begin, end = self.first[states], self.first[states + 1]
        at = up_to[begin] + rng.random(len(states)) * (up_to[end] - up_to[begin])
        link = np.clip(np.searchsorted(up_to, at, side="right") - 1, begin, end - 1)
        return self.option[link], self.child[link]


class Block:
    """Factors that bounds tie together.

    Args:
        places: of the f factors, in order.
        sizes: how many options each factor of the grid has.
        bounds: that hold among them.

    Attributes:
        count: how many combinations keep the bounds; exact up to 2^53.

    Raises:
        EntangledError: the diagram would be too large.
    """

    def __init__(
        self, places: Sequence[int], sizes: Sequence[int], bounds: Sequence[Bound]
    ) -> None:
        self.places, self.bounds = tuple(places), tuple(bounds)
        states, made = np.zeros((1, len(bounds)), dtype=np.int64), 0
        followed = list[tuple[Codes, Codes, Codes, int]]()
        rests = [_rests(bound, self.places) for bound in bounds]
        for depth, place in enumerate(self.places):
            made += len(states) * sizes[place]
            if made > MOST_LINKS:
                raise EntangledError
            before, ahead = len(states), [rest[depth + 1] for rest in rests]
            parent, option, child, states = _followed(states, place, sizes[place], bounds, ahead)
            followed.append((parent, option, child, before))
        ways: NDArray[np.float64] = np.ones(len(states))
        self._links = list[_Links]()
        for parent, option, child, before in reversed(followed):
            alive = ways[child] > 0
            parent, option, child = parent[alive], option[alive], child[alive]
            first = np.searchsorted(parent, np.arange(before + 1))
            self._links.insert(0, _Links(first, option, child, ways))
            ways = np.bincount(parent, ways[child], before).astype(np.float64)
        self.count = int(ways[0])

    def all(self) -> Codes:
        """All combinations, count x f places of options; the first factor varies slowest."""
        codes, states = np.zeros((1, 0), dtype=np.int32), np.zeros(1, dtype=np.int32)
        for links in self._links:
            codes, states = links.extended(codes, states)
        return codes

    def draw(self, n: int, rng: np.random.Generator) -> Codes:
        """Draw n combinations, all equally likely each time: n x f places of options."""
        codes, states = list[Codes](), np.zeros(n, dtype=np.int32)
        for links in self._links:
            option, states = links.drawn(states, rng)
            codes.append(option)
        return np.column_stack(codes)


def _rests(bound: Bound, places: Sequence[int]) -> list[Integers | None]:
    """What the factors from each on can add up to, sorted; None where that is too much to list."""
    rests: list[Integers | None] = [np.zeros(1, dtype=np.int64)]
    for place in reversed(places):
        rest, adds = rests[0], np.unique(bound.adds.get(place, 0))
        if rest is not None and len(rest) * len(adds) <= PIECE:
            rests.insert(0, np.unique(np.add.outer(rest, adds)))
        else:
            rests.insert(0, None)
    return rests


def _followed(
    states: Integers,
    place: int,
    size: int,
    bounds: Sequence[Bound],
    ahead: Sequence[Integers | None],
) -> tuple[Codes, Codes, Codes, Integers]:
    """Links over a factor that can end well: parent, option and child of each, and the children.

    Args:
        states: S x bounds sums so far.
        place: of the factor.
        size: how many options it has.
        bounds: all of them.
        ahead: for each, what the factors behind this one can add.
    """
    touched = [i for i, bound in enumerate(bounds) if place in bound.adds]
    same = [states[:, i] for i in range(len(bounds)) if i not in touched]
    kin, step = _numbered(same, len(states)), max(1, PIECE // size)
    pieces, known = list[tuple[Codes, Codes, Integers]](), states[:0]
    for begin in range(0, max(1, len(states)), step):
        piece = states[begin : begin + step]
        alive = np.ones((len(piece), size), dtype=bool)
        columns = dict[int, Integers]()
        for i in touched:
            sums = piece[:, [i]] + bounds[i].adds[place]
            fine, columns[i] = _alike(sums, bounds[i], ahead[i])
            alive &= fine
        parent, option = np.nonzero(alive)
        parts = {i: column[alive] for i, column in columns.items()}
        child = _numbered([kin[begin + parent], *parts.values()], len(parent))
        own = np.unique(child, return_index=True)[1]
        new = piece[parent[own]]
        for i, part in parts.items():
            new[:, i] = part[own]
        links = (begin + parent).astype(np.int32), option.astype(np.int32), len(known) + child
        pieces.append(links)
        known = np.concatenate([known, new])
    parents, options, children = (np.concatenate(column) for column in zip(*pieces, strict=True))
    number = _numbered(list(known.T), len(known))
    after = known[np.unique(number, return_index=True)[1]]
    return parents, options, number[children].astype(np.int32), after


def _alike(
    sums: Integers, bound: Bound, ahead: Integers | None
) -> tuple[NDArray[np.bool_], Integers]:
    """Which sums can still end within a bound, and one sum for all that the same can follow."""
    if ahead is None:
        return np.ones(sums.shape, dtype=bool), sums
    begin = np.searchsorted(ahead, bound.low - sums, side="left")
    end = np.searchsorted(ahead, bound.high - sums, side="right")
    largest = bound.high - ahead[end - 1]
    smallest = bound.low - ahead[np.minimum(begin, len(ahead) - 1)]
    one = np.where(begin == 0, largest, np.where(end == len(ahead), smallest, sums))
    return begin < end, one


def _numbered(columns: Iterable[Integers], rows: int) -> Integers:
    """Rows by number, alike ones by the same: 0, 1, … in order of first appearance."""
    number = np.zeros(rows, dtype=np.int64)
    for column in columns:
        codes, levels = pd.factorize(column)
        if len(levels) > 1:
            number = pd.factorize(number * len(levels) + codes)[0]
    return number


class Grid:
    """All combinations of the options of some factors that keep within bounds.

    Args:
        sizes: how many options each of the k factors has.
        blocks: of these factors; each by itself where nothing ties them together.
    """

    def __init__(self, sizes: Sequence[int], blocks: Sequence[Block] | None = None) -> None:
        self.sizes = tuple(sizes)
        usual = (Block([place], self.sizes, []) for place in range(len(self.sizes)))
        self.blocks = tuple(usual if blocks is None else blocks)

    def within(self, *bounds: Bound) -> Grid:
        """The combinations of these that keep further bounds, which are not empty.

        Raises:
            EntangledError: there are too many ways in which they do.
        """
        if not bounds:
            return self
        first, *others = bounds
        touched = [block for block in self.blocks if set(block.places) & first.adds.keys()]
        places = sorted(place for block in touched for place in block.places)
        known = [bound for block in touched for bound in block.bounds]
        one = Block(places, self.sizes, [*known, first])
        rest = [block for block in self.blocks if block not in touched]
        return Grid(self.sizes, sorted([*rest, one], key=lambda b: b.places)).within(*others)

    @cached_property
    def total(self) -> int:
        """How many there are."""
        return math.prod(block.count for block in self.blocks)

    def all(self) -> Codes:
        """All of them, total x k places of options; the first factor varies slowest."""
        numbers = np.unravel_index(np.arange(self.total), [b.count for b in self.blocks])
        pairs = zip(self.blocks, numbers, strict=True)
        return self._ordered([block.all()[number] for block, number in pairs])

    def draw(self, n: int, seed: int) -> Codes:
        """Draw n different ones, every choice of n equally likely: n x k places of options.

        The first factor varies slowest. There must be as many.
        """
        rng = np.random.default_rng(seed)
        if self.total <= 2 * n:
            return self.all()[np.sort(rng.choice(self.total, n, replace=False))]
        found = pd.DataFrame()
        while len(found) < n:
            more = np.column_stack([block.draw(n, rng) for block in self.blocks])
            found = pd.concat([found, pd.DataFrame(more)]).drop_duplicates()
        codes = found.to_numpy(dtype=np.int32)[:n]
        return self._ordered([codes])

    def _ordered(self, parts: Sequence[Codes]) -> Codes:
        """Rows with one column per factor, in the factors' order, sorted."""
        places = [place for block in self.blocks for place in block.places]
        codes = np.column_stack(parts)[:, np.argsort(places)]
        if len(parts) > 1 and all(a < b for a, b in pairwise(places)):
            return codes
        return codes[np.lexsort(codes.T[::-1])]
