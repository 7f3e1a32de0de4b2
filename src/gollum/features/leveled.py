"""Levels of columns, each put into words by itself: dozens of texts where rows have thousands."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import sqrt
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from gollum.data.pool import Pool
from gollum.errors import DataError
from gollum.features.fixed.columns import distinct, each_column, partition, texts
from gollum.features.layout import Blocks, Layout, Slot, require_columns, side_by_side
from gollum.language.embed import tokenize
from gollum.text.template import Template

if TYPE_CHECKING:
    from gollum.language.engine import AdaptedText


@dataclass(frozen=True, eq=False)
class WordColumn:
    """A column of words and its L levels.

    Attributes:
        pool: N candidates.
        column: its name.
        template: how a level is put into words.
        levels: the levels as they stand in the table, sorted.
        codes: which of them each candidate has; N.
        words: their texts; L.
    """

    pool: Pool
    column: str
    template: Template
    levels: NDArray[np.object_]
    codes: NDArray[np.int64]
    words: tuple[str, ...]

    @classmethod
    def of(cls, pool: Pool, column: str) -> WordColumn:
        """The column of a pool."""
        one = replace(pool, table=pool.table[[column]])
        template = Template.from_columns(one)
        levels, first, codes = distinct(texts(pool.table[column]))
        words = template.texts(replace(one, table=one.table.iloc[first], values=one.values[first]))
        return cls(pool, column, template, levels, codes, tuple(words))

    @classmethod
    def all_of(cls, pool: Pool) -> list[WordColumn]:
        """Columns of words that say something new, in order, as `one_hot` takes them.

        Raises:
            DataError: there is none.
        """
        seen, found = set[bytes](), list[WordColumn]()
        for column in pool.table.columns.difference(pool.numeric_columns(), sort=False):
            if (key := partition(pool.table[column])) is not None and key not in seen:
                seen.add(key)
                found.append(cls.of(pool, str(column)))
        if not found:
            raise DataError(
                f"{pool.name}: no column of words differs between the candidates, so there are no "
                "levels to embed; use --surrogate one_hot."
            )
        return found

    def read(self, table: pd.DataFrame) -> tuple[NDArray[np.int64], list[str], NDArray[np.int64]]:
        """What m other rows have of the column.

        Returns:
            The known level of each row (−1: none); texts of u new levels; which of those each of
            the rows without a known one has.

        Raises:
            DataError: the column is missing.
        """
        require_columns(table, [self.column], self.pool.name)
        cells = texts(table[self.column])
        known = pd.Index(self.levels).get_indexer(pd.Index(cells))
        at = np.flatnonzero(known < 0)
        if not len(at):
            return known, [], at
        _, first, which = distinct([cells[i] for i in at])
        rows = table[[self.column]].iloc[at[first]]
        blank = np.full(len(rows), np.nan)
        return known, self.template.texts(replace(self.pool, table=rows, values=blank)), which


def numbers_beside(pool: Pool) -> Blocks | None:
    """Columns of numbers, scaled to [0, 1]; None where there are none."""
    parts = each_column(pool, pool.numeric_columns())
    return side_by_side(parts) if parts else None


class AdaptedLevels(nn.Module):
    """Rows as the sum of their levels, which a model with trainable adapters reads one by one.

    The vector of a row is Σ_c (v(level of c) − v̄_c)/√C over its C columns of words, where v̄_c is
    the mean of the pretrained model's vectors of that column, so that what all levels share does
    not drown what tells them apart. Numbers stand beside it, each with as much variance as a column
    has.

    Args:
        text: reads the levels of all columns, one after the other.
        columns: the columns of words.
        numbers: columns of numbers, if there are any.
        max_tokens: texts of other levels are cut at this length.
    """

    centre: Tensor
    shift: Tensor
    stretch: Tensor

    def __init__(
        self,
        text: AdaptedText,
        columns: Sequence[WordColumn],
        numbers: Blocks | None = None,
        max_tokens: int = 512,
    ) -> None:
        super().__init__()
        self.text, self.words, self.numbers = text, tuple(columns), numbers
        self.max_tokens = max_tokens
        sizes = [len(column.levels) for column in columns]
        self._starts = np.cumsum(sizes) - sizes
        self._owner = np.repeat(np.arange(len(sizes)), sizes)
        names = tuple(column.column for column in columns)
        slots: tuple[Slot, ...] = (Slot("adapters", names, text.size),)
        self._measure()
        if numbers is not None:
            slots += tuple(numbers.layout)
        self.layout = Layout(slots)
        self.notes, self.revision = text.notes, text.revision

    @torch.no_grad()
    def _measure(self) -> None:
        """Means of the pretrained vectors, and what makes numbers count as much as a column."""
        self.text.freeze(True)
        vectors = self.text(np.arange(len(self._owner)))
        self.text.freeze(False)
        each = torch.tensor_split(vectors, torch.as_tensor(self._starts[1:]))
        centre = torch.stack([part.mean(0) for part in each])
        self.register_buffer("centre", centre, persistent=False)
        spreads = [
            (part - mean)[torch.as_tensor(column.codes)].square().sum(1).mean()
            for part, mean, column in zip(each, centre, self.words, strict=True)
        ]
        matrix = np.zeros((1, 0)) if self.numbers is None else self.numbers.matrix
        width = np.where(matrix.std(0) > 0, matrix.std(0), 1.0)
        weight = torch.stack(spreads).mean().sqrt() / sqrt(len(self.words))
        shift = torch.as_tensor(matrix.mean(0)).to(centre)
        self.register_buffer("shift", shift, persistent=False)
        self.register_buffer(
            "stretch", weight / torch.as_tensor(width).to(centre), persistent=False
        )

    def reset(self) -> None:
        """Start over from the pretrained weights, with fresh adapters."""
        self.text.reset()

    def freeze(self, frozen: bool) -> bool:
        """Take the pretrained model's vectors as long as `frozen`."""
        return self.text.freeze(frozen)

    def forward(self, rows: NDArray[np.int64]) -> Tensor:
        """Features n x d, float64, of n rows of the pool."""
        places = np.stack(
            [s + c.codes[rows] for s, c in zip(self._starts, self.words, strict=True)]
        )
        needed, back = np.unique(places, return_inverse=True)
        vectors = self.text(needed) - self._centre_of(self._owner[needed])
        words = self._summed(vectors, back.reshape(places.shape))
        if self.numbers is None:
            return words
        return torch.cat(
            [words, self._scaled(np.hstack([p.of(rows) for p in self.numbers.parts]))], 1
        )

    def encode(self, table: pd.DataFrame) -> Tensor:
        """Features m x d of other rows, read by the model as it is adapted now.

        Raises:
            DataError: a column is missing, or a number is none.
        """
        places, new, owner = [], list[str](), list[int]()
        for number, (start, column) in enumerate(zip(self._starts, self.words, strict=True)):
            known, words, which = column.read(table)
            place = start + known
            place[known < 0] = len(self._owner) + len(new) + which
            places.append(place)
            new += words
            owner += [number] * len(words)
        vectors = self.text(np.arange(len(self._owner)))
        owners = np.concatenate([self._owner, np.array(owner, dtype=np.int64)])
        if new:
            tokens = tokenize(self.text.backbone, new, self.max_tokens)
            vectors = torch.cat([vectors, self.text.read(tokens)])
        summed = self._summed(vectors - self._centre_of(owners), np.stack(places))
        if self.numbers is None:
            return summed
        return torch.cat([summed, self._scaled(self.numbers.encode(table))], dim=1)

    def _centre_of(self, owner: NDArray[np.int64]) -> Tensor:
        return self.centre[torch.as_tensor(owner, device=self.centre.device)]

    def _summed(self, vectors: Tensor, places: NDArray[np.int64]) -> Tensor:
        """Σ over columns of the vectors that each row has: C x n places; n x h."""
        device = vectors.device
        total = vectors[torch.as_tensor(places[0], device=device)]
        for place in places[1:]:
            total = total + vectors[torch.as_tensor(place, device=device)]
        return total / sqrt(len(places))

    def _scaled(self, numbers: NDArray[np.float64]) -> Tensor:
        return (torch.as_tensor(numbers).to(self.shift) - self.shift) * self.stretch
