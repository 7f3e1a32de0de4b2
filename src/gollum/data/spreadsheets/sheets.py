"""From the rows of a sheet to a table: where the header is, and whether every row fits it."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from gollum.data.spreadsheets.columns import Column
from gollum.data.spreadsheets.inexact import inexact
from gollum.data.spreadsheets.numbers import SPACES, Cell, composed, is_integer, is_number_like
from gollum.data.spreadsheets.values import spellings, typed
from gollum.errors import DataError
from gollum.notes import Note, Notes

MOST_COLUMNS = 16_384  # as in Excel
MOST_ROWS = 10_000_000
MOST_CELLS = 20_000_000
MOST_CHARACTERS = 1_000_000_000
_TITLE_ROWS = 10  # lines above the header that are looked at
FORMULA = re.compile(r"'*[=+\-@\t\r]")  # a text that a spreadsheet would compute or hide


@dataclass(frozen=True)
class Sheet:
    """Cells as the file has them.

    Attributes:
        file: where they are from.
        name: of the sheet, in a workbook.
        columns: number of each column in the spreadsheet, from 1; blank ones may be left out.
        rows: cells of each row from row 1 on, blank rows included; as many as `columns`.
        notes: what was adjusted so far, one sentence each.
    """

    file: Path
    name: str | None
    columns: Sequence[int]
    rows: Sequence[Sequence[Cell]]
    notes: tuple[Note, ...] = ()

    @property
    def where(self) -> str:
        """File and sheet, for messages."""
        return f"{self.file}" if self.name is None else f"{self.file}, sheet '{self.name}'"

    @property
    def label(self) -> str:
        """File name and sheet, for notes."""
        return self.file.name if self.name is None else f"{self.file.name}, sheet '{self.name}'"

    def refusal(self, problem: str) -> DataError:
        """A refusal that names the sheet."""
        return DataError(f"{self.where}: {problem}.")

    def note(self, code: str, what: str) -> Note:
        """A note that names the sheet."""
        return Note(code, self.label, f"{what}.")


def letters(number: int) -> str:
    """Name of a column in a spreadsheet: 1 is A, 27 is AA."""
    name = ""
    while number:
        number, digit = divmod(number - 1, 26)
        name = chr(ord("A") + digit) + name
    return name


def to_table(sheet: Sheet) -> pd.DataFrame:
    """Typed columns below a header; `attrs` holds notes and the spreadsheet row of the first.

    Raises:
        DataError: the header or a row is not as it should be.
    """
    check_size(sheet.where, len(sheet.rows), len(sheet.columns))
    header, notes = _header(sheet)
    body = list(sheet.rows[header + 1 :])
    while body and _is_blank(body[-1]):
        body.pop()
    names = [_name(cell) for cell in sheet.rows[header]]
    for number, row in enumerate(body, start=header + 2):
        _check_row(sheet, number, row, len(names))
    across = zip(*body, strict=True) if body else [()] * len(names)
    columns = [_unescaped_all(cells) for cells in across]
    kept = [i for i, name in enumerate(names) if name or not _is_blank(columns[i])]
    titles = [names[i] or f"unnamed {sheet.columns[i]}" for i in kept]
    notes += _check_names(sheet, header + 1, names, kept, titles)
    for i in kept:
        _check_stray(sheet, header + 2, names[i], i, columns[i])
    native = sheet.name is not None
    made = [
        Column(sheet.where, sheet.label, title, header + 2, columns[i], native)
        for title, i in zip(titles, kept, strict=True)
    ]
    _check_second_header(sheet, header + 2, made)
    series, more = typed(made)
    table = pd.DataFrame(dict(zip(titles, series, strict=True)))
    table.attrs["notes"] = Notes((*sheet.notes, *notes, *more))
    table.attrs["first_row"] = header + 2
    table.attrs["written"] = {column.name: spellings(column) for column in made}
    return table


def check_size(where: str, rows: int, columns: int) -> None:
    """Refuse more columns, rows or cells than fit.

    Raises:
        DataError: there are more.
    """
    if columns > MOST_COLUMNS:
        raise DataError(
            f"{where}: there are {columns} columns, and up to {MOST_COLUMNS} are read; keep only "
            "those that you need."
        )
    if rows > MOST_ROWS or rows * columns > MOST_CELLS:
        raise DataError(
            f"{where}: the table spans {rows} rows and {columns} columns, and up to {MOST_ROWS} "
            f"rows and {MOST_CELLS} cells are read; keep only those that you need."
        )


def check_characters(where: str, count: int) -> None:
    """Refuse texts that many cells share in the file, and each has to itself in a table.

    Raises:
        DataError: they have more characters than fit.
    """
    if count > MOST_CHARACTERS:
        raise DataError(
            f"{where}: its cells have {count} characters, and up to {MOST_CHARACTERS} are read; "
            "shorten the long ones."
        )


def refuse_repeats(where: str, names: Sequence[str]) -> None:
    """Refuse a table in which two columns have the same name.

    Raises:
        DataError: two have.
    """
    repeated = [name for name, count in Counter(names).items() if count > 1]
    if repeated:
        raise DataError(f"{where}: two columns are called '{repeated[0]}'; rename one of them.")


def _is_blank(cells: Sequence[Cell]) -> bool:
    return not any(not isinstance(cell, str) or cell.strip(SPACES) for cell in cells)


def _is_number(cell: Cell) -> bool:
    return not isinstance(cell, str) or is_number_like(cell)


def _name(cell: Cell) -> str:
    """A column's name on one line, with plain spaces."""
    name = re.sub(r"[\r\n\t\u00a0\u2007\u2009\u202f]+", " ", str(cell).strip(SPACES))
    return str(_unescaped(name))


