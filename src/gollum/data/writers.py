"""Tables to files that a spreadsheet program opens without computing or changing anything."""

from __future__ import annotations

import io
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from gollum.data.spreadsheets.book import optional
from gollum.data.spreadsheets.looks import Look, cell_styles, dress, head_style
from gollum.data.spreadsheets.sheets import FORMULA, MOST_COLUMNS, refuse_repeats
from gollum.errors import DataError
from gollum.files import write_file

_ROWS, _CHARACTERS, _DIGITS = 1_048_576, 32_767, 15  # what Excel holds: in a sheet, cell, number
_NO_XML = re.compile(r"[\x00-\x08\x0b-\x1f\ud800-\udfff\ufffe\uffff]")
_TEXT_FORMAT, _TIME_FORMAT = "@", "yyyy-mm-dd hh:mm"
SHEET = "Sheet1"
_LINE_END = re.compile(r"\r\n?")  # XML, and so a workbook, has only the line feed


def write_sheet(
    frame: pd.DataFrame,
    path: str | Path,
    look: Look | None = None,
    more: Mapping[str, tuple[pd.DataFrame, Look]] | None = None,
) -> None:
    """Write a table as .csv (UTF-8 with a byte order mark, commas) or .xlsx, in one step.

    Numbers are written as numbers. Everything else is text: one that a spreadsheet would take for
    a formula gets an apostrophe in front, which `read_table` takes away again, and in .xlsx all
    texts have the text format, so that codes such as 1-2 or 007 stay what they are, and line ends
    become line feeds. The index is not written.

    Args:
        frame: N x k table.
        path: the file; an earlier one is replaced.
        look: of the sheet of a workbook.
        more: title → further sheets of a workbook, for people; they are left out of .csv.

    Raises:
        DataError: the ending is another one, a cell can't be stored, or the file can't be written.
        MissingExtraError: openpyxl is needed and not installed.
    """
    file = Path(path).expanduser()
    content = sheet_content(frame, file, look, more)
    try:
        write_file(file, content)
    except OSError as error:
        raise DataError(f"{file} cannot be written: {error.strerror}; choose another.") from None


def sheet_content(
    frame: pd.DataFrame,
    file: Path,
    look: Look | None = None,
    more: Mapping[str, tuple[pd.DataFrame, Look]] | None = None,
) -> bytes:
    """What `write_sheet` writes into a file of this name; nothing is written.

    Raises:
        DataError: the ending is another one, or a cell can't be stored.
        MissingExtraError: openpyxl is needed and not installed.
    """
    ending = file.suffix.lower()
    if ending not in (".csv", ".xlsx"):
        raise DataError(f"{file}: cannot write '{file.suffix}' files; use .csv or .xlsx.")
    pages = [(SHEET, frame, look or Look())]
    pages += [(title, other, theirs) for title, (other, theirs) in (more or {}).items()]
    filled = [Filled(title, *_table(file, table), look) for title, table, look in pages]
    return _csv(file, filled[0]) if ending == ".csv" else _xlsx(file, filled)


@dataclass(frozen=True)
class Filled:
    """A sheet: its title, the names and cells of its columns, and how it looks."""

    title: str
    names: list[str]
    columns: list[list[Any]]
    look: Look


def _table(file: Path, frame: pd.DataFrame) -> tuple[list[str], list[list[Any]]]:
    """Names and cells of the columns."""
    names = [harmless(str(name)) for name in frame.columns]
    refuse_repeats(str(file), names)
    return names, [_cells(file, frame.iloc[:, i]) for i in range(frame.shape[1])]


def harmless(text: str) -> str:
    """The text, with an apostrophe in front if a spreadsheet would compute or hide it."""
    return f"'{text}" if FORMULA.match(text) else text


def _cells(file: Path, column: pd.Series) -> list[Any]:
    """Numbers as Python numbers, other values as safe text, None where blank."""
    missing = column.isna()
    if pd.api.types.is_numeric_dtype(column) and not pd.api.types.is_bool_dtype(column):
        infinite = np.flatnonzero(np.isinf(column.to_numpy(dtype="float64", na_value=np.nan)))
        if len(infinite):
            raise DataError(
                f"{file}: row {infinite[0] + 2}, column '{column.name}': a spreadsheet can't hold "
                "an infinite number; leave the cell blank."
            )
        return [None if gone else n for n, gone in zip(column.tolist(), missing, strict=True)]
    if pd.api.types.is_datetime64_any_dtype(column):
        return [
            None if gone else d.to_pydatetime() for d, gone in zip(column, missing, strict=True)
        ]
    texts = [_LINE_END.sub("\n", str(value)) if _is_book(file) else str(value) for value in column]
    return [
        None if gone or not text else harmless(text)
        for text, gone in zip(texts, missing, strict=True)
    ]


def _is_book(file: Path) -> bool:
    return file.suffix.lower() == ".xlsx"


def _csv(file: Path, sheet: Filled) -> bytes:
    frame = pd.DataFrame(dict(enumerate(sheet.columns)), dtype=object)
    text = frame.to_csv(index=False, header=sheet.names, lineterminator="\r\n")
    try:
        return text.encode("utf-8-sig")
    except UnicodeEncodeError as error:
        raise DataError(
            f"{file}: {text[error.start]!a} is no character of any text; remove it."
        ) from None


def _xlsx(file: Path, sheets: Sequence[Filled]) -> bytes:
    openpyxl = optional("openpyxl", "Excel files", "excel")
    book = openpyxl.Workbook(write_only=True)
    for sheet in sheets:
        rows = max(map(len, sheet.columns), default=0)
        if rows >= _ROWS or len(sheet.names) > MOST_COLUMNS:
            raise DataError(
                f"{file}: {rows} rows and {len(sheet.names)} columns are more than an Excel sheet "
                "holds; write .csv."
            )
        for name, cells in zip(sheet.names, sheet.columns, strict=True):
            _check_texts(file, name, cells)
        _write_rows(book.create_sheet(sheet.title), sheet)
    stream = io.BytesIO()
    book.save(stream)
    return stream.getvalue()


def _write_rows(sheet: Any, filled: Filled) -> None:
    make = optional("openpyxl.cell", "Excel files", "excel").WriteOnlyCell
    dress(sheet, filled.look, filled.names, filled.columns)
    styles = cell_styles(filled.look, filled.names, filled.columns)

    def cell(value: Any, style: Mapping[str, Any]) -> Any:
        if not isinstance(value, str | datetime) and not style:
            return value
        made = make(sheet, value)
        if isinstance(value, str):
            made.data_type, made.number_format = "s", _TEXT_FORMAT
        elif isinstance(value, datetime):
            made.number_format = _TIME_FORMAT
        for name, attribute in style.items():
            if name != "number_format" or not isinstance(value, str):
                setattr(made, name, attribute)
        return made

    head = head_style()
    sheet.append([cell(_short(name), head) for name in filled.names])
    for row in zip(*filled.columns, strict=True):
        sheet.append([cell(_short(v), style) for v, style in zip(row, styles, strict=True)])


def _short(value: Any) -> Any:
    """An integer with more digits than Excel keeps, as text."""
    return str(value) if isinstance(value, int) and abs(value) >= 10**_DIGITS else value


def _check_texts(file: Path, name: str, cells: list[Any]) -> None:
    for row, text in enumerate([name, *cells], start=1):
        if isinstance(text, str) and (len(text) > _CHARACTERS or _NO_XML.search(text)):
            raise DataError(
                f"{file}: row {row}, column '{name}': Excel can't hold a text of more than "
                f"{_CHARACTERS} characters or with control characters; write .csv."
            )
