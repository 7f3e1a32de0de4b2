"""The cells of a column, and the decimal mark of its numbers.

Decimal commas and thousands separators are understood where they have one meaning and refused
where they have two: `1,234` is 1.234 or 1234.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

from gollum.data.spreadsheets.numbers import (
    SPACES,
    Cell,
    DateCell,
    PercentCell,
    is_error,
    is_number,
    is_number_like,
    plain,
)
from gollum.errors import DataError, likewise
from gollum.notes import Note


@dataclass(frozen=True)
class Column:
    """The cells below one name.

    Attributes:
        where: file and sheet, for messages.
        label: file name and sheet, for notes.
        name: of the column.
        first: spreadsheet row of the first cell.
        cells: texts and numbers; '' where blank.
        native: whether the format tells numbers from text.
    """

    where: str
    label: str
    name: str
    first: int
    cells: Sequence[Cell]
    native: bool = False

    @cached_property
    def texts(self) -> dict[str, int]:
        """Each text that is not blank, without the spaces around it, and the first row with it."""
        rows: dict[str, int] = {}
        numbers = range(self.first, self.first + len(self.cells))
        first = dict(zip(reversed(self.cells), reversed(numbers), strict=True))
        for cell in dict.fromkeys(self.cells):
            if isinstance(cell, str):
                rows.setdefault(cell.strip(SPACES), first[cell])
        rows.pop("", None)
        return rows

    @cached_property
    def marks(self) -> str:
        """The decimal marks with which every text of this column is a number."""
        return "".join(m for m in ".," if all(is_number(text, m) for text in self.texts))

    def holds(self, characters: str) -> bool:
        """Whether any text has one of these characters."""
        return any(c in text for text in self.texts for c in characters)

    def refusal(self, row: int, problem: str) -> DataError:
        """A refusal that names the place."""
        return DataError(f"{self.where}: row {row}, column '{self.name}': {problem}.")

    def note(self, code: str, what: str) -> Note:
        """A note that names the column."""
        return Note(code, self.label, f"{what}.", self.name)


def check_cells(column: Column) -> None:
    """Refuse errors, dates among other things, and percentages among plain numbers.

    Raises:
        DataError: there are some.
    """
    errors = set(filter(is_error, column.texts))
    if errors:
        cells = [c.strip(SPACES) if isinstance(c, str) else "" for c in column.cells]
        (row, text), *more = [(i, c) for i, c in enumerate(cells, column.first) if c in errors]
        raise column.refusal(
            row,
            likewise(
                f"the cell holds '{text}', an error or a column too narrow to show its value; "
                "correct it, or leave it blank",
                [f"row {i}" for i, _ in more],
            ),
        )
    kinds = set(map(type, column.cells))
    if DateCell in kinds:
        _check_dates(column)
    if kinds <= {str, DateCell}:
        return
    numbers = [(i, c) for i, c in enumerate(column.cells) if not isinstance(c, str)]
    fractions = [isinstance(c, PercentCell) for _, c in numbers]
    for (i, cell), fraction in zip(numbers, fractions, strict=True):
        if not math.isfinite(cell):
            raise column.refusal(column.first + i, "the number is too large; correct it")
        if fraction != fractions[0]:
            raise column.refusal(
                column.first + i,
                "some cells of the column are percentages and others are plain numbers; give all "
                "of them the same format",
            )


def _check_dates(column: Column) -> None:
    present = [c for c in column.cells if not isinstance(c, str) or c.strip(SPACES)]
    dates = [isinstance(cell, DateCell) for cell in present]
    if any(dates) and not all(dates):
        date = next(cell for cell, is_date in zip(present, dates, strict=True) if is_date)
        raise column.refusal(
            column.first + list(column.cells).index(date),
            f"the cell holds the date {date} among other things, as when Excel turns 1-2 or 1.2 "
            "into a date; format the column as text and type it again",
        )


def choose_marks(columns: Sequence[Column]) -> list[str | None]:
    """The decimal mark of each column; None for text.

    A column that can be read with either mark, such as 1,234 or 1.234, is settled by the others.

    Raises:
        DataError: it isn't, or numbers are written in several ways.
    """
    commas = [c for c in columns if c.marks == ","]
    points = [c for c in columns if c.marks == "."]
    for column in columns:
        _check_spelling(column)
    if commas and points:
        comma, row = first_text(commas[0].texts, lambda text: not is_number(text, "."))
        point, other = first_text(points[0].texts, lambda text: not is_number(text, ","))
        raise commas[0].refusal(
            row,
            f"'{comma}' has a decimal comma, but '{point}' in row {other}, column "
            f"'{points[0].name}', a decimal point; use one of them in the whole table",
        )
    grouped = any(c.holds(",") for c in points)
    return [_mark(c, commas=bool(commas), grouped=grouped) for c in columns]


def first_text(texts: dict[str, int], wanted: Callable[[str], bool]) -> tuple[str, int]:
    """The first text of this kind, with its row."""
    return next((text, row) for text, row in texts.items() if wanted(text))


def _mark(column: Column, *, commas: bool, grouped: bool) -> str | None:
    if not column.marks:
        return None
    if len(column.marks) == 1:
        return column.marks
    if not column.holds(".,"):
        return "."
    if column.holds(".") and not column.holds(",") and not commas:
        return "."
    if column.holds(",") and not column.holds(".") and (commas or grouped):
        return "," if commas else "."
    text, row = first_text(column.texts, lambda text: "." in text or "," in text)
    meanings = " or ".join(sorted(plain(text, mark) for mark in ".,"))
    raise column.refusal(
        row, f"'{text}' may mean {meanings}; write it as one of these in the whole column"
    )


def _check_spelling(column: Column) -> None:
    """Numbers that are spelt in two ways, or that may be two numbers."""
    if not all(map(is_number_like, column.texts)):
        return
    for text, row in column.texts.items():
        if " " in text:
            joined = text.replace(" ", "")
            raise column.refusal(
                row, f"'{text}' may be one number or two; write {joined}, or put ; between them"
            )
    if not column.marks:
        comma, row = first_text(column.texts, lambda text: not is_number(text, "."))
        point, other = first_text(column.texts, lambda text: not is_number(text, ","))
        raise column.refusal(
            max(row, other),
            f"the column has decimal commas ('{comma}', row {row}) and decimal points "
            f"('{point}', row {other}); use one of them",
        )
