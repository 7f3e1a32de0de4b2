"""Tables to files that a spreadsheet program opens without computing or changing anything."""

from __future__ import annotations

import io
import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from gollum.data.spreadsheets.book import optional
from gollum.data.spreadsheets.sheets import FORMULA, MOST_COLUMNS, refuse_repeats
from gollum.errors import DataError
from gollum.files import write_file

_ROWS, _CHARACTERS, _DIGITS = 1_048_576, 32_767, 15  # what Excel holds: in a sheet, cell, number
_NO_XML = re.compile(r"[\x00-\x08\x0b-\x1f\ud800-\udfff\ufffe\uffff]")
_TEXT_FORMAT = "@"
_LINE_END = re.compile(r"\r\n?")  # XML, and so a workbook, has only the line feed


def write_sheet(frame: pd.DataFrame, path: str | Path) -> None:
    """Write a table as .csv (UTF-8 with a byte order mark, commas) or .xlsx, in one step.

    Numbers are written as numbers. Everything else is text: one that a spreadsheet would take for
    a formula gets an apostrophe in front, which `read_table` takes away again, and in .xlsx all
    texts have the text format, so that codes such as 1-2 or 007 stay what they are, and line ends
    become line feeds. The index is not written.

    Args:
        frame: N x k table.
        path: the file; an earlier one is replaced.

    Raises:
        DataError: the ending is another one, a cell can't be stored, or the file can't be written.
        MissingExtraError: openpyxl is needed and not installed.
    """
    file = Path(path).expanduser()
    content = sheet_content(frame, file)
    try:
        write_file(file, content)
    except OSError as error:
        raise DataError(f"{file} cannot be written: {error.strerror}; choose another.") from None


def sheet_content(frame: pd.DataFrame, file: Path) -> bytes:
    """What `write_sheet` writes into a file of this name; nothing is written.

    Raises:
        DataError: the ending is another one, or a cell can't be stored.
        MissingExtraError: openpyxl is needed and not installed.
    """
    ending = file.suffix.lower()
    if ending not in _WRITERS:
        raise DataError(f"{file}: cannot write '{file.suffix}' files; use .csv or .xlsx.")
    names = [harmless(str(name)) for name in frame.columns]
    refuse_repeats(str(file), names)
    columns = [_cells(file, frame.iloc[:, i]) for i in range(frame.shape[1])]
    return _WRITERS[ending](file, names, columns)


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
    texts = [_LINE_END.sub("\n", str(value)) if _is_book(file) else str(value) for value in column]
    return [
        None if gone or not text else harmless(text)
        for text, gone in zip(texts, missing, strict=True)
    ]


def _is_book(file: Path) -> bool:
    return file.suffix.lower() == ".xlsx"


def _csv(file: Path, names: list[str], columns: list[list[Any]]) -> bytes:
    frame = pd.DataFrame(dict(enumerate(columns)), dtype=object)
    text = frame.to_csv(index=False, header=names, lineterminator="\r\n")
    try:
        return text.encode("utf-8-sig")
    except UnicodeEncodeError as error:
        raise DataError(
            f"{file}: {text[error.start]!a} is no character of any text; remove it."
        ) from None


def _xlsx(file: Path, names: list[str], columns: list[list[Any]]) -> bytes:
    openpyxl = optional("openpyxl", "Excel files", "excel")
    rows = max(map(len, columns), default=0)
    if rows >= _ROWS or len(names) > MOST_COLUMNS:
        raise DataError(
            f"{file}: {rows} rows and {len(names)} columns are more than an Excel sheet holds; "
            "write .csv."
        )
    for name, cells in zip(names, columns, strict=True):
        _check_texts(file, name, cells)
    make = optional("openpyxl.cell", "Excel files", "excel").WriteOnlyCell
    book = openpyxl.Workbook(write_only=True)
    sheet = book.create_sheet("Sheet1")

    def cell(value: Any) -> Any:
        if not isinstance(value, str):
            return value
        made = make(sheet, value)
        made.data_type, made.number_format = "s", _TEXT_FORMAT
        return made

    for row in (names, *zip(*columns, strict=True)):
        sheet.append([cell(_short(value)) for value in row])
    stream = io.BytesIO()
    book.save(stream)
    return stream.getvalue()


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


_WRITERS = {".csv": _csv, ".xlsx": _xlsx}