def _unescaped(cell: Cell) -> Cell:
    """A cell without the apostrophe that keeps spreadsheets from taking it for a formula."""
    if not isinstance(cell, str):
        return cell
    return composed(cell[1:] if cell[:1] == "'" and FORMULA.match(cell) else cell)


def _unescaped_all(cells: Sequence[Cell]) -> list[Cell]:
    """The same of a column, whose cells are looked at once each."""
    texts = {cell for cell in cells if isinstance(cell, str)}
    changed = {text: made for text in texts if (made := _unescaped(text)) != text}
    if not changed:
        return list(cells)
    return [changed.get(cell, cell) if isinstance(cell, str) else cell for cell in cells]


def _header(sheet: Sheet) -> tuple[int, list[Note]]:
    """Position of the header, and notes on the lines above it.

    A line above the header is passed over as a title if it has one cell only, the first, and what
    follows looks like a header: names in all cells, with numbers for the most part below one.

    Raises:
        DataError: it has, but what follows does not.
    """
    rows = sheet.rows
    start = next(i for i, row in enumerate(rows) if not _is_blank(row))
    for i in range(start, min(len(rows), start + _TITLE_ROWS)):
        present = [j for j, cell in enumerate(rows[i]) if not _is_blank([cell])]
        if present and present != [0]:
            break
    names = rows[i]
    if i == start or present == [0]:
        return start, []
    below = [row for row in rows[i + 1 :] if len(row) == len(names)]
    if any(_is_number(names[j]) for j in present) or not any(
        _share_of_numbers([row[j] for row in below]) > 0.5 for j in present
    ):
        raise sheet.refusal(
            f"row {start + 1}: there is only one cell, while row {i + 1} has {len(present)}; name "
            "every column in one row, and delete titles above it"
        )
    titles = [str(row[0]).strip(SPACES) for row in rows[start:i] if not _is_blank(row)]
    told = [f"'{title[:60]}' above the header was left out" for title in titles]
    return i, [sheet.note("title", what) for what in told]


def _share_of_numbers(cells: Sequence[Cell]) -> float:
    present = [cell for cell in cells if not _is_blank([cell])]
    return sum(map(_is_number, present)) / len(present) if present else 0.0


def _check_row(sheet: Sheet, number: int, row: Sequence[Cell], width: int) -> None:
    if _is_blank(row):
        raise sheet.refusal(
            f"row {number} is blank; delete it, and what is below if that is not part of the table"
        )
    if len(row) != width:
        raise sheet.refusal(
            f"row {number}: expected {width} cells as in the header, got {len(row)}; check for a "
            f"missing or extra delimiter, and quote cells that contain one"
        )


def _check_names(
    sheet: Sheet, row: int, names: Sequence[str], kept: Sequence[int], titles: Sequence[str]
) -> list[Note]:
    refuse_repeats(f"{sheet.where}: row {row}", titles)
    nameless = [sheet.columns[i] for i in kept if not names[i]]
    if len(nameless) > 1:
        raise sheet.refusal(
            f"row {row}: columns {letters(nameless[0])} and {letters(nameless[1])} have no name; "
            "name every column there, and delete titles above the header"
        )
    notes = [
        sheet.note("no-name", f"column {letters(n)} has no name and is called 'unnamed {n}'")
        for n in nameless
    ]
    numbers = [title for title in titles if is_number_like(title)]
    if numbers and len(numbers) == len(titles):
        raise sheet.refusal(
            f"row {row} holds numbers where the names of the columns should be; add a header"
        )
    if numbers:
        what = f"row {row} was taken for the header though it holds numbers such as '{numbers[0]}'"
        notes.append(sheet.note("numbers-in-header", what))
    return notes


def _check_stray(sheet: Sheet, first: int, name: str, i: int, cells: Sequence[Cell]) -> None:
    """A column without a name and with few cells is a remark beside the table."""
    if name:
        return
    filled = [row for row, cell in enumerate(cells, start=first) if not _is_blank([cell])]
    if 2 * len(filled) < len(cells):
        at = letters(sheet.columns[i])
        raise sheet.refusal(
            f"row {filled[0]}, column {at}: cell {at}{filled[0]} is outside the table, as its "
            "column has no name; name it or clear the cell"
        )


def _check_second_header(sheet: Sheet, row: int, columns: Sequence[Column]) -> None:
    first = [column.cells[0] if column.cells else "" for column in columns]
    present = [cell for cell in first if not _is_blank([cell])]
    if any(_is_number(cell) or is_integer(str(cell).strip(SPACES)) for cell in present):
        return  # of a header no name is a number, nor a code such as 007
    if any(inexact(str(cell), "", (0.0, 100.0)) for cell in present):
        return  # nor a result such as <5
    for column in columns:
        if (
            column.cells
            and not _is_blank(column.cells[:1])
            and _share_of_numbers(column.cells[1:]) == 1
        ):
            raise column.refusal(
                row,
                f"'{str(column.cells[0]).strip(SPACES)}' stands above numbers; keep one header "
                "row, and leave cells without a measurement blank",
            )
