"""Sheets of an Excel workbook, with what a table can't show refused or reported."""

from __future__ import annotations

import datetime
import zipfile
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from gollum.data.naming import loose
from gollum.data.spreadsheets.book import Book, Filled, Page, Place, damaged
from gollum.data.spreadsheets.numbers import Cell, DateCell, shown
from gollum.data.spreadsheets.parts import count_elements
from gollum.data.spreadsheets.sheets import MOST_CELLS, Sheet, check_characters, check_size, letters
from gollum.data.spreadsheets.units import split_name
from gollum.errors import DataError, likewise, nearest, quoted
from gollum.notes import Note

OURS = ("plate map", "map")  # titles of sheets that we write for people, beside the one to fill in
_HEADS = 11  # rows in which the names of columns are looked for


def read_sheet(file: Path, content: bytes, name: str | None, wanted: str | None = None) -> Sheet:
    """The cells of one sheet: the named one, or the first visible one that is not empty.

    Raises:
        DataError: the workbook is damaged or too large, the sheet is missing or empty, cells are
            merged, or a formula has no value; or the first sheet lacks a column that is `wanted`,
            and another one has it.
        MissingExtraError: openpyxl is not installed.
    """
    try:
        counts = count_elements(file, content)
    except zipfile.BadZipFile:
        raise damaged(file) from None
    book = Book(file, content)
    title, notes = choose(file, book, name, wanted)
    page, where = book.page(title), f"{file}, sheet '{title}'"
    cells = _uncovered(where, page)
    rows = max(row for row, _ in cells)
    columns = sorted({column for _, column in cells})
    check_size(where, rows, len(columns))
    texts = (cell.value for cell in cells.values() if isinstance(cell.value, str))
    check_characters(where, sum(map(len, texts)))
    _check_merged(where, page.merged, cells)
    if counts["f"] and (place := book.uncomputed(title)):
        raise _refusal(where, place, "holds a formula without a computed value; open the file in "
                       "Excel and save it")  # fmt: skip
    if hidden := _hidden(page, sorted({row for row, _ in cells}), columns):
        told = f"{hidden} is hidden and was read like the others; delete what you want left out."
        notes += (Note("hidden-cells", f"{file.name}, sheet '{title}'", told),)
    return Sheet(file, title, columns, _grid(where, cells, rows, columns), notes)


class Titled(Protocol):
    """A workbook: whether each sheet is 'visible', has a value, and what its first rows hold."""

    @property
    def states(self) -> Mapping[str, str]: ...  # noqa: D102

    def is_filled(self, title: str) -> bool: ...  # noqa: D102

    def top(self, title: str, rows: int) -> list[str]: ...  # noqa: D102


def choose(
    file: Path, book: Titled, name: str | None, wanted: str | None
) -> tuple[str, tuple[Note, ...]]:
    """The title of a sheet: the named one, or the first visible one that is not empty; and notes.

    Raises:
        DataError: it is missing or empty, or lacks the column that is wanted, as others don't.
    """
    if name is not None:
        if name not in book.states:
            raise DataError(
                f"{file}: there is no sheet '{name}'.{nearest(name, book.states)} The sheets are "
                f"{_quoted(book.states)}."
            )
        if not book.is_filled(name):
            raise DataError(f"{file}: sheet '{name}' is empty; choose another with the key sheet.")
        return name, ()
    filled = [title for title in book.states if book.is_filled(title)]
    visible = [title for title in filled if book.states[title] == "visible"]
    if not visible:
        hint = f"; choose a hidden one with the key sheet: {_quoted(filled)}" if filled else ""
        raise DataError(f"{file} is empty; it needs a sheet with a header and some rows{hint}.")
    read, *others = [title for title in visible if title not in OURS] or visible
    if others and wanted is not None and not _has_head(book, read, wanted):
        _refuse_first(file, read, [t for t in others if _has_head(book, t, wanted)], wanted)
    told = f"sheet '{read}' was read; choose another with the key sheet: {_quoted(others)}."
    return read, (Note("other-sheets", file.name, told),) if others else ()


