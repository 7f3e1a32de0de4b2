"""Which experiment a row of a sheet speaks of: by its run, else its id, else all its inputs.

Inputs are compared as the texts of experiments show them: texts without the spaces around them,
numbers with six digits. What no candidate has is a new experiment and joins them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from functools import partial
from itertools import count
from typing import NamedTuple

import numpy as np
import pandas as pd

from gollum.campaign.events import Cells
from gollum.campaign.filled import Mask, Sheet, Texts, folded, mapped
from gollum.campaign.inputs import Input, Rows, grouped, read_inputs
from gollum.campaign.otherwise import as_done, note_done, refuse_mixed
from gollum.campaign.slips import Known, slipped
from gollum.data.molecules import can_read, canonical
from gollum.data.pool import cell_text
from gollum.errors import DataError, nearest, quoted
from gollum.notes import Note

# Runs are called b3-1, b3-1~2, r5~1, and spreadsheets take 3-1 for a date; 2024-117 is neither.
NO_ID = re.compile(r".*[~/\n\r\t].*|b\d+-\d+|\d{1,2}-\d{1,2}", re.DOTALL)
_SORTED = (
    "perhaps only some of the columns were sorted; bring the cells of each experiment together "
    "again, or clear run and id if it is another experiment"
)
_AS_DONE = ", or record with --as-done if the run was done so"


class Identity(NamedTuple):
    """The experiments that a sheet speaks of.

    Attributes:
        runs: N texts; '' where the row names no run.
        ids: N texts; '' where not asked for.
        joined: experiments that are no candidates yet.
        told: what was understood in a special way.
    """

    runs: Texts
    ids: Texts
    joined: Cells | None
    told: tuple[Note, ...]


def identify(
    sheet: Sheet, wanted: Mask, new_names: bool = False, otherwise: Mask | None = None
) -> Identity:
    """The experiments of the rows that are wanted.

    Args:
        sheet: the rows.
        wanted: which of them matter.
        new_names: whether names that are spelt almost like known ones are new options.
        otherwise: which of them may have been done differently from what their run asked for.

    Raises:
        DataError: a row names no experiment, one that there isn't, or two.
    """
    free = np.zeros(len(wanted), dtype=bool) if otherwise is None else otherwise.copy()
    runs, given, asked, ids = _named(sheet, wanted, free)
    table = sheet.state.table
    at = table.index.get_indexer(pd.Index(ids, dtype=object))
    inputs, told = read_inputs(sheet, wanted, every=bool(free.any()))
    suggested = ~pd.isna(mapped(runs, sheet.state.asked))
    flag = np.where(suggested & (ids == asked), _AS_DONE, "")
    names = np.where((runs != "") & (ids == asked), runs, ids)
    others = list[Mask]()
    for cells in inputs:
        differ, more = _others(sheet, cells, at, free & (flag != ""), names, flag)
        others.append(differ)
        told += more
    done = np.any(others, axis=0) if others else free & False
    loose = wanted & (at < 0)
    if loose.any():
        _refuse_nameless(sheet, inputs, loose, given)
    if done.any():
        inputs = as_done(sheet, inputs, others, at, done)
        given = np.where(done, "", given)
    joined, new = None, dict[str, int]()
    rows = np.flatnonzero(loose | done)
    if len(rows):
        ids[rows], new, more = _by_inputs(sheet, inputs, rows, given, new_names)
        told += more
        _refuse_slips(sheet, inputs, list(new.values()), new_names)
        joined = _cells(sheet, inputs, new) if new else None
    refuse_mixed(sheet, runs, asked, ids)
    told += note_done(sheet, inputs, runs, asked, ids)
    return Identity(runs, ids, joined, (*told, *_welcome(sheet, inputs, new)))


def free_ids(taken: Collection[str]) -> Iterator[str]:
    """n1, n2, … without those that are taken."""
    return (name for k in count(1) if (name := f"n{k}") not in taken)


def strangers(sheet: Sheet, idle: Mask) -> Mask:
    """N flags: the row is idle and speaks of an experiment that is no candidate."""
    table, ids = sheet.state.table, sheet.texts(_id_column(sheet))
    run = sheet.texts(sheet.own(sheet.names.run))
    loose = np.asarray(idle & (run == "") & ~pd.Index(ids).isin(table.index), dtype=bool)
    if not loose.any() or not set(map(str, table.columns)) <= set(sheet.frame.columns):
        return np.zeros(len(loose), dtype=bool)
    try:
        inputs, _ = read_inputs(sheet, loose)
    except DataError:  # a cell that no candidate can have
        return loose
    rows = np.flatnonzero(loose)
    groups, candidates = grouped(inputs, rows)
    loose[rows] = [g not in candidates for g in groups]
    return loose


def _named(sheet: Sheet, wanted: Mask, free: Mask) -> tuple[Texts, Texts, Texts, Texts]:
    """Runs, ids as the sheet has them, ids by run, and ids by run or else by the sheet.

    In rows that are `free` another id is that of what was done.
    """
    state = sheet.state
    run, own_id = sheet.own(sheet.names.run), _id_column(sheet)
    runs, given = (np.where(wanted, sheet.texts(column), "") for column in (run, own_id))
    id_of = {name: plan.suggestion.id for name, plan in state.plans.items()}
    id_of |= {name: m.result.id for name, m in state.measurements.items()}
    asked = mapped(runs, lambda name: id_of.get(name) if name else "")
    sheet.refuse(pd.isna(asked), run, lambda i: _unknown_run(runs[i], id_of))
    first = mapped(runs, state.asked)
    # The sheet of a run that was done differently still has the id that was asked for.
    given = np.where(given == first, "", given)
    free &= ~pd.isna(first)
    other = (asked != "") & (given != "") & (asked != given)
    for i in np.flatnonzero(other):
        other[i] = _is_other(asked[i], given[i])
    sheet.refuse(
        other & ~free,
        own_id,
        lambda i: f"run {runs[i]} is {asked[i]}, but the row says '{given[i]}'; {_SORTED}",
    )
    return runs, given, asked, np.where((asked != "") & ~(other & free), asked, given)


def _is_other(known: str, name: str) -> bool:
    """Whether a name is another one, and not the known one as spreadsheet programs save it."""
    return known != name and Known([known]).saved(name) is None


def _id_column(sheet: Sheet) -> str | None:
    return sheet.own(sheet.names.id, "id")


def _unknown_run(run: str, known: Iterable[str]) -> str:
    meant = nearest(run, known) or " Clear the cell to go by the other columns"
    return f"there is no run '{run}'.{meant}"


def _others(
    sheet: Sheet, cells: Input, at: Rows, free: Mask, names: Texts, flag: Texts
) -> tuple[Mask, list[Note]]:
    """Flags of rows whose run or id is of an experiment with another cell there, and notes.

    Names that a spreadsheet program has changed are no others; notes say so. `flag` is what may be
    said of a row that is refused.

    Raises:
        DataError: there is such a row, and it is not free to be another experiment.
    """
    column, differ = cells.column, (at >= 0) & cells.differ(at)
    told = list[Note]()
    for i in np.flatnonzero(differ) if cells.is_text else ():
        known, text = str(cells.table[at[i]]), cells.sheet[i]
        if not _is_other(known, text):
            differ[i] = False
            what = f"'{text}' is taken for '{known}', which {names[i]} has"
            told.append(Note("as-saved", sheet.at(i, column), what))
    sheet.refuse(
        differ & ~free,
        column,
        lambda i: (
            f"{names[i]} has '{cell_text(sheet.state.table[column].iloc[at[i]])}' there, but the "
            f"row says '{cells.texts[i]}'; {_SORTED}{flag[i]}"
        ),
    )
    return differ, list(folded(told))


def _refuse_nameless(sheet: Sheet, inputs: Sequence[Input], loose: Mask, given: Texts) -> None:
    """Refuse rows without run and known id that don't have all inputs either."""
    table = sheet.state.table
    missing = [str(column) for column in table if str(column) not in sheet.frame]
    blank = np.ones(len(loose), dtype=bool)
    for cells in inputs:
        blank &= (cells.sheet == "") if cells.is_text else np.isnan(cells.sheet)
    lacking = f"the column '{missing[0]}' is missing" if missing else "the inputs are blank"
    wrong = loose & (blank | bool(missing))
    sheet.refuse(
        wrong & (given != ""),
        _id_column(sheet),
        lambda i: _unknown_id(given[i], lacking, table.index.tolist()),
    )
    sheet.refuse(
        wrong,
        None,
        lambda i: f"the row names neither a run nor a known id, and {lacking}; give one",
    )


