"""Rows of a text table: its delimiter and its quotation marks."""

from __future__ import annotations

import csv
import io
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import suppress
from itertools import islice
from pathlib import Path

from gollum.data.spreadsheets import sheets
from gollum.data.spreadsheets.numbers import SPACES, is_number_like
from gollum.data.spreadsheets.sheets import check_size
from gollum.errors import DataError

_DELIMITERS = ",;\t|"
_BLANK: list[str] = []  # one list for all blank rows
_FEW = 256  # rows
_SAMPLE_ROWS, _SAMPLE = 500, 500_000  # rows and characters in which the delimiter is looked for
_DIRECTIVE = re.compile(r"sep=(.)(?:\r\n|\r|\n)", re.IGNORECASE)  # Excel's, and no row of the table


def read_rows(file: Path, text: str, *, tabs: bool) -> list[list[str]]:
    """The rows of a text, blank ones included, so that the first is row 1 of the spreadsheet.

    Args:
        file: for messages.
        text: the whole table.
        tabs: whether tabs, if there are any, are the delimiter.

    Raises:
        DataError: there is nothing but delimiters, too much, or the delimiter is not clear, or
            quotation marks don't match.
    """
    directive = _DIRECTIVE.match(text)
    delimiter = ""
    if directive:
        text, delimiter = text[directive.end() :], directive.group(1)
    if not text.strip(f'{SPACES}{_DELIMITERS}{delimiter}"'):
        raise DataError(f"{file} is empty; it needs a header and one row for each experiment.")
    if not delimiter:
        delimiter = "\t" if tabs and "\t" in text[:_SAMPLE] else _sniff(file, text)
    _check_size(file, text, delimiter)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    rows: list[list[str]] = []
    start = 1
    try:
        for row in reader:
            if reader.line_num > start and len(row) > 2:
                _check_lines(file, len(rows) + 1, row, delimiter)
            rows.append(row or _BLANK)
            start = reader.line_num + 1
    except csv.Error as error:
        raise DataError(
            f"{file}: line {start} cannot be read ({error}); check its quotation marks."
        ) from None
    return rows


def _check_size(file: Path, text: str, delimiter: str) -> None:
    """Refuse more rows or cells than fit, while there are only a few at a time.

    Raises:
        DataError: there are more.
    """
    marks = text.count(delimiter)
    breaks = max(text.count("\n"), text.count("\r"))
    if breaks < sheets.MOST_ROWS and marks + breaks < sheets.MOST_CELLS:
        return  # whatever the quotation marks hide
    if '"' not in text:
        check_size(str(file), breaks, marks // max(breaks, 1) + 1)
    rows = width = pending = 0

    def watched(lines: Iterable[str]) -> Iterator[str]:
        nonlocal pending
        for line in lines:
            pending += line.count(delimiter)
            if pending > sheets.MOST_CELLS:  # in a few rows, of which the last may go on
                check_size(str(file), 1, pending)
            yield line

    lines: Iterable[str] = io.StringIO(text, newline="")
    if marks > sheets.MOST_CELLS:
        lines = watched(lines)
    reader = csv.reader(lines, delimiter=delimiter, strict=True)
    with suppress(csv.Error):  # `read_rows` says which line it is
        while some := list(islice(reader, _FEW)):
            rows, width, pending = rows + len(some), max(width, *map(len, some)), 0
            check_size(str(file), rows, width)


def _check_lines(file: Path, number: int, row: list[str], delimiter: str) -> None:
    """A cell that holds whole rows comes from a quotation mark too many."""
    for column, cell in enumerate(row, start=1):
        if any(line.count(delimiter) == len(row) - 1 for line in cell.splitlines()[1:-1]):
            raise DataError(
                f"{file}: row {number}, column {column}: the cell runs over several lines that "
                "look like rows; check its quotation marks."
            )


def _sniff(file: Path, text: str) -> str:
    """The delimiter that cuts most rows into the same number of cells, and these into numbers."""
    fits = {delimiter: _fit(text[:_SAMPLE], delimiter) for delimiter in _DELIMITERS}
    best = max(fits, key=lambda d: fits[d])
    rivals = [d for d in _DELIMITERS if fits[d] == fits[best]]
    if fits[best][0] == 1 and len(rivals) > 1:
        names = " or ".join(f"'{d}'" for d in rivals)
        raise DataError(
            f"{file}: row 1 may be separated by {names}; quote the cells that hold the other one."
        )
    return best


def _fit(sample: str, delimiter: str) -> tuple[float, float]:
    """Share of rows with the most common width, and share of numbers among all cells."""
    reader = csv.reader(io.StringIO(sample, newline=""), delimiter=delimiter)
    try:
        rows = list(islice(reader, _SAMPLE_ROWS))
    except csv.Error:
        return 0.0, 0.0
    if len(sample) == _SAMPLE and len(rows) > 1:
        rows.pop()  # it may be cut
    rows = [row for row in rows if any(cell.strip() for cell in row)]
    width, count = Counter(map(len, rows)).most_common(1)[0] if rows else (0, 0)
    if width < 2:
        return 0.0, 0.0
    cells = [cell for row in rows for cell in row]
    return count / len(rows), sum(map(is_number_like, cells)) / len(cells)
