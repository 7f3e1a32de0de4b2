"""Columns of a table as numbers: indicators of categories, and scaled numbers.

Each function is pure and returns N x d numbers, row i for candidate i of the pool.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gollum.data.pool import Pool
from gollum.errors import DataError

Matrix = NDArray[np.float64]
Bits = NDArray[np.uint8]
Rows = NDArray[np.int64]

ROUNDING = 1e-9


def one_hot(pool: Pool) -> Matrix:
    """One 0/1 feature per level of a categorical column, one in [0, 1] per numeric column.

    Levels are sorted, and a blank cell is a level of its own. Columns that say nothing new are
    left out: constant ones, and a categorical column that merely renames the levels of an
    earlier one (`ligand_smiles` after `ligand`). A missing number takes its column's median,
    and a further 0/1 feature marks it.

    Args:
        pool: N candidates.

    Returns:
        N x d features; blocks follow the order of the pool's columns.

    Raises:
        DataError: no column distinguishes the candidates, or a number is infinite.
    """
    blocks = _blocks(pool, pool.table.columns, set())
    features = np.hstack([np.empty((len(pool), 0)), *blocks])
    if features.shape[1] == 0:
        raise DataError(
            f"{pool.name}: no input column differs between the candidates, so one-hot features "
            "cannot tell them apart; add a column that does."
        )
    return features


def beside(pool: Pool, fingerprint: Matrix | Bits, covered: Sequence[str]) -> Matrix | Bits:
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
    share = _spread(fingerprint) / max(1, len(seen))
    if share < ROUNDING:  # a fingerprint that tells nothing apart is no measure
        share = 1.0
    blocks = _blocks(pool, [c for c in others if not _names_rows(pool, c)], seen)
    if not blocks:
        return fingerprint
    stretched = [np.sqrt(share / _spread(block)) * block for block in blocks]
    return np.hstack([fingerprint, *stretched])


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


def numbers(pool: Pool, column: str) -> Matrix:
    """N x 0, 1 or 2: a numeric column scaled to [0, 1], and where it was missing.

    Raises:
        DataError: a number is infinite.
    """
    values = pool.table[column].to_numpy(dtype=np.float64, na_value=np.nan, copy=True)
    if np.isinf(values).any():
        row = pool.ids[int(np.flatnonzero(np.isinf(values))[0])]
        raise DataError(
            f"{pool.name}: candidate '{row}', column '{column}': the number is infinite; "
            "correct it or leave the cell empty."
        )
    missing = np.isnan(values)
    values[missing] = 0.0 if missing.all() else np.median(values[~missing])
    blocks = [v for v in (values, missing.astype(np.float64)) if v.min() < v.max()]
    return np.array([(v - v.min()) / (v.max() - v.min()) for v in blocks]).reshape(-1, len(pool)).T


def _blocks(pool: Pool, columns: Iterable[str], seen: set[bytes]) -> list[Matrix]:
    """Features of each column that says something new; `seen` holds the partitions so far."""
    numeric = set(pool.numeric_columns())
    blocks: list[Matrix] = []
    for column in columns:
        if column in numeric:
            block = numbers(pool, column)
        elif (parts := partition(pool.table[column])) is None or parts in seen:
            continue
        else:
            seen.add(parts)
            block = _indicators(pool.table[column])
        if block.shape[1]:
            blocks.append(block)
    return blocks


def _indicators(column: pd.Series) -> Matrix:
    """N x levels indicators."""
    levels, _, codes = distinct(texts(column))
    features = np.zeros((len(column), len(levels)))
    features[np.arange(len(column)), codes] = 1.0
    return features


def _names_rows(pool: Pool, column: str) -> bool:
    """Whether a categorical column holds another text in every row."""
    if column in pool.numeric_columns():
        return False
    return len(set(texts(pool.table[column]))) == len(pool)


def _spread(features: Matrix | Bits) -> float:
    """Half the mean squared distance between two rows: the sum of the features' variances."""
    return float(features.var(axis=0, dtype=np.float64).sum())