def _unknown_id(name: str, lacking: str, known: Sequence[str]) -> str:
    saved = Known(known).saved(name)
    hint = nearest(name, known) if saved is None else f" Did you mean '{saved}'?"
    needed = f"there is no candidate '{name}', and {lacking}"
    return needed + (f".{hint}" if hint else "; correct the id, or give all inputs to add one")


def _by_inputs(
    sheet: Sheet, inputs: Sequence[Input], rows: Rows, given: Texts, new_names: bool
) -> tuple[list[str], dict[str, int], list[Note]]:
    """The id of each row, the row of each id that is new, and notes."""
    groups, candidates = grouped(inputs, rows)
    known = sheet.state.table.index.tolist()
    ids = {g: str(known[at]) for g, at in candidates.items()}
    taken, owners = {*known, *given}, Known(known if (given[rows] != "").any() else [])
    fresh = free_ids(taken)
    new, elsewhere = dict[str, int](), list[Note]()
    for i, g in zip(rows.tolist(), groups, strict=True):
        name = given[i]
        if g in ids:
            if name not in ("", ids[g]):
                what = f"'{name}' has the inputs of {ids[g]} and is that"
                elsewhere.append(Note("other-id", sheet.at(i), what))
            continue
        if NO_ID.fullmatch(name) or name in sheet.state.plans:
            raise DataError(
                f"{sheet.name}: {sheet.at(i)}: '{name}' can't be the id of a new experiment, as "
                "runs are called b3-1 or r5~1, 3-1 is taken for a date, and / is not used; change "
                "it."
            )
        if not new_names and (meant := owners.saved(name)) is not None:
            raise DataError(f"{sheet.name}: {sheet.at(i)}: the id {_as_saved(name, meant)}.")
        ids[g] = name or next(fresh)
        if name in new:
            raise DataError(
                f"{sheet.name}: {sheet.at(new[name])} and {sheet.at(i)} are different experiments "
                f"with the same id '{name}'; give them two ids."
            )
        new[ids[g]] = i
    return [ids[g] for g in groups], new, list(folded(elsewhere))


