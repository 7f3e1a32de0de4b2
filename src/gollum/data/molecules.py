"""Molecules as people write them: two SMILES of one molecule are one option."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from importlib.util import find_spec

import numpy as np
import pandas as pd

from gollum.data.spreadsheets.numbers import SPACES
from gollum.errors import DataError, quoted
from gollum.notes import Note

REMEMBERED = 100_000  # molecules
TOLD = 5  # of one column


def can_read() -> bool:
    """Whether RDKit is installed, which reads SMILES."""
    return find_spec("rdkit") is not None


@lru_cache(REMEMBERED)
def canonical(smiles: str) -> str | None:
    """RDKit's own SMILES of a molecule, with its salts and stereo centres; None if it is none."""
    from rdkit import Chem, rdBase

    with rdBase.BlockLogs():
        molecule = Chem.MolFromSmiles(smiles)
    return None if molecule is None else Chem.MolToSmiles(molecule)


def one_spelling(
    table: pd.DataFrame, columns: Sequence[str], where: str
) -> tuple[pd.DataFrame, list[Note]]:
    """Each molecule as it was spelt first.

    Args:
        table: N rows as `read_table` gives them.
        columns: those with SMILES.
        where: file or table, for messages.

    Returns:
        The table, and notes on what was spelt differently. Nothing changes without RDKit.

    Raises:
        DataError: a cell is no molecule.
    """
    if not columns or not can_read():
        return table, []
    first, notes = int(table.attrs.get("first_row", 2)), list[Note]()
    changed: dict[str, pd.Series] = {}
    for name in columns:
        codes, levels = pd.factorize(table[name].str.strip(SPACES))
        rows = first + np.unique(codes, return_index=True)[1]
        spelt: dict[str, tuple[str, int]] = {}
        meant, told = list[str](), list[str]()
        for level, row in zip(map(str, levels), rows.tolist(), strict=True):
            found = canonical(level) if level else ""
            if found is None:
                raise DataError(
                    f"{where}: row {row}, column '{name}': '{level}' is not a valid SMILES; "
                    "correct it or leave the cell empty, or say that the column holds names by "
                    f"--category {quoted(name)}."
                )
            usual, at = spelt.setdefault(found, (level, row))
            meant.append(usual)
            if usual != level:
                told.append(f"'{level}' (row {row}) is '{usual}' (row {at})")
        if told:
            more = f" and {len(told) - TOLD} more" if len(told) > TOLD else ""
            what = f"the same molecules, spelt differently: {'; '.join(told[:TOLD])}{more}."
            notes.append(Note("same-molecules", where, what, name))
            cells = np.array(meant, dtype=object)[codes]
            changed[name] = pd.Series(cells, index=table.index, dtype="str")
    return table.assign(**changed), notes
