"""A workbook read row by row: only cells with a value become objects.

openpyxl's own `load_workbook` also makes one of every cell that is formatted, merged or linked, of
which a small file may have billions. Its parser of a sheet is used here by itself.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from importlib import import_module
from itertools import takewhile
from pathlib import Path
from types import ModuleType
from typing import Any

from gollum.data.spreadsheets.numbers import SPACES
from gollum.errors import DataError, MissingExtraError

_FALSE = ("", "0", "f", "false")  # what openpyxl takes for it

Place = tuple[int, int]  # row and column, from 1


def optional(module: str, feature: str, extra: str) -> ModuleType:
    """Import a package that not every installation has.

    Raises:
        MissingExtraError: it is not installed.
    """
    try:
        return import_module(module)
    except ImportError:
        raise MissingExtraError(feature, extra) from None


@dataclass(frozen=True, slots=True)
class Filled:
    """A cell with a value.

    Attributes:
        value: text, number, truth value, date or time.
        kind: how openpyxl calls that; 'e' is an error.
        number_format: as which numbers are shown.
    """

    value: Any
    kind: str
    number_format: str


@dataclass(frozen=True)
class Page:
    """A sheet.

    Attributes:
        cells: those with a value, merged ones included.
        merged: ranges of merged cells, by row and column.
        hidden_rows: numbers of rows.
        hidden_columns: first and last number of columns.
    """

    cells: Mapping[Place, Filled]
    merged: Sequence[Any]
    hidden_rows: frozenset[int]
    hidden_columns: Sequence[tuple[int, int]]


class Book:
    """A workbook, whose sheets are read when they are asked for.

    Every method raises DataError where the file is damaged.

    Args:
        file: for messages.
        content: of the file, once its elements were counted.

    Attributes:
        states: title of each sheet, in order, and whether it is 'visible'.
    """

    def __init__(self, file: Path, content: bytes) -> None:
        excel = _openpyxl("reader.excel")
        self._file = file
        with self._reporting():
            self._reader = excel.ExcelReader(io.BytesIO(content), keep_links=False)
            self._reader.read_manifest()
            self._reader.read_strings()
            self._reader.read_workbook()
            excel.apply_stylesheet(self._reader.archive, self._reader.wb)
            found = [
                (sheet, relation.target)
                for sheet, relation in self._reader.parser.find_sheets()
                if relation.target in self._reader.valid_files and "chart" not in relation.Type
            ]
        if not found:
            raise damaged(file)
        self.states: dict[str, str] = {sheet.name: sheet.state for sheet, _ in found}
        self._parts = {sheet.name: part for sheet, part in found}

    def is_filled(self, title: str) -> bool:
        """Whether any cell of a sheet has a value."""
        with self._parser(title) as parser:
            return any(_has_value(cell) for _, row in parser.parse() for cell in row)

    def top(self, title: str, rows: int) -> list[str]:
        """The texts of the first rows."""
        with self._parser(title) as parser:
            first = takewhile(lambda numbered: numbered[0] <= rows, parser.parse())
            return [str(cell["value"]) for _, row in first for cell in row if _has_value(cell)]

    def page(self, title: str) -> Page:
        """The content of a sheet."""
        with self._parser(title) as parser:
            cells = {
                (cell["row"], cell["column"]): Filled(
                    cell["value"], cell["data_type"], self._formats[cell["style_id"]]
                )
                for _, row in parser.parse()
                for cell in row
                if _has_value(cell)
            }
            ranges = parser.merged_cells.mergeCell if parser.merged_cells else []
            merged = sorted(ranges, key=lambda r: (r.min_row, r.min_col))
            rows = frozenset(int(r) for r, d in parser.row_dimensions.items() if _is_hidden(d))
            columns = [
                (int(d["min"]), int(d["max"]))
                for d in parser.column_dimensions.values()
                if _is_hidden(d)
            ]
        return Page(cells, merged, rows, columns)

    def uncomputed(self, title: str) -> Place | None:
        """The first formula whose value no spreadsheet program has computed yet."""
        with self._parser(title) as values, self._parser(title, data_only=False) as formulas:
            for (_, known), (_, row) in zip(values.parse(), formulas.parse(), strict=True):
                for cell, formula in zip(known, row, strict=True):
                    # A computed blank text is marked as 'str'.
                    missing = cell["value"] is None and cell["data_type"] != "str"
                    if missing and formula["data_type"] == "f":
                        return formula["row"], formula["column"]
        return None

    @contextmanager
    def _parser(self, title: str, *, data_only: bool = True) -> Iterator[Any]:
        book = self._reader.wb
        with self._reporting(), self._reader.archive.open(self._parts[title]) as source:
            yield _openpyxl("worksheet._reader").WorkSheetParser(
                source,
                self._reader.shared_strings,
                data_only,
                book.epoch,
                book._date_formats,
                book._timedelta_formats,
            )

    @contextmanager
    def _reporting(self) -> Iterator[None]:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of what openpyxl leaves out
                yield
        except Exception:  # a broken workbook fails in many ways
            raise damaged(self._file) from None

    @cached_property
    def _formats(self) -> list[str]:
        """The number format of each style."""
        known = _openpyxl("styles.numbers")
        own = enumerate(self._reader.wb._number_formats, start=known.BUILTIN_FORMATS_MAX_SIZE)
        formats = {**known.BUILTIN_FORMATS, **dict(own)}
        return [formats.get(style.numFmtId, "") for style in self._reader.wb._cell_styles]


def _openpyxl(module: str) -> ModuleType:
    return optional(f"openpyxl.{module}", "Excel files", "excel")


def damaged(file: Path) -> DataError:
    """The refusal of a workbook that can't be read."""
    return DataError(
        f"{file} is not a readable Excel workbook, perhaps because it is incomplete; open it in "
        "Excel and save it again."
    )


def _has_value(cell: Mapping[str, Any]) -> bool:
    value = cell["value"]
    return value is not None and not (isinstance(value, str) and not value.strip(SPACES))


def _is_hidden(attributes: Mapping[str, str]) -> bool:
    return attributes.get("hidden", "") not in _FALSE
