"""Combinations of options that keep within bounds: counted before any of them is made.

Every rule is a bound on a sum: each option of a factor adds a whole number, and what they add stays
between two limits. `a + b <= 10` is one; 'not both dppf and 80' says that of two conditions at most
one is met; 'at most 2 of these' that of what is present.

Factors that bounds tie together are a block. A small one is a table of what is allowed. The factors
of a large one are taken one after the other, and those of the choices so far after which the same
ones can follow are one state. The states and what leads from one to the next are a decision diagram
(Bergman, Ciré, van Hoeve & Hooker 2016), whose paths are the combinations. Counted from its end, it
gives their number, draws in which all are equally likely, and a list that meets no dead end, in
memory for the diagram and what is asked for alone.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, reduce
from itertools import pairwise
from typing import Protocol

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gollum.errors import GollumError

SMALL = 1_000_000  # cells of a table
MOST_LINKS = 20_000_000  # of a block: states times options and rules, over its factors
PIECE = 2_000_000  # of these at a time

Integers = NDArray[np.int64]
Codes = NDArray[np.int32]
Flags = NDArray[np.bool_]
Tables = Mapping[tuple[int, ...], Flags]  # places of factors, in order → which options go together


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

    @property
    def places(self) -> tuple[int, ...]:
        """Of its factors, in order."""
        return tuple(sorted(self.adds))

    def table(self) -> Flags:
        """Which of their options go together."""
        sums = reduce(np.add.outer, (self.adds[place] for place in self.places))
        return (sums >= self.low) & (sums <= self.high)

    def moved(self, by: int) -> Bound:
        """The same for factors that stand so many places behind."""
        return Bound({place + by: adds for place, adds in self.adds.items()}, self.low, self.high)


@dataclass(frozen=True, eq=False)
class Together:
    """Which options of some factors go together, as a table.

    Attributes:
        places: of the factors, in order.
        flags: one for each combination of their options.
    """

    places: tuple[int, ...]
    flags: Flags

    def table(self) -> Flags:
        """Which of their options go together."""
        return self.flags


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


class Block(Protocol):
    """Factors that bounds tie together, and their f places."""

    places: tuple[int, ...]
    count: int
    """How many combinations keep the bounds; exact up to 2^53."""

    def all(self) -> Codes:
        """All combinations, count x f places of options; the first factor varies slowest."""
        ...

    def draw(self, n: int, rng: np.random.Generator) -> Codes:
        """Draw n combinations, all equally likely each time: n x f places of options."""
        ...


class _Table:
    """A block that is listed."""

    def __init__(self, places: tuple[int, ...], sizes: Sequence[int], tables: Tables) -> None:
        self.places = places
        self._allowed = np.ones([sizes[place] for place in places], dtype=bool)
        for known, allowed in tables.items():
            self._allowed &= allowed.reshape([sizes[p] if p in known else 1 for p in places])
        self.count = int(np.count_nonzero(self._allowed))

    def all(self) -> Codes:
        return np.argwhere(self._allowed).astype(np.int32)

    def draw(self, n: int, rng: np.random.Generator) -> Codes:
        cells = rng.choice(np.flatnonzero(self._allowed), n)
        return np.column_stack(np.unravel_index(cells, self._allowed.shape)).astype(np.int32)


class _Diagram:
    """A block that is too large for that.

    Raises:
        EntangledError: the diagram would be too large as well.
    """

    def __init__(
        self,
        places: tuple[int, ...],
        sizes: Sequence[int],
        tables: Tables,
        bounds: Iterable[Bound],
    ) -> None:
        self.places = places
        rules: list[_Rule] = [_Cells(known, allowed) for known, allowed in tables.items()]
        rules += [_Sums(bound, places) for bound in bounds]
        states, made = np.zeros((1, len(rules)), dtype=np.int64), 0
        followed = list[tuple[Codes, Codes, Codes, int]]()
        for place in places:
            made += len(states) * (sizes[place] + len(rules))
            if made > MOST_LINKS:
                raise EntangledError
            before = len(states)
            parent, option, child, states = _followed(states, place, sizes[place], rules)
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
        codes, states = np.zeros((1, 0), dtype=np.int32), np.zeros(1, dtype=np.int32)
        for links in self._links:
            codes, states = links.extended(codes, states)
        return codes

    def draw(self, n: int, rng: np.random.Generator) -> Codes:
        codes, states = list[Codes](), np.zeros(n, dtype=np.int32)
        for links in self._links:
            option, states = links.drawn(states, rng)
            codes.append(option)
        return np.column_stack(codes)


class _Rule(Protocol):
    """What a diagram minds: a number says what matters of the choices so far, 0 at first."""

    places: tuple[int, ...]

    def after(self, numbers: Integers, place: int) -> tuple[Flags, Integers]:
        """Which options of a factor can end well after S such numbers, and the numbers then.

        Both are S x n; what can be followed by the same has the same number.
        """
        ...


class _Sums:
    """A bound; the number is the sum so far."""

    def __init__(self, bound: Bound, places: Sequence[int]) -> None:
        self.places, self._bound = bound.places, bound
        own = [place for place in places if place in bound.adds]
        rest: Integers | None = np.zeros(1, dtype=np.int64)
        self._ahead = dict[int, Integers | None]()  # what the factors behind this one can add
        for place in reversed(own):
            self._ahead[place], adds = rest, np.unique(bound.adds[place])
            few = rest is not None and len(rest) * len(adds) <= PIECE
            rest = np.unique(np.add.outer(rest, adds)) if rest is not None and few else None

    def after(self, numbers: Integers, place: int) -> tuple[Flags, Integers]:
        low, high, ahead = self._bound.low, self._bound.high, self._ahead[place]
        sums = numbers[:, None] + self._bound.adds[place]
        if ahead is None:  # too many to list
            return np.ones(sums.shape, dtype=bool), sums
        begin = np.searchsorted(ahead, low - sums, side="left")
        end = np.searchsorted(ahead, high - sums, side="right")
        largest, smallest = high - ahead[end - 1], low - ahead[np.minimum(begin, len(ahead) - 1)]
        alike = np.where(begin == 0, largest, np.where(end == len(ahead), smallest, sums))
        return begin < end, alike


class _Cells:
    """A table; the number stands for what is allowed after the choices so far, -1 for nothing."""

    def __init__(self, places: tuple[int, ...], allowed: Flags) -> None:
        self.places = places
        self._next = dict[int, Integers]()
        kinds, after = allowed.ravel().astype(np.int64) - 1, allowed.reshape(-1, 1)
        for place, size in reversed(list(zip(places, allowed.shape, strict=True))):
            options, after = kinds.reshape(-1, size), after.reshape(len(after) // size, -1)
            number = _numbered(list(options.T), len(options))
            own = np.unique(number, return_index=True)[1]
            self._next[place] = options[own]
            kinds = np.where(after.any(axis=1), number, -1)

    def after(self, numbers: Integers, place: int) -> tuple[Flags, Integers]:
        found = self._next[place][numbers]
        return found >= 0, found


def _followed(
    states: Integers, place: int, size: int, rules: Sequence[_Rule]
) -> tuple[Codes, Codes, Codes, Integers]:
    """Links over a factor that can end well: parent, option and child of each, and the children.

    Args:
        states: S x rules numbers so far.
        place: of the factor.
        size: how many options it has.
        rules: all of them.
    """
    touched = [i for i, rule in enumerate(rules) if place in rule.places]
    same = [states[:, i] for i in range(len(rules)) if i not in touched]
    kin, step = _numbered(same, len(states)), max(1, PIECE // size)
    pieces, known = list[tuple[Codes, Codes, Integers]](), states[:0]
    for begin in range(0, max(1, len(states)), step):
        piece = states[begin : begin + step]
        alive = np.ones((len(piece), size), dtype=bool)
        columns = dict[int, Integers]()
        for i in touched:
            fine, columns[i] = rules[i].after(piece[:, i], place)
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
        tables: which options go together, where few factors or options do.
        bounds: on the others.
    """

    def __init__(
        self, sizes: Sequence[int], tables: Tables | None = None, bounds: Iterable[Bound] = ()
    ) -> None:
        self.sizes, self.tables, self.bounds = tuple(sizes), tables or {}, tuple(bounds)

    def within(self, *bounds: Bound | Together) -> Grid:
        """Those of the combinations that keep further bounds."""
        tables, large = dict(self.tables), list(self.bounds)
        for bound in bounds:
            if isinstance(bound, Together) or self._cells(bound.places) <= SMALL:
                tables[bound.places] = tables.get(bound.places, True) & bound.table()
            else:
                large.append(bound)
        return Grid(self.sizes, tables, large)

    def part(self, stretches: Sequence[slice]) -> Grid:
        """Those with an option from a stretch of each factor's, whose places count from there."""
        sizes = [len(range(*s.indices(n))) for s, n in zip(stretches, self.sizes, strict=True)]
        tables = {
            known: table[tuple(stretches[place] for place in known)]
            for known, table in self.tables.items()
        }
        bounds = (
            Bound({p: adds[stretches[p]] for p, adds in b.adds.items()}, b.low, b.high)
            for b in self.bounds
        )
        return Grid(sizes, tables).within(*bounds)

    def loses(self, *bounds: Bound | Together) -> bool:
        """Whether bounds rule out what those here leave that are on the same factors only.

        Raises:
            EntangledError: that is too much to look at.
        """
        places = tuple(sorted({place for bound in bounds for place in bound.places}))
        return self.within(*bounds)._block(places).count < self._block(places).count

    @cached_property
    def blocks(self) -> tuple[Block, ...]:
        """Factors that bounds tie together; each by itself where none does.

        Raises:
            EntangledError: a block is too large.
        """
        groups = [{place} for place in range(len(self.sizes))]
        for tied in (*self.tables, *(bound.places for bound in self.bounds)):
            touched = [group for group in groups if group & set(tied)]
            groups = [group for group in groups if group not in touched]
            groups.append(set().union(*touched))
        return tuple(self._block(tuple(sorted(group))) for group in sorted(groups, key=min))

    @cached_property
    def total(self) -> int:
        """How many there are."""
        return math.prod(block.count for block in self.blocks)

    def all(self) -> Codes:
        """All of them, total x k places of options; the first factor varies slowest."""
        numbers = np.unravel_index(np.arange(self.total), [b.count for b in self.blocks])
        pairs = zip(self.blocks, numbers, strict=True)
        return self._ordered([block.all()[number] for block, number in pairs])

    def draw(self, n: int, seed: int | Sequence[int]) -> Codes:
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

    def _block(self, places: tuple[int, ...]) -> Block:
        """Some factors, with all that is only about them."""
        tables = {known: table for known, table in self.tables.items() if set(known) <= {*places}}
        if self._cells(places) <= SMALL:
            return _Table(places, self.sizes, tables)
        bounds = (bound for bound in self.bounds if bound.adds.keys() <= {*places})
        return _Diagram(places, self.sizes, tables, bounds)

    def _cells(self, places: Collection[int]) -> int:
        return math.prod(self.sizes[place] for place in places)
