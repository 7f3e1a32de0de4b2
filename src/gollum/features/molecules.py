"""Features of molecules: fingerprints, fragment counts and descriptors of SMILES columns.

Each function is pure and returns N x d numbers, row i for candidate i of the pool. Of several
SMILES columns, those that hold the same value everywhere are skipped.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gollum.data.pool import Pool
from gollum.errors import DataError, MissingExtraError, nearest
from gollum.features.columns import Bits, Matrix, distinct, texts

RADIUS = 3
N_BITS = 2048
REMEMBERED = 100_000  # molecules whose descriptors are kept: they take some 10 ms each


def morgan(pool: Pool, columns: Sequence[str], radius: int = RADIUS, n_bits: int = N_BITS) -> Bits:
    """Morgan fingerprints (0/1), one block of bits per SMILES column.

    A blank cell gives zeros. The algorithm is that of Rogers & Hahn, J. Chem. Inf. Model. 2010,
    50, 742.

    Args:
        pool: N candidates.
        columns: the columns that hold SMILES.
        radius: bonds from the central atom to the rim of an environment.
        n_bits: length that a fingerprint is folded to.

    Returns:
        N x (n_bits · number of columns used) bits.

    Raises:
        DataError: a column is missing, none differs between rows, or a SMILES is not valid.
        MissingExtraError: RDKit is not installed.
    """
    chem = rdkit("the Morgan fingerprint")
    generator = chem.rdFingerprintGenerator.GetMorganGenerator(radius=radius, fpSize=n_bits)

    def encode(smiles: str) -> Bits | None:
        molecule = chem.MolFromSmiles(smiles)
        return None if molecule is None else generator.GetFingerprintAsNumPy(molecule)

    return np.hstack(_encoded(pool, columns, chem, encode))


def fragments(pool: Pool, columns: Sequence[str]) -> Matrix:
    """How often each of RDKit's functional groups (fr_…) occurs, per SMILES column.

    Counts that are the same everywhere are left out; a blank cell counts nothing.

    Args:
        pool: N candidates.
        columns: the columns that hold SMILES.

    Returns:
        N x d counts.

    Raises:
        DataError: as for `morgan`, or no count differs between the candidates.
        MissingExtraError: RDKit is not installed.
    """
    chem = rdkit("counting fragments")
    from rdkit.Chem import Fragments

    counters = [getattr(Fragments, n) for n in sorted(dir(Fragments)) if n.startswith("fr_")]

    def encode(smiles: str) -> Matrix | None:
        molecule = chem.MolFromSmiles(smiles)
        return None if molecule is None else np.array([float(c(molecule)) for c in counters])

    counts: Matrix = np.hstack(_encoded(pool, columns, chem, encode))
    varying = np.ptp(counts, axis=0) > 0
    if not varying.any():
        raise _alike(pool, "fragment count")
    return counts[:, varying]


def descriptors(pool: Pool, columns: Sequence[str]) -> Matrix:
    """RDKit's two-dimensional descriptors, standardised over the pool, per SMILES column.

    Left out are descriptors that are the same everywhere or not a finite number for some
    molecule. A blank cell gives zeros, the mean of the others. The features are divided by a
    number that makes the mean squared distance between two candidates 2, in equal parts for each
    column. (From a lengthscale of 0.693, where the `paper` preset starts, distances that grow with
    the number of descriptors are out of sight, and the fit would not move.)

    Args:
        pool: N candidates.
        columns: the columns that hold SMILES.

    Returns:
        N x d features of mean 0, over the cells that are not blank.

    Raises:
        DataError: as for `morgan`, or no descriptor differs between the candidates.
        MissingExtraError: RDKit is not installed.
    """
    chem = rdkit("molecular descriptors")
    blocks = [_standardised(block) for block in _encoded(pool, columns, chem, _described)]
    used = [block for block in blocks if block.shape[1]]
    if not used:
        raise _alike(pool, "descriptor")
    return np.hstack([block / np.sqrt(block.shape[1] * len(used)) for block in used])


def canonical(pool: Pool, column: str) -> list[str]:
    """N canonical SMILES of a column; blank cells stay blank.

    Raises:
        DataError: the column is missing, or a SMILES is not valid.
        MissingExtraError: RDKit is not installed.
    """
    chem = rdkit("reading SMILES")

    def encode(smiles: str) -> NDArray[np.object_] | None:
        molecule = chem.MolFromSmiles(smiles)
        return None if molecule is None else np.array([chem.MolToSmiles(molecule)], dtype=object)

    (written,) = _encoded(pool, [column], chem, encode)
    return [str(smiles) for smiles in written[:, 0]]


def rdkit(feature: str) -> ModuleType:
    """RDKit's chemistry module.

    Raises:
        MissingExtraError: RDKit is not installed; the message names what needs it.
    """
    try:
        from rdkit import Chem
        from rdkit.Chem import rdFingerprintGenerator  # noqa: F401  (becomes Chem's attribute)
    except ModuleNotFoundError:
        raise MissingExtraError(feature, "chem") from None
    return Chem


@lru_cache(REMEMBERED)
def _described(smiles: str) -> Matrix | None:
    """All descriptors; not-a-number where one can't be computed, or everywhere for no molecule."""
    from rdkit.Chem import Descriptors, MolFromSmiles

    if not smiles:
        return np.full(len(Descriptors.descList), np.nan)
    molecule = MolFromSmiles(smiles)
    if molecule is None:
        return None
    values = Descriptors.CalcMolDescriptors(molecule, missingVal=np.nan)
    return np.array(list(values.values()), dtype=np.float64)


