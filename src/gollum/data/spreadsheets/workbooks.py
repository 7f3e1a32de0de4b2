"""Sheets of an Excel workbook, with what a table can't show refused or reported."""

from __future__ import annotations

import datetime
import io
import re
import warnings
import zipfile
from collections import Counter
from collections.abc import Iterable
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

from gollum.data.spreadsheets.encodings import LARGEST, too_large
from gollum.data.spreadsheets.numbers import SPACES, Cell, DateCell, shown
from gollum.data.spreadsheets.sheets import Sheet, check_size, letters
from gollum.errors import DataError, MissingExtraError, nearest
from gollum.notes import Note

_FORMULA = re.compile(rb"<(?:\w+:)?f[\s/>]")


def optional(module: str, feature: str, extra: str) -> ModuleType:
    """Import a package that not every installation has.

    Raises:
        MissingExtraError: it is not installed.
    """
    try:
        return import_module(module)
    except ImportError:
        raise MissingExtraError(feature, extra) from None


def read_sheet(file: Path, content: bytes, name: str | None) -> Sheet:
    """The cells of one sheet: the named one, or the first visible one that is not empty.

    Raises:
        DataError: the workbook is damaged or too large, the sheet is missing or empty, cells are
            merged, or a formula has no value.
        MissingExtraError: openpyxl is not installed.
    """
    _check_size(file, content)
    book = _open(file, content, data_only=True)
    sheet, notes = _choose(file, book, name)
    cells = {place: cell for place, cell in sheet._cells.items() if _is_filled(cell)}
    rows = max(row for row, _ in cells)
    columns = sorted({column for _, column in cells})
    where = f"{file}, sheet '{sheet.title}'"
    check_size(where, rows, len(columns))
    _check_merged(where, sheet, cells)
    _check_formulas(where, file, content, sheet)
    hidden = _hidden(sheet, sorted({row for row, _ in cells}), columns)
    if hidden:
        told = f"{hidden} is hidden and was read like the others; delete what you want left out."
        notes += (Note("hidden-cells", f"{file.name}, sheet '{sheet.title}'", told),)
    at = {column: i for i, column in enumerate(columns)}
    grid: list[list[Cell]] = [[""] * len(columns) for _ in range(rows)]
    for (row, column), cell in cells.items():
        grid[row - 1][at[column]] = _value(where, cell)
    return Sheet(file, sheet.title, columns, grid, notes)


def _check_size(file: Path, content: bytes) -> None:
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            size = sum(entry.file_size for entry in archive.infolist())
    except zipfile.BadZipFile:
        raise _damaged(file) from None
    if size > LARGEST:
        raise too_large(file, f"unpacks to {size / 2**20:.0f} MB")


def _damaged(file: Path) -> DataError:
    return DataError(
        f"{file} is not a readable Excel workbook, perhaps because it is incomplete; open it in "
        "Excel and save it again."
    )


def _open(file: Path, content: bytes, **options: bool) -> Any:
    openpyxl = optional("openpyxl", "Excel files", "excel")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # styles and drop-down lists that openpyxl leaves out
            return openpyxl.load_workbook(io.BytesIO(content), **options)
    except Exception:  # a broken workbook fails in many ways
        raise _damaged(file) from None


def _choose(file: Path, book: Any, name: str | None) -> tuple[Any, tuple[Note, ...]]:
    sheets = {sheet.title: sheet for sheet in book.worksheets}
    filled = [t for t, sheet in sheets.items() if any(map(_is_filled, sheet._cells.values()))]
    visible = [title for title in filled if sheets[title].sheet_state == "visible"]
    if name is not None:
        if name not in sheets:
            raise DataError(
                f"{file}: there is no sheet '{name}'.{nearest(name, sheets)} The sheets are "
                f"{_quoted(sheets)}."
            )
        if name not in filled:
            raise DataError(f"{file}: sheet '{name}' is empty; choose another with the key sheet.")
        return sheets[name], ()
    if not visible:
        hint = f"; choose a hidden one with the key sheet: {_quoted(filled)}" if filled else ""
        raise DataError(f"{file} is empty; it needs a sheet with a header and some rows{hint}.")
    read, *others = visible
    told = f"sheet '{read}' was read; choose another with the key sheet: {_quoted(others)}."
    return sheets[read], (Note("other-sheets", file.name, told),) if others else ()


def _quoted(names: Any) -> str:
    return ", ".join(f"'{name}'" for name in names)


def _is_filled(cell: Any) -> bool:
    value = cell.value
    return value is not None and not (isinstance(value, str) and not value.strip(SPACES))


def _hidden(sheet: Any, rows: list[int], columns: list[int]) -> str:
    """The first hidden row or column among those with content; '' if there is none."""
    known = sheet.row_dimensions
    spans = [(d.min, d.max) for d in sheet.column_dimensions.values() if d.hidden and d.min]
    away = [f"row {r}" for r in rows if r in known and known[r].hidden] + [
        f"column {letters(c)}" for c in columns if any(low <= c <= high for low, high in spans)
    ]
    return away[0] if away else ""


def _check_merged(where: str, sheet: Any, cells: Iterable[tuple[int, int]]) -> None:
    """Merged cells hold one value for many; only a title above the table may be one."""
    filled = Counter(row for row, _ in cells)
    top = min((row for row, count in filled.items() if count > 1), default=0)
    for merged in sorted(sheet.merged_cells.ranges, key=lambda r: (r.min_row, r.min_col)):
        if top <= merged.max_row and merged.min_row <= max(filled):
            raise DataError(
                f"{where}: row {merged.min_row}, column {letters(merged.min_col)}: the cells "
                f"{merged.coord} are merged; unmerge them and give every column one name and every "
                "row its own values."
            )


def _check_formulas(where: str, file: Path, content: bytes, values: Any) -> None:
    """A formula that no spreadsheet program has computed yet has no value to read."""
    if not any(map(_may_be_uncomputed, values._cells.values())) or not _has_formulas(content):
        return
    sheet = _open(file, content, data_only=False)[values.title]
    for place, cell in sheet._cells.items():
        if cell.data_type == "f" and _may_be_uncomputed(values._cells[place]):
            raise DataError(
                f"{where}: row {cell.row}, column {cell.column_letter}: cell {cell.coordinate} "
                "holds a formula without a computed value; open the file in Excel and save it."
            )


def _has_formulas(content: bytes) -> bool:
    """Whether a sheet holds any; seen from its text, since parsing it again takes long."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        sheets = [name for name in archive.namelist() if "worksheets/" in name]
        return any(_FORMULA.search(archive.read(name)) for name in sheets)


def _may_be_uncomputed(cell: Any) -> bool:
    return cell.value is None and cell.data_type != "str"  # as a computed blank text is marked


def _value(where: str, cell: Any) -> Cell:
    value = cell.value
    if cell.data_type == "e":
        raise DataError(
            f"{where}: row {cell.row}, column {cell.column_letter}: cell {cell.coordinate} holds "
            f"the error {value}; correct its formula or leave it blank."
        )
    if isinstance(value, datetime.date | datetime.time | datetime.timedelta):
        return DateCell(value)
    if isinstance(value, bool):
        return str(value)
    if isinstance(value, int) and not -(2**63) <= value < 2**63:
        return str(value)  # a code
    if isinstance(value, int | float):
        return shown(value, cell.number_format)
    return str(value)
