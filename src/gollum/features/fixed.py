"""Fixed features: a pool becomes a matrix that no training changes.

Each function is pure and returns N x d numbers, row i for candidate i of the pool.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from types import ModuleType
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gollum.data.pool import Pool
from gollum.errors import DataError, MissingExtraError, nearest

Matrix = NDArray[np.float64]
Bits = NDArray[np.uint8]
Rows = NDArray[np.int64]

RADIUS = 3
N_BITS = 2048


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
    numeric = set(pool.numeric_columns())
    seen: set[bytes] = set()
    blocks = [
        _scaled(pool, column) if column in numeric else _indicators(pool.table[column], seen)
        for column in pool.table.columns
    ]
    features = np.hstack([np.empty((len(pool), 0)), *blocks])
    if features.shape[1] == 0:
        raise DataError(
            f"{pool.name}: no input column differs between the candidates, so one-hot features "
            "cannot tell them apart; add a column that does."
        )
    return features


def morgan(pool: Pool, columns: Sequence[str], radius: int = RADIUS, n_bits: int = N_BITS) -> Bits:
    """Morgan fingerprints (0/1), one block of bits per SMILES column.

    Of several columns, those that hold the same value everywhere are skipped. A blank cell
    gives zeros. The algorithm is that of Rogers & Hahn, J. Chem. Inf. Model. 2010, 50, 742.

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
    rdkit = _rdkit("the Morgan fingerprint")
    generator = rdkit.rdFingerprintGenerator.GetMorganGenerator(radius=radius, fpSize=n_bits)

    def encode(smiles: str) -> Bits | None:
        molecule = rdkit.MolFromSmiles(smiles)
        return None if molecule is None else generator.GetFingerprintAsNumPy(molecule)

    with rdkit.rdBase.BlockLogs():
        return np.hstack([_bits(pool, c, encode, n_bits) for c in _informative(pool, columns)])


def drfp(
    reactions: Sequence[str],
    name: str,
    ids: Sequence[str],
    radius: int = RADIUS,
    n_bits: int = N_BITS,
) -> Bits:
    """Differential reaction fingerprints (0/1): substructures on one side of the arrow only.

    Source: Probst, Schwaller & Reymond, Digital Discovery 2022, 1, 91. The bits are those of
    `DrfpEncoder.encode`, but a molecule that recurs is taken apart once, and one that cannot be
    read is an error (the encoder passes over it).

    Args:
        reactions: N reaction SMILES, `reactants>>products` or `reactants>agents>products`.
        name: what the pool is called in messages.
        ids: the N ids, for messages.
        radius: bonds from the central atom to the rim of a substructure.
        n_bits: length that a fingerprint is folded to.

    Returns:
        N x n_bits bits.

    Raises:
        DataError: a text is not a reaction SMILES, or one of its molecules is not valid.
        MissingExtraError: drfp or RDKit is not installed.
    """
    rdkit, encoder = _rdkit("the reaction fingerprint"), _drfp_encoder()

    @cache
    def substructures(smiles: str) -> frozenset[bytes] | None:
        molecule = rdkit.MolFromSmiles(smiles)
        if molecule is None:
            return None
        return frozenset(encoder.shingling_from_mol(molecule, radius=radius))

    distinct, first, inverse = _distinct(reactions)
    bits = np.zeros((len(distinct), n_bits), dtype=np.uint8)
    with rdkit.rdBase.BlockLogs():
        for i, reaction in enumerate(distinct):
            changed = _changed(reaction, f"{name}: candidate '{ids[first[i]]}'", substructures)
            bits[i] = encoder.fold(encoder.hash(list(changed)), length=n_bits)[0]
    return bits[inverse]


def _texts(column: pd.Series) -> list[str]:
    """Cells as text, blank ones as ''."""
    return ["" if pd.isna(v) or not str(v).strip() else str(v) for v in column]


def _indicators(column: pd.Series, seen: set[bytes]) -> Matrix:
    """N x levels indicators; N x 0 when constant or when `seen` holds the same partition."""
    texts = _texts(column)
    # Codes numbered by first appearance are equal exactly when columns rename each other.
    partition = pd.factorize(np.array(texts, dtype=object))[0].astype(np.int64).tobytes()
    levels, _, codes = _distinct(texts)
    if len(levels) == 1 or partition in seen:
        return np.empty((len(texts), 0))
    seen.add(partition)
    features = np.zeros((len(texts), len(levels)))
    features[np.arange(len(texts)), codes] = 1.0
    return features


def _scaled(pool: Pool, column: str) -> Matrix:
    """N x 0, 1 or 2: the column scaled to [0, 1], and where it was missing."""
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
    varying = [c for c in columns if len(set(_texts(pool.table[c]))) > 1]
    if not varying:
        raise DataError(
            f"{pool.name}: no SMILES column differs between the candidates; name one that does."
        )
    return varying


def _bits(pool: Pool, column: str, encode: Callable[[str], Bits | None], n_bits: int) -> Bits:
    """N x n_bits fingerprints of a column; every distinct SMILES is encoded once."""
    distinct, first, inverse = _distinct(_texts(pool.table[column]))
    bits = np.zeros((len(distinct), n_bits), dtype=np.uint8)
    for i, smiles in enumerate(distinct):
        code = encode(smiles)
        if code is None:
            raise DataError(
                f"{pool.name}: candidate '{pool.ids[first[i]]}', column '{column}': '{smiles}' "
                "is not a valid SMILES; correct it or leave the cell empty."
            )
        bits[i] = code
    return bits[inverse]


def _distinct(texts: Sequence[str]) -> tuple[NDArray[np.object_], Rows, Rows]:
    """The different texts, sorted; the first row of each; and which of them each row holds."""
    as_objects = np.array(texts, dtype=object)
    return np.unique(as_objects, return_index=True, return_inverse=True)


def _changed(
    reaction: str, where: str, substructures: Callable[[str], frozenset[bytes] | None]
) -> frozenset[bytes]:
    """Substructures on one side of a reaction only; agents stand with the reactants."""
    sides = reaction.split(">")
    if len(sides) != 3 or not (sides[0].strip(". ") and sides[2].strip(". ")):
        raise DataError(
            f"{where}: '{reaction}' is not a reaction SMILES; write 'reactants>>products', with "
            "dots between molecules and no other '>' (a dative bond '->' as '-')."
        )

    def merged(side: str) -> frozenset[bytes]:
        parts = {smiles: substructures(smiles) for smiles in side.split(".") if smiles}
        for smiles, found in parts.items():
            if found is None:
                raise DataError(
                    f"{where}: '{smiles}' in the reaction '{reaction}' is not a valid SMILES; "
                    "correct it in the table."
                )
        return frozenset().union(*filter(None, parts.values()))

    return merged(f"{sides[0]}.{sides[1]}") ^ merged(sides[2])


def _rdkit(feature: str) -> ModuleType:
    try:
        from rdkit import Chem
        from rdkit.Chem import rdFingerprintGenerator  # noqa: F401  (becomes Chem's attribute)
    except ModuleNotFoundError:
        raise MissingExtraError(feature, "chem") from None
    return Chem


def _drfp_encoder() -> Any:
    try:
        from drfp import DrfpEncoder
    except ModuleNotFoundError:
        raise MissingExtraError("the reaction fingerprint", "chem") from None
    return DrfpEncoder
