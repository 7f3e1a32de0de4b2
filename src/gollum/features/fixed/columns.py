"""Columns of a table as numbers: indicators of categories, and scaled numbers."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gollum.data.pool import Pool
from gollum.errors import DataError
from gollum.features.layout import (
    Bits,
    Blocks,
    Layout,
    Levels,
    Matrix,
    block,
    require_columns,
    side_by_side,
)
from gollum.features.representations import REPRESENTATIONS, Setup

Rows = NDArray[np.int64]

ROUNDING = 1e-9


@REPRESENTATIONS.register(
    "one_hot", about="one-hot categories and scaled numbers", title="one-hot encoding"
)
def of_columns(setup: Setup) -> Blocks:
    """One-hot categories and scaled numbers of all columns."""
    return one_hot(setup.problem.pool)


def one_hot(pool: Pool) -> Blocks:
    """One 0/1 feature per level of a categorical column, one in [0, 1] per numeric column.

    Names that have an order are numbers: equal steps from the first to the last.
    Levels are sorted, and a blank cell is a level of its own. Columns that say nothing new are
    left out: constant ones, and a categorical column that merely renames the levels of an
    earlier one (`ligand_smiles` after `ligand`). A missing number takes its column's median,
    and a further 0/1 feature marks it. Of other rows, a level that no candidate has gives zeros.

    Args:
        pool: N candidates.

    Returns:
        N x d features; a slot per column, in the order of the pool's columns.

    Raises:
        DataError: no column distinguishes the candidates, or a number is infinite.
    """
    parts = each_column(pool, pool.table.columns)
    if not parts:
        raise DataError(
            f"{pool.name}: no input column differs between the candidates, so one-hot features "
            "cannot tell them apart; add a column that does."
        )
    return side_by_side(parts)


def beside(pool: Pool, fingerprint: Blocks, covered: Sequence[str]) -> Blocks:
    """A fingerprint with what it does not see of an experiment: temperatures, times, names.

    The columns that it does not cover are encoded as `one_hot` does, and each is stretched so
    that the mean squared distance between two candidates is as large in it as in the fingerprint
    divided by the number of columns there: no column of an experiment counts more than another.
    Left out are columns that rename a covered one, and those that name each row.

    Args:
        pool: N candidates.
        fingerprint: N x d.
        covered: columns that the fingerprint was made from.

    Returns:
        N x (d + e); the fingerprint itself, not a copy, when there is nothing to add.

    Raises:
        DataError: a number is infinite.
    """
    seen = {p for c in covered if (p := partition(pool.table[c])) is not None}
    others = [c for c in pool.table.columns if c not in covered]
    share = _variance(fingerprint.matrix) / max(1, len(seen))
    if share < ROUNDING:  # a fingerprint that tells nothing apart is no measure
        share = 1.0
    parts = each_column(pool, [c for c in others if not _names_rows(pool, c)], seen)
    if not parts:
        return fingerprint
    stretched = [_stretched(part, np.sqrt(share / _variance(part.matrix))) for part in parts]
    return side_by_side([fingerprint, *stretched])


def texts(column: pd.Series) -> list[str]:
    """Cells as text, blank ones as ''."""
    return ["" if pd.isna(v) or not str(v).strip() else str(v) for v in column]


def distinct(values: Sequence[str]) -> tuple[NDArray[np.object_], Rows, Rows]:
    """The different texts, sorted; the first row of each; and which of them each row holds."""
    as_objects = np.array(values, dtype=object)
    return np.unique(as_objects, return_index=True, return_inverse=True)


def partition(column: pd.Series) -> bytes | None:
    """What is equal when columns rename each other's levels; None for a constant column."""
    codes, levels = pd.factorize(np.array(texts(column), dtype=object))
    # Codes are numbered by first appearance.
    return codes.astype(np.int64).tobytes() if len(levels) > 1 else None


@dataclass(frozen=True, eq=False)
class Indicators:
    """0/1 features of a categorical column, one per level.

    Attributes:
        pool: what the candidates are called.
        column: the column.
        levels: the levels, sorted.
    """

    pool: str
    column: str
    levels: NDArray[np.object_]

    def __call__(self, table: pd.DataFrame) -> Matrix:
        """Indicators, n x levels."""
        require_columns(table, [self.column], self.pool)
        codes = pd.Index(self.levels).get_indexer(pd.Index(texts(table[self.column])))
        features = np.zeros((len(table), len(self.levels)))
        known = np.flatnonzero(codes >= 0)
        features[known, codes[known]] = 1.0
        return features