def _cells(sheet: Sheet, inputs: Sequence[Input], new: dict[str, int]) -> Cells:
    """The cells of new experiments."""
    rows = list(new.values())
    columns = dict[str, tuple[str | int | float | None, ...]]()
    for cells in inputs:
        whole = pd.api.types.is_integer_dtype(sheet.state.table[cells.column].dtype)
        columns[cells.column] = (
            tuple(text or None for text in cells.texts[rows])
            if cells.is_text
            else tuple(_number(value, whole) for value in cells.sheet[rows].tolist())
        )
    cost = sheet.state.own_cost
    if cost is not None and cost in sheet.frame:
        costs, _ = sheet.numbers(cost, np.isin(np.arange(len(sheet.frame)), rows))
        if cost not in [one.name for one in sheet.state.outcomes]:
            sheet.refuse(costs <= 0, cost, lambda i: "a cost is more than 0; correct it")
        columns[cost] = tuple(_number(value, False) for value in costs[rows].tolist())
    return Cells(ids=tuple(new), columns=columns)


def _welcome(sheet: Sheet, inputs: Sequence[Input], new: dict[str, int]) -> tuple[Note, ...]:
    """Notes on new experiments, those with a likely slip first."""
    remarks, slips = {i: list[str]() for i in new.values()}, set[int]()
    for column, table, cells, _ in (c for c in inputs if c.is_text):
        levels = set(table)
        strange = {i: cells[i] for i in remarks if cells[i] not in levels}
        structures = column in sheet.state.created.structures
        near = {} if structures else Known(levels).near(dict.fromkeys(strange.values()))
        order = sheet.state.created.orders.get(column, ())
        for i, text in strange.items():
            if order and text not in order:
                remarks[i].append(
                    f"{column} '{text}' has no place in the order {' < '.join(order)}, which "
                    f"`gollum init CAMPAIGN --ordinal {quoted(f'{column}=…')}` changes"
                )
                continue
            hint = f" (did you mean '{near[text]}'?)" if text in near else ""
            if text in near:
                slips.add(i)
            remarks[i].append(
                (f"{column} '{text}' is new" if text else f"{column} is blank") + hint
            )
    told = [
        Note(
            "likely-slip" if i in slips else "new-experiment",
            "",
            f"{sheet.at(i)} joins the candidates as {name}: "
            + (", ".join(remarks[i]) or "a new combination"),
        )
        for name, i in new.items()
    ]
    first = [note for note in told if note.code == "likely-slip"]
    return (*folded(first), *folded([note for note in told if note.code == "new-experiment"]))