def _standardised(block: Matrix) -> Matrix:
    """Descriptors with mean 0 and variance 1; rows that are missing as a whole become zeros."""
    given = ~np.isnan(block).all(axis=1)
    if not given.any():
        return np.empty((len(block), 0))
    known = block[given]
    known = known[:, np.isfinite(known).all(axis=0) & (np.ptp(known, axis=0) > 0)]
    known = known / np.abs(known).max(axis=0)  # some are so large that their squares overflow
    features = np.zeros((len(block), known.shape[1]))
    features[given] = (known - known.mean(axis=0)) / known.std(axis=0)
    return features


def _alike(pool: Pool, what: str) -> DataError:
    return DataError(
        f"{pool.name}: no {what} differs between the candidates; use --surrogate morgan or one_hot."
    )


def _informative(pool: Pool, columns: Sequence[str]) -> Sequence[str]:
    """The columns to use; a single column is used whatever it holds."""
    for column in columns:
        if column not in pool.table.columns:
            raise DataError(
                f"{pool.name}: there is no SMILES column '{column}'."
                + nearest(column, map(str, pool.table.columns))
            )
    if len(columns) == 1:
        return columns
    varying = [c for c in columns if len(set(texts(pool.table[c]))) > 1]
    if not varying:
        raise DataError(
            f"{pool.name}: no SMILES column differs between the candidates; name one that does."
        )
    return varying


def _encoded(
    pool: Pool,
    columns: Sequence[str],
    chem: ModuleType,
    encode: Callable[[str], NDArray[Any] | None],
) -> list[NDArray[Any]]:
    """N x d features of each column used; every distinct SMILES is encoded once."""

    def block(column: str) -> NDArray[Any]:
        smiles, first, inverse = distinct(texts(pool.table[column]))
        codes = []
        for text, row in zip(smiles, first, strict=True):
            code = encode(text)
            if code is None:
                raise DataError(
                    f"{pool.name}: candidate '{pool.ids[row]}', column '{column}': '{text}' "
                    "is not a valid SMILES; correct it or leave the cell empty."
                )
            codes.append(code)
        return np.stack(codes)[inverse]

    with chem.rdBase.BlockLogs():
        return [block(column) for column in _informative(pool, columns)]
