"""Sheets of an OpenDocument spreadsheet (.ods).

One element may stand for millions of cells, so they are counted before calamine makes anything of
them. What it leaves out, such as percentages and merged cells, is found on the way.
"""

from __future__ import annotations

import datetime
import io
import zipfile
import zlib
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from xml.parsers import expat

from gollum.data.spreadsheets.book import Place, optional
from gollum.data.spreadsheets.encodings import LARGEST, too_large
from gollum.data.spreadsheets.numbers import SPACES, Cell, DateCell, PercentCell
from gollum.data.spreadsheets.sheets import Sheet, check_size, letters
from gollum.data.spreadsheets.workbooks import choose
from gollum.errors import DataError

_MIMETYPE = b"application/vnd.oasis.opendocument.spreadsheet"
_MANIFEST = b"<manifest:manifest/>"
_CELLS = ("table:table-cell", "table:covered-table-cell")
_CHUNK = 2**16


def read_sheet(file: Path, content: bytes, name: str | None, wanted: str | None = None) -> Sheet:
    """The cells of one sheet, chosen as those of a workbook are.

    Raises:
        DataError: the file is damaged or too large, the sheet is missing or empty, or cells are
            merged.
        MissingExtraError: python-calamine is not installed.
    """
    calamine = optional("python_calamine", "OpenDocument spreadsheets (.ods)", "ods")
    text = _content(file, content)
    pages = _scanned(file, text)
    try:
        book = calamine.CalamineWorkbook.from_filelike(io.BytesIO(_packed(text)))
        visible = calamine.SheetVisibleEnum.Visible
        states = {
            sheet.name: "visible" if sheet.visible == visible else "hidden"
            for sheet in book.sheets_metadata
        }
        rows = {t: book.get_sheet_by_name(t).to_python(skip_empty_area=False) for t in states}
    except (calamine.CalamineError, ValueError, OSError):
        raise _damaged(file) from None
    title, notes = choose(file, _Book(states, rows), name, wanted)
    page, cells = pages.get(title, _Page()), rows[title]
    where = f"{file}, sheet '{title}'"
    for row, column in page.merged:
        if row >= _first(cells):
            raise DataError(
                f"{where}: row {row}, column {letters(column)}: cells are merged there; unmerge "
                "them and give every column one name and every row its own values."
            )
    read = [
        [_value(cell, (i, j) in page.percent) for j, cell in enumerate(row, 1)]
        for i, row in enumerate(cells, 1)
    ]
    return Sheet(file, title, range(1, max(map(len, cells)) + 1), read, notes)


@dataclass(frozen=True)
class _Book:
    """The sheets of a file: which are 'visible', and their rows."""

    states: Mapping[str, str]
    rows: Mapping[str, list[list[Any]]]

    def is_filled(self, title: str) -> bool:
        """Whether any cell of a sheet has a value."""
        return any(_is_filled(cell) for row in self.rows[title] for cell in row)

    def top(self, title: str, rows: int) -> list[str]:
        """The texts of the first rows."""
        return [str(cell) for row in self.rows[title][:rows] for cell in row]


@dataclass
class _Page:
    """What is found of a sheet: its extent, cells with a percent sign, first of merged ones."""

    rows: int = 0
    columns: int = 0
    percent: set[Place] = field(default_factory=set)
    merged: list[Place] = field(default_factory=list)


def _content(file: Path, content: bytes) -> bytes:
    """The part with the cells.

    Raises:
        DataError: it is not there, or does not fit.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            size = archive.getinfo("content.xml").file_size
            if size > LARGEST:
                raise too_large(file, f"unpacks to {size / 2**20:.0f} MB")
            return archive.read("content.xml")
    except (zipfile.BadZipFile, zlib.error, KeyError, NotImplementedError, RuntimeError, OSError):
        raise _damaged(file) from None


def _packed(text: bytes) -> bytes:
    """A file with nothing but these cells, of which the size is known."""
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as archive:
        archive.writestr("mimetype", _MIMETYPE)
        archive.writestr("META-INF/manifest.xml", _MANIFEST)
        archive.writestr("content.xml", text)
    return made.getvalue()


def _scanned(file: Path, text: bytes) -> dict[str, _Page]:
    """The sheets by title.

    Raises:
        DataError: they span more than fits, or are no XML that can be read.
    """
    pages, at = dict[str, _Page](), Counter[str]()
    page = _Page()

    def start(kind: str, attributes: dict[str, str]) -> None:
        nonlocal page
        if kind == "table:table":
            page = pages.setdefault(attributes.get("table:name", ""), _Page())
            at.clear()
        elif kind == "table:table-row":
            at["row"] += at["rows"]
            at["rows"] = int(attributes.get("table:number-rows-repeated", 1))
            at["column"] = 0
        elif kind in _CELLS:
            count = int(attributes.get("table:number-columns-repeated", 1))
            if value := attributes.get("office:value-type"):
                page.rows, right = at["row"] + at["rows"], at["column"] + count
                page.columns = max(page.columns, right)
                check_size(str(file), page.rows, page.columns)
                if value == "percentage":
                    page.percent.update(
                        (row + 1, column + 1)
                        for row in range(at["row"], page.rows)
                        for column in range(at["column"], right)
                    )
            spans = ("table:number-columns-spanned", "table:number-rows-spanned")
            if any(attributes.get(span, "1") != "1" for span in spans):
                page.merged.append((at["row"] + 1, at["column"] + 1))
            at["column"] += count

    def refuse_entity(*_: object) -> None:
        raise _damaged(file)

    parser = expat.ParserCreate()
    parser.StartElementHandler, parser.EntityDeclHandler = start, refuse_entity
    try:
        for i in range(0, len(text), _CHUNK):
            parser.Parse(text[i : i + _CHUNK], False)
        parser.Parse(b"", True)
    except (expat.ExpatError, ValueError):
        raise _damaged(file) from None
    return pages


def _damaged(file: Path) -> DataError:
    return DataError(
        f"{file} is not a readable OpenDocument spreadsheet, perhaps because it is incomplete or "
        "has a password; open it in LibreOffice and save it again."
    )


def _first(rows: list[list[Any]]) -> int:
    """Number of the first row with several cells."""
    several = (i for i, row in enumerate(rows, 1) if sum(map(_is_filled, row)) > 1)
    return next(several, len(rows))


def _is_filled(cell: Any) -> bool:
    return not isinstance(cell, str) or bool(cell.strip(SPACES))


def _value(cell: Any, percent: bool) -> Cell:
    if isinstance(cell, datetime.date | datetime.time | datetime.timedelta):
        return DateCell(cell)
    if isinstance(cell, bool):
        return str(cell)
    if isinstance(cell, int | float):
        if percent:
            return PercentCell(f"{100 * cell:.15g}")
        whole = float(cell).is_integer() and abs(cell) < 2**53
        return int(cell) if whole else float(cell)
    return str(cell)