@dataclass(frozen=True, eq=False)
class Scaled:
    """A numeric column scaled to [0, 1] over the pool, and where it was missing.

    Attributes:
        pool: what the candidates are called.
        column: the column.
        median: what a missing number counts as.
        ranges: smallest and largest number, and whether some and not all were missing, as 0 and 1.
    """

    pool: str
    column: str
    median: float
    ranges: tuple[tuple[float, float], tuple[float, float]]

    @classmethod
    def of(cls, pool: Pool, column: str) -> Scaled:
        """Ranges of a pool's column."""
        values, missing = _finite(pool.table, column, pool.name)
        median = 0.0 if missing.all() else float(np.median(values[~missing]))
        values[missing] = median
        flags = missing.astype(np.float64)
        ranges = (values.min(), values.max()), (flags.min(), flags.max())
        return cls(pool.name, column, median, ranges)

    def __call__(self, table: pd.DataFrame) -> Matrix:
        """Scaled numbers and what was missing, n x 0, 1 or 2."""
        require_columns(table, [self.column], self.pool)
        values, missing = _finite(table, self.column, self.pool)
        values[missing] = self.median
        blocks = zip((values, missing.astype(np.float64)), self.ranges, strict=True)
        scaled = [(v - low) / (high - low) for v, (low, high) in blocks if low < high]
        return np.array(scaled).reshape(-1, len(table)).T


@dataclass(frozen=True, eq=False)
class Ranked:
    """Names that have an order, as numbers from 0 to 1 in equal steps; others are missing numbers.

    Attributes:
        order: the names.
        scaled: their ranks over the pool.
    """

    order: Sequence[str]
    scaled: Scaled

    @classmethod
    def of(cls, pool: Pool, column: str) -> Ranked:
        """Ranks of a pool's column."""
        order = pool.orders[column]
        table = pd.DataFrame({column: _ranks(pool.table[column], order)})
        return cls(order, Scaled.of(replace(pool, table=table), column))

    def __call__(self, table: pd.DataFrame) -> Matrix:
        """Scaled ranks and what was missing, n x 0, 1 or 2."""
        column = self.scaled.column
        require_columns(table, [column], self.scaled.pool)
        return self.scaled(pd.DataFrame({column: _ranks(table[column], self.order)}))


def _ranks(column: pd.Series, order: Sequence[str]) -> Matrix:
    """Places of cells in an order; not-a-number where they are not in it."""
    places = pd.Index(order).get_indexer(pd.Index(texts(column)))
    return np.where(places < 0, np.nan, places)


def _finite(table: pd.DataFrame, column: str, name: str) -> tuple[Matrix, NDArray[np.bool_]]:
    """Numbers of a column, a copy, and which are missing.

    Raises:
        DataError: one is infinite or no number.
    """
    try:
        values = table[column].to_numpy(dtype=np.float64, na_value=np.nan, copy=True)
    except (TypeError, ValueError):
        raise DataError(
            f"{name}: column '{column}' of the rows holds a cell that is no number; correct it or "
            "leave it empty."
        ) from None
    if np.isinf(values).any():
        row = table.index[int(np.flatnonzero(np.isinf(values))[0])]
        raise DataError(
            f"{name}: candidate '{row}', column '{column}': the number is infinite; "
            "correct it or leave the cell empty."
        )
    return values, np.isnan(values)


def each_column(pool: Pool, columns: Iterable[str], seen: set[bytes] | None = None) -> list[Blocks]:
    """A slot for each column that says something new, as `one_hot` makes them.

    Args:
        pool: N candidates.
        columns: the columns.
        seen: what is known already, as `partition` tells it; grows.

    Raises:
        DataError: a number is infinite.
    """
    numeric, seen = set(pool.numeric_columns()), set() if seen is None else seen
    parts: list[Blocks] = []
    for column in columns:
        slot = partial(block, "one_hot", [str(column)])
        if column in numeric or column in pool.orders:
            scaled = (Scaled if column in numeric else Ranked).of(pool, str(column))
            values, codes = np.unique(scaled(pool.table), axis=0, return_inverse=True)
            part = slot("number", scaled, Levels(values, codes.reshape(-1)))
        elif (new := partition(pool.table[column])) is None or new in seen:
            continue
        else:
            seen.add(new)
            levels, _, codes = distinct(texts(pool.table[column]))
            part = slot(
                "indicators", Indicators(pool.name, column, levels),
                Levels(np.eye(len(levels)), codes),
            )  # fmt: skip
        if part.layout.size:
            parts.append(part)
    return parts


def _stretched(part: Blocks, factor: float) -> Blocks:
    """Features multiplied by a number."""
    slots, encode = tuple(replace(slot, spread=None) for slot in part.layout), part.encode
    parts = [Levels(factor * levels.values, levels.codes) for levels in part.parts]
    return Blocks.of(parts, Layout(slots), lambda table: factor * encode(table))


def _names_rows(pool: Pool, column: str) -> bool:
    """Whether a categorical column holds another text in every row."""
    if column in pool.numeric_columns():
        return False
    return len(set(texts(pool.table[column]))) == len(pool)


def _variance(features: Matrix | Bits) -> float:
    """Half the mean squared distance between two rows: the sum of the features' variances."""
    return float(features.var(axis=0, dtype=np.float64).sum())
