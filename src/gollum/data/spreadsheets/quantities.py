"""Columns of quantities: texts such as '80 °C' as numbers in one unit."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import cast

import pandas as pd

from gollum.data.spreadsheets.columns import Column
from gollum.data.spreadsheets.units import (
    alike,
    converted,
    is_clock,
    measure,
    says_unit,
    unit_in,
    unit_of,
)
from gollum.data.spreadsheets.values import typed
from gollum.notes import Note, Notes

# Notes of the reader that numbers make untrue.
_TOLD = ("one-unit", "several-units", "times", "unit-among-numbers")


def without_units(
    table: pd.DataFrame,
    columns: Iterable[str],
    where: str,
    said: Mapping[str, str] | None = None,
) -> tuple[pd.DataFrame, dict[str, str]]:
    """Numbers instead of texts where all cells of a column are numbers with a unit.

    Args:
        table: as `read_table` gives it.
        columns: which of its columns to look at.
        where: file or table, for messages.
        said: column → its unit, where neither name nor cells say it, or the cells several.

    Returns:
        The table, whose notes say so in place of the reader's, and the units of these columns
        that their names don't say.

    Raises:
        DataError: a number can be read in two ways, or has another unit than its column's name.
    """
    before = [Note.of(note) for note in table.attrs.get("notes", ())]
    percent = {note.column for note in before if note.code == "percentages"}
    first = int(table.attrs.get("first_row", 2))
    found, units = list[Column](), dict[str, str]()
    told = said or {}
    for name in columns:
        if pd.api.types.is_numeric_dtype(table[name]):
            units |= {name: "%"} if name in percent else {}
            units |= {name: told[name]} if name in told else {}
            continue
        column = Column(where, where, name, first, table[name].tolist())
        if unit := unit_of_cells(column, told.get(name, "")):
            found.append(column)
            units[name] = unit
    parts = {
        c.name: [measure(str(cell), units[c.name]) or ("", "") for cell in c.cells] for c in found
    }
    bare = [Column(where, where, c.name, first, [n for n, _ in parts[c.name]]) for c in found]
    series, notes = typed(bare)
    made = dict[str, pd.Series]()
    for column, numbers in zip(found, series, strict=True):
        name, unit = column.name, units[column.name]
        notes.append(column.note("unit", f"its cells are numbers in {unit}"))
        values = in_unit(numbers.tolist(), [ending for _, ending in parts[name]], unit)
        whole = all(map(float.is_integer, map(float, values)))
        numbers = pd.Series(values, dtype=numbers.dtype if whole else "float64")
        made[name] = numbers.set_axis(table.index)
        notes += [column.note("converted-unit", what) for what in conversion(column, unit)]
    kept = (n for n in before if not (n.code in _TOLD and n.column in made))
    result = table.assign(**made)
    result.attrs = table.attrs | {"notes": Notes((*kept, *notes))}
    return result, {name: unit for name, unit in units.items() if not says_unit(name, unit)}


def unit_of_cells(column: Column, said: str = "") -> str | None:
    """The unit of a column of quantities, in which all its cells can be given; or None.

    It is that of the column's name, or else of the first cell. Cells without a unit are in that
    of the name; where this says none, nobody knows theirs. A unit that was `said` counts as one of
    the name.

    Raises:
        DataError: a cell has another unit than the one that stands apart in the name.
    """
    named = (said, True) if said else unit_in(column.name)
    parts = {text: measure(text, named[0] if named else "") for text in column.texts}
    units = {text: part[1] for text, part in parts.items() if part is not None}
    if len(units) < len(parts) or not any(units.values()):
        return None
    if named is not None:
        odd = next((t for t, u in units.items() if u and _way(u, named[0]) is None), None)
        if odd is None:
            return named[0]
        if named[1]:
            raise column.refusal(
                column.texts[odd],
                f"'{odd}' has another unit than {'was said' if said else 'the name'} of the "
                "column; correct one of them",
            )
    first, *others = units.values()
    return first if first and all(u and _way(u, first) is not None for u in others) else None


def in_unit(values: Sequence[float], units: Sequence[str], wanted: str) -> list[float]:
    """Values in another unit; those without one are in it already.

    Args:
        values: n numbers.
        units: that of each, from which there is a way.
        wanted: the unit.
    """
    return [
        value if not unit or alike(unit, wanted) else cast(float, converted(value, unit, wanted))
        for value, unit in zip(values, units, strict=True)
    ]


def conversion(column: Column, wanted: str) -> Iterable[str]:
    """Which cells of a column of quantities were converted, if any."""
    if clock := next(filter(is_clock, column.texts), ""):
        yield f"times such as '{clock}' are read as numbers in {wanted}"
    for text in column.texts:
        unit = unit_of(text)
        if unit and not alike(unit, wanted):
            yield f"cells in {unit} such as '{text}' were converted to {wanted}"
            return


def _way(unit: str, wanted: str) -> float | None:
    return 1.0 if unit == wanted else converted(1.0, unit, wanted)