def _refuse_slips(sheet: Sheet, inputs: Sequence[Input], rows: list[int], new: bool) -> None:
    """Refuse forgotten cells of new experiments, and names spelt almost like known ones."""
    for cells in inputs:
        column, table = cells.column, cells.table
        at = np.isin(np.arange(len(sheet.frame)), rows)
        texts = cells.texts
        if not (sheet.state.table[column].isna() | (sheet.state.table[column] == "")).any():
            sheet.refuse(
                at & (texts == ""),
                column,
                lambda i: "the cell is blank, in an experiment that is new; fill it in",
            )
        if column in sheet.state.created.structures:
            if can_read():
                unread = mapped(texts, lambda text: bool(text) and canonical(text) is None)
                sheet.refuse(at & unread.astype(bool), column, partial(_no_molecule, texts))
            continue
        if new:
            continue
        if not cells.is_text:
            far = partial(_far, texts, f"{np.nanmin(table):.6g}", f"{np.nanmax(table):.6g}")
            sheet.refuse(at & slipped(cells.sheet, table), column, far)
            continue
        known = Known(set(table))
        for meant, say in ((known.typed, _almost), (known.saved, _as_saved)):
            found = mapped(cells.sheet, meant)
            sheet.refuse(at & ~pd.isna(found), column, partial(_slip, say, texts, found))


def _far(texts: Texts, low: str, high: str, i: int) -> str:
    known = f"are all {low}" if low == high else f"go from {low} to {high}"
    return (
        f"'{texts[i]}' is far from the candidates, which {known} there; correct it, or record with "
        "--new if it is meant"
    )


def _no_molecule(texts: Texts, i: int) -> str:
    return f"'{texts[i]}' is not a valid SMILES; correct it, or leave the cell blank"


def _slip(say: Callable[[str, str], str], texts: Texts, found: Texts, i: int) -> str:
    return say(texts[i], found[i])


def _almost(text: str, meant: str) -> str:
    return (
        f"'{text}' is new, but spelt almost like '{meant}'; correct it, or record with --new if it "
        "is another one"
    )


def _as_saved(text: str, meant: str) -> str:
    return (
        f"'{text}' is new, and what a spreadsheet program makes of '{meant}'; format the cells as "
        "text and type it again, or record with --new if it is another one"
    )


def _number(value: float, whole: bool) -> int | float | None:
    if np.isnan(value):
        return None
    return int(value) if whole and value.is_integer() else value