def _has_head(book: Titled, title: str, wanted: str) -> bool:
    """Whether a cell of the first rows is the name of a column, as a person may write it."""
    name = loose(split_name(wanted)[0])
    return any(loose(split_name(text)[0]) == name for text in book.top(title, _HEADS))


def _refuse_first(file: Path, first: str, others: Sequence[str], wanted: str) -> None:
    """Ask which sheet is meant where the first one lacks a column that others have.

    Raises:
        DataError: some have it.
    """
    if others:
        raise DataError(
            f"{file}: sheet '{first}' has no column '{wanted}', and sheet '{others[0]}' has; say "
            f"--sheet {quoted(others[0])}, or --sheet {quoted(first)} if that is meant."
        )


def _quoted(names: Iterable[str]) -> str:
    return ", ".join(f"'{name}'" for name in names)


def _refusal(where: str, place: Place, what: str) -> DataError:
    row, column = place[0], letters(place[1])
    return DataError(f"{where}: row {row}, column {column}: cell {column}{row} {what}.")


def _hidden(page: Page, rows: Sequence[int], columns: Sequence[int]) -> str:
    """The first hidden row or column among those with content; '' if there is none."""
    away = [f"row {r}" for r in rows if r in page.hidden_rows] + [
        f"column {letters(c)}"
        for c in columns
        if any(low <= c <= high for low, high in page.hidden_columns)
    ]
    return away[0] if away else ""


def _uncovered(where: str, page: Page) -> dict[Place, Filled]:
    """The cells that are not hidden behind the first one of a merged range.

    Raises:
        DataError: so much is merged that it is no title.
    """
    cells, room = dict(page.cells), MOST_CELLS
    for merged in page.merged:
        first = (merged.min_row, merged.min_col)
        room -= (merged.max_row - merged.min_row + 1) * (merged.max_col - merged.min_col + 1)
        if room < 0:
            raise _is_merged(where, merged)
        for place in merged.cells:
            if place != first:
                cells.pop(place, None)
    if not cells:
        raise DataError(f"{where}: all cells with a value are behind merged ones; unmerge them.")
    return cells


def _check_merged(where: str, ranges: Iterable[Any], cells: Iterable[Place]) -> None:
    """Merged cells hold one value for many; only a title above the table may be one."""
    filled = Counter(row for row, _ in cells)
    top = min((row for row, count in filled.items() if count > 1), default=0)
    for merged in ranges:
        if top <= merged.max_row and merged.min_row <= max(filled):
            raise _is_merged(where, merged)


def _is_merged(where: str, merged: Any) -> DataError:
    return DataError(
        f"{where}: row {merged.min_row}, column {letters(merged.min_col)}: the cells "
        f"{merged.coord} are merged; unmerge them and give every column one name and every row its "
        "own values."
    )


def _grid(
    where: str, cells: dict[Place, Filled], rows: int, columns: Sequence[int]
) -> list[list[Cell]]:
    """The cells of each row; those that are blank throughout are one list."""
    errors = sorted(place for place, cell in cells.items() if cell.kind == "e")
    if errors:
        others = [f"{letters(column)}{row}" for row, column in errors[1:]]
        what = f"holds the error {cells[errors[0]].value}; correct its formula or leave it blank"
        raise _refusal(where, errors[0], likewise(what, others))
    at = {column: i for i, column in enumerate(columns)}
    blank: list[Cell] = [""] * len(columns)
    grid = [blank] * rows
    for (row, column), cell in cells.items():
        if grid[row - 1] is blank:
            grid[row - 1] = list(blank)
        grid[row - 1][at[column]] = _value(cell)
    return grid


def _value(cell: Filled) -> Cell:
    value = cell.value
    if isinstance(value, datetime.date | datetime.time | datetime.timedelta):
        return DateCell(value)
    if isinstance(value, bool):
        return str(value)
    if isinstance(value, int) and not -(2**63) <= value < 2**63:
        return str(value)  # a code
    if isinstance(value, int | float):
        return shown(value, cell.number_format)
    return str(value)
