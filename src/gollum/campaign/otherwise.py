"""Experiments that were done differently from what their run asked for.

A sheet of which only some columns were sorted looks the same, so rows are refused whose cells may
have come from its other rows.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from gollum.campaign.filled import Mask, Sheet, Texts, folded, mapped
from gollum.campaign.inputs import Input, Rows
from gollum.data.pool import cell_text
from gollum.errors import DataError
from gollum.notes import Note

_SORTED = (
    "perhaps only some of the columns were sorted; bring the cells of each experiment together "
    "again, or record each of these rows in a sheet of its own"
)
_APART = "if that is right, record this row in a sheet of its own"


def as_done(
    sheet: Sheet, inputs: Sequence[Input], differ: Sequence[Mask], at: Rows, done: Mask
) -> list[Input]:
    """The inputs, with what was asked where rows that were done differently are blank.

    Args:
        sheet: N rows.
        inputs: all that the campaign has.
        differ: for each of these, which rows have another cell than was asked.
        at: the candidate that each row asked for; −1 without one.
        done: rows with such a cell.

    Raises:
        DataError: the rows look as if only some of the columns were sorted.
    """
    _refuse_sorted(sheet, inputs, differ, at, done)
    made = list[Input]()
    for cells, other in zip(inputs, differ, strict=True):
        rows = np.flatnonzero(done & ~other)
        made.append(cells.filled(rows, at[rows], sheet.state.table[cells.column]))
    return made


def _refuse_sorted(
    sheet: Sheet, inputs: Sequence[Input], differ: Sequence[Mask], at: Rows, done: Mask
) -> None:
    """Refuse other cells that are those of other rows, in a column or in most rows."""
    named = np.flatnonzero((at >= 0) & (sheet.texts(sheet.own(sheet.names.run)) != ""))
    every = np.flatnonzero(sheet.state.table.index.isin(_asked(sheet).values()))
    moved = done[named]
    for cells, other in zip(inputs, differ, strict=True):
        size, odd = len(cells.table), other[named]
        keys = cells.keys(named, 6)
        asked, said = keys[:size][at[named]], keys[size:]
        if odd.sum() > 1 and sorted(asked[odd]) == sorted(said[odd]):
            raise DataError(
                f"{sheet.name}: column '{cells.column}': cells other than was asked are those of "
                f"other rows (the first in row {sheet.first + named[odd][0]}); {_SORTED}."
            )
        moved &= ~odd | np.isin(said, keys[:size][every])
    if moved.sum() > 1 and 2 * moved.sum() > len(named):
        raise DataError(
            f"{sheet.name}: {moved.sum()} of {len(named)} rows with a run have cells of other rows "
            f"(the first is row {sheet.first + named[moved][0]}); {_SORTED}."
        )


def _asked(sheet: Sheet) -> dict[str, str]:
    """What each run that the sheet names asked for, also where there is no result yet."""
    runs = dict.fromkeys(sheet.texts(sheet.own(sheet.names.run)).tolist())
    return {run: id_ for run in runs if (id_ := sheet.state.asked(run)) is not None}


def refuse_mixed(sheet: Sheet, runs: Texts, asked: Texts, ids: Texts) -> None:
    """Refuse what was done where it is what another run of the sheet asked for, or a run's second.

    Args:
        sheet: N rows.
        runs: that each names, or ''.
        asked: the experiment of that run, or ''.
        ids: the experiment that was done.

    Raises:
        DataError: there is such a row.
    """
    run, other = sheet.own(sheet.names.run), (runs != "") & (ids != asked)
    wanted_by = {id_: name for name, id_ in _asked(sheet).items()}
    other &= mapped(runs, sheet.state.asked) != ids
    sheet.refuse(
        other & np.isin(ids, list(wanted_by)),
        run,
        lambda i: f"the row has the cells of {wanted_by[ids[i]]}, not of {runs[i]}; {_APART}",
    )
    first = dict(zip(runs[::-1].tolist(), ids[::-1].tolist(), strict=True))
    sheet.refuse(
        (runs != "") & np.array([first[r] != i for r, i in zip(runs, ids, strict=True)], bool),
        run,
        lambda i: f"{runs[i]} is in the sheet with other cells too; clear the run in one of them",
    )


def note_done(
    sheet: Sheet, inputs: Sequence[Input], runs: Texts, asked: Texts, ids: Texts
) -> tuple[Note, ...]:
    """What was done in place of what was asked; arguments as of `refuse_mixed`."""
    table, told = sheet.state.table, list[Note]()
    for i in np.flatnonzero((runs != "") & (ids != asked)):
        before = table.loc[asked[i]]
        at = np.array([table.index.get_loc(asked[i])])
        changes = [
            f"{c.column} {c.texts[i]}, not {cell_text(before[c.column])}"
            for c in inputs
            if c._replace(sheet=c.sheet[[i]]).differ(at)[0]
        ]
        wanted = sheet.state.asked(runs[i])
        what = f"{runs[i]} was done as asked" if wanted == ids[i] else f"{runs[i]} asked {wanted}"
        what += f", done {ids[i]}: {'; '.join(changes)}"
        told.append(Note("done-otherwise", sheet.at(i), what))
    return folded(told)
