"""Columns of numbers or text from cells, with a note on what was adjusted.

A column is numeric when every cell that is not blank is a number.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence

import numpy as np
import pandas as pd

from gollum.data.spreadsheets.columns import Column, check_cells, choose_marks, first_text
from gollum.data.spreadsheets.numbers import (
    SPACES,
    DateCell,
    PercentCell,
    bare,
    is_date,
    is_integer,
    is_number_like,
    is_plain,
    plain,
)
from gollum.data.spreadsheets.units import alike, is_clock, unit_in, unit_of, unknown_unit
from gollum.notes import Note


def typed(columns: Sequence[Column]) -> tuple[list[pd.Series], list[Note]]:
    """Columns of numbers or text, and notes of what was read as something else than it is.

    Raises:
        DataError: a cell holds an Excel error, a date among other things, or a number that can
            be read in two ways.
    """
    for column in columns:
        check_cells(column)
    marks = choose_marks(columns)
    read = [_read(column, mark) for column, mark in zip(columns, marks, strict=True)]
    return [series for series, _ in read], [note for _, notes in read for note in notes]


def spellings(column: Column) -> dict[str, tuple[str, ...]]:
    """A number in its shortest form → as the cells have it, where that is another way: 1.1 → 1.10.

    Where the numbers turn out to be names, this is what they are called.
    """
    found = dict[str, dict[str, None]]()
    for text in filter(is_plain, column.texts):
        found.setdefault(f"{float(text):.15g}", {})[bare(text)] = None
    return {number: tuple(texts) for number, texts in found.items() if tuple(texts) != (number,)}


def _read(column: Column, mark: str | None) -> tuple[pd.Series, list[Note]]:
    if mark is None or not (column.texts or any(not isinstance(c, str) for c in column.cells)):
        return _as_text(column)
    plains = {c: plain(c.strip(SPACES), mark) for c in set(column.cells) if isinstance(c, str)}
    values = [plains[c] if isinstance(c, str) else c for c in column.cells]
    notes = list(_notes_on_numbers(column, mark))
    whole = set(map(type, values)) <= {int, str} and all(map(is_integer, plains.values()))
    if whole and all(-(2**63) <= int(v) < 2**63 for v in set(values)):
        return pd.Series([int(v) for v in values], dtype="int64"), notes
    return pd.Series([np.nan if v == "" else float(v) for v in values], dtype="float64"), notes


def _notes_on_numbers(column: Column, mark: str) -> Iterable[Note]:
    odd = next((t for t in column.texts if not is_plain(t)), None)
    if odd is not None:
        what = f"numbers such as '{odd}' were read as {plain(odd, mark)}"
        yield column.note("spelt-numbers", what)
    elif column.native and column.texts:
        count = sum(isinstance(c, str) and bool(c.strip(SPACES)) for c in column.cells)
        row = next(iter(column.texts.values()))
        what = f"{count} numbers that are stored as text (the first in row {row})"
        yield column.note("stored-as-text", f"{what} were read as numbers")
    several = next((texts for texts in spellings(column).values() if len(texts) > 1), None)
    if several is not None:
        one, other, *_ = several
        what = f"'{one}' and '{other}' are read as one number"
        yield column.note("same-number", f"{what}; if they are names, put a letter in front")
    if any(isinstance(c, PercentCell) for c in column.cells):
        yield column.note("percentages", "percentages were read as they are shown, 85 % as 85")


def _as_text(column: Column) -> tuple[pd.Series, list[Note]]:
    notes = list(_notes_on_text(column))
    texts = {c: c if c.strip(SPACES) else "" for c in set(column.cells) if isinstance(c, str)}
    cells = [texts[c] if isinstance(c, str) else str(c).strip(SPACES) for c in column.cells]
    distinct = {cell: cell.strip(SPACES) for cell in dict.fromkeys(cells)}
    exotic = any(
        c != bare and c.strip(" \t\n\r\f\v") != c.strip(SPACES) for c, bare in distinct.items()
    )
    if exotic or len(set(distinct.values())) < len(distinct):
        spaced = next(c for c, bare in distinct.items() if c != bare)
        row = cells.index(spaced) + column.first
        what = f"spaces around cells were dropped, first in row {row}"
        notes.append(column.note("spaces", what))
        cells = [distinct[cell] for cell in cells]
    return pd.Series([str(cell) for cell in cells], dtype="str"), notes


def _notes_on_text(column: Column) -> Iterable[Note]:
    if not column.texts:
        return
    if all(map(is_clock, column.texts)):
        time = next(iter(column.texts))
        means = "for numbers, say the unit in the name, as in 'time (h)'"
        if unit_in(column.name):
            means = f"which may be hours or minutes; write {time}:00 if it is hours"
        yield column.note("times", f"times such as '{time}' are read as text; {means}")
        return
    if all(isinstance(cell, DateCell) for cell in column.cells if cell != ""):
        what = "dates are read as text; if they were codes such as 1-2, type them again"
        yield column.note("all-dates", what)
        return
    if all(unit_of(text) is not None for text in column.texts):
        yield _units(column)
        return
    yield from _unknown_unit(column)
    numbers = {text for text in column.texts if is_number_like(text)}
    often = Counter(column.cells)
    present = {c: n for c, n in often.items() if not isinstance(c, str) or c.strip(SPACES)}
    count = sum(
        n for c, n in present.items() if not isinstance(c, str) or c.strip(SPACES) in numbers
    )
    text, row = first_text(column.texts, lambda text: text not in numbers)
    if 2 * count >= sum(present.values()):
        if "\n" in text or is_date(text):
            kind = "a date" if "\n" not in text else "a text of several lines"
            raise column.refusal(
                row, f"'{text.splitlines()[0]}' is {kind} among numbers; correct the cell"
            )
        yield column.note(
            "word-among-numbers",
            f"'{text}' in row {row} is not a number, so the column is read as text; correct it or "
            "leave it blank",
        )
        return
    dates = {t: r for t, r in column.texts.items() if is_date(t)}
    dated = len(dates) == len(column.texts) and all(re.search(r"\d{4}", text) for text in dates)
    if dates and not dated:
        text, row = next(iter(dates.items()))
        yield column.note(
            "date-among-names",
            f"'{text}' in row {row} looks like a date, which Excel makes of codes such as 1-2 or "
            "MAR1; check it",
        )


def _units(column: Column) -> Note:
    examples: dict[str | None, str] = {}
    for text in column.texts:
        examples.setdefault(unit_of(text), text)
    first = next(iter(examples.values()))
    unit = unit_of(first) or ""
    other = next((t for u, t in examples.items() if not alike(u or "", unit)), None)
    if other is None and not all(isinstance(cell, str) for cell in column.cells):
        row = column.texts[first]
        return column.note(
            "unit-among-numbers",
            f"'{first}' in row {row} has a unit and the numbers beside it have none, so the column "
            "is read as text; write the number alone, and the unit into the name of the column",
        )
    if other is None:
        return column.note(
            "one-unit",
            f"every cell ends in '{unit}' and is read as text; for numbers, put the unit into the "
            "name of the column instead",
        )
    return column.note(
        "several-units",
        f"units differ ('{first}' in row {column.texts[first]}, '{other}' in row "
        f"{column.texts[other]}), so the column is read as text; use one unit, in its name",
    )


def _unknown_unit(column: Column) -> Iterable[Note]:
    text, *others = column.texts
    ending = unknown_unit(text)
    if ending and others and all(unknown_unit(other) == ending for other in others):
        yield column.note(
            "unknown-unit",
            f"every cell is a number followed by '{ending}', which is no unit known here, and is "
            "read as text; for numbers, move it into the name of the column",
        )
