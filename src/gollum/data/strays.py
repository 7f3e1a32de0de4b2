"""Rows of a table that are no experiments, and blanks that mean "as above".

Spreadsheets hold totals and remarks below a table, a second table below the first, and names that
stand in the first row of their block only. Read as experiments they would be chosen, or melt into
repeats of one another.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gollum.data.naming import loose
from gollum.data.pool import cell_text, is_blank
from gollum.data.spreadsheets.numbers import SPACES, is_number_like
from gollum.errors import DataError

Mask = NDArray[np.bool_]

_WORDS = (
    "total totals sum subtotal mean average avg median min max minimum maximum std stdev sd count "
    "summe gesamt mittelwert durchschnitt mittel anzahl moyenne somme promedio media suma"
)
_SUMMARIES = frozenset(_WORDS.split())
USUAL = 0.9  # share of rows in which a column is filled that nearly all experiments have
ABOVE = 3  # rows of a first table above a second
HEADS = 10  # rows at the top in which the names of columns may stand
BLOCK = 3  # rows from which on equal blocks are no accident


def refuse_strays(table: pd.DataFrame, where: str, remarks: bool = True) -> None:
    """Refuse rows below or between the experiments that are something else.

    Args:
        table: N rows as `read_table` gives them.
        where: file or table, for messages.
        remarks: whether a row with a single cell may be one.

    Raises:
        DataError: a row sums up others, holds nothing but a remark, or begins a second table.
    """
    if len(table) == 0:
        return
    filled = np.column_stack([~is_blank(table[name]) for name in table.columns])
    counts = filled.sum(axis=1)
    first = int(table.attrs.get("first_row", 2))

    def refusal(row: int, problem: str) -> DataError:
        return DataError(f"{where}: row {first + row}: {problem}.")

    usual_here = filled.sum(axis=0) > USUAL * max(1, (counts > 0).sum() - 1)
    lacks = (~filled & usual_here).any(axis=1)
    lonely = (counts == 1) & lacks & (len(table.columns) > 2)
    below = ~np.append((counts > 1)[::-1].cumsum()[::-1][1:] > 0, False)
    after_gap = np.append(False, counts[:-1] == 0)
    for row in np.flatnonzero(lonely & (below | after_gap) & remarks)[:1]:
        text = cell_text(table.iloc[row, int(np.argmax(filled[row]))])
        raise refusal(
            row,
            f"'{text}' is all that the row holds; delete the row if it is a remark, and fill it in "
            "if it is an experiment",
        )
    texts = [n for n in table.columns if not pd.api.types.is_numeric_dtype(table[n])]
    sums = np.zeros(len(table), dtype=bool)
    for name in texts:
        named = [text for text in table[name].unique() if _bare(text) in _SUMMARIES]
        sums |= table[name].isin(named).to_numpy(dtype=bool)
    last = ~np.append((filled.any(axis=1) & ~sums)[::-1].cumsum()[::-1][1:] > 0, False)
    for row in np.flatnonzero(sums & (lacks | last))[:1]:
        text = next(t for t in map(str, table[texts].iloc[row]) if _bare(t) in _SUMMARIES)
        raise refusal(row, f"'{text}' sums up other rows and is no experiment; delete the row")
    if len(texts) > 1:
        heads = np.sum([(table[name] == name).to_numpy() for name in texts], axis=0)
        for row in np.flatnonzero(heads > 1)[:1]:
            raise refusal(
                row, "the names of the columns stand here again; move a second table elsewhere"
            )
    for row in np.flatnonzero(counts[:-1] == 0):
        if (counts[:row] > 0).sum() >= ABOVE and _is_head(table, texts, filled, int(row) + 1):
            raise refusal(
                int(row) + 1, "a second table seems to begin here; move it to a sheet of its own"
            )


def refuse_head_below(table: pd.DataFrame, where: str, wanted: str) -> None:
    """Refuse a table without a column that is wanted, whose first rows hold the names of columns.

    Args:
        table: N rows as `read_table` gives them.
        where: file or table, for messages.
        wanted: the column.

    Raises:
        DataError: a first row holds that name among others, and no numbers.
    """
    name, first = loose(wanted), int(table.attrs.get("first_row", 2))
    for row in range(min(len(table), HEADS) if wanted not in table else 0):
        cells = [text for cell in table.iloc[row] if (text := cell_text(cell).strip(SPACES))]
        names = len(cells) > 1 and not any(map(is_number_like, cells))
        if names and name in map(loose, cells):
            raise DataError(
                f"{where}: row {first + row} seems to hold the names of the columns ('{wanted}' is "
                "one); delete the rows above it."
            )


def _is_head(table: pd.DataFrame, texts: Sequence[str], filled: Mask, row: int) -> bool:
    """Whether a row below a blank one holds words where numbers are above."""
    words = [n for n in texts if filled[row, table.columns.get_loc(n)]]
    strange = (_numbers(table[n][:row]) and not _numbers(table[n][row : row + 1]) for n in words)
    return len(words) > 1 and any(strange)


def _bare(text: object) -> str:
    return str(text).strip(SPACES + ":.").casefold()


def _numbers(cells: pd.Series) -> bool:
    found = pd.to_numeric(cells[~is_blank(cells)], errors="coerce")
    return len(found) > 0 and bool(found.notna().all())


def refuse_fill_down(table: pd.DataFrame, where: str, inputs: Sequence[str]) -> None:
    """Refuse columns whose cells name a block of rows in its first row only.

    Args:
        table: N rows as `read_table` gives them.
        where: file or table, for messages.
        inputs: columns that describe an experiment.

    Raises:
        DataError: filling such cells down would tell rows apart that are alike otherwise, or the
            blocks are all of one length.
    """
    described = table[list(inputs)]
    described = described[~np.all([is_blank(described[n]) for n in inputs], axis=0)]
    for name in inputs:
        blank = is_blank(described[name])
        starts = np.flatnonzero(~blank)
        if blank.all() or len(starts) < 2 or starts[0] != 0 or 2 * blank.sum() < len(blank):
            continue
        values = described[name].to_numpy()[starts]
        if (values[1:] == values[:-1]).any():
            continue
        lengths = np.diff([*starts, len(blank)])
        below = described[name].where(~blank).ffill()
        before, after = (
            t.duplicated().sum() for t in (described, described.assign(**{name: below}))
        )
        if after < before or (lengths.min() == lengths.max() >= BLOCK):
            raise DataError(
                f"{where}: column '{name}' is blank in {blank.sum()} of {len(blank)} rows, below a "
                "cell that is filled each; fill the cells down, or write none where nothing is "
                "used."
            )
