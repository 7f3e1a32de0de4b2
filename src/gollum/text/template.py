"""Template: a row of the pool becomes a text, and the text remembers which column wrote what.

Grammar: literal text; `{column}` or `{column:format}` (a Python format specification) for a slot,
with the column in double quotes (doubled inside) where its name holds braces or double quotes or
looks like it had a format; `[ … ]` for an optional part that disappears when one of its slots is
blank; `{{`, `}}`, `[[` and `]]` for the characters themselves.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import repeat
from typing import Any, cast

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gollum.data.pool import Pool
from gollum.data.spreadsheets.numbers import is_number_like
from gollum.data.spreadsheets.units import ENDINGS
from gollum.errors import TemplateError, nearest
from gollum.notes import Note

BLANK = "none"
_TOKEN = re.compile(
    r"(?P<escape>\{\{|\}\}|\[\[|\]\])"
    r'|\{"(?P<quoted>(?:[^"]|"")+)"(?::(?P<format>[^{}]*))?\}'
    r"|\{(?P<slot>[^{}]*)\}|(?P<open>\[)|(?P<close>\])|(?P<stray>[{}])"
)
# A colon inside a column name is not taken for the start of a format specification.
_FORMATTED = re.compile(
    r"(?P<column>.+):(?P<format>[<>=^]?[+\- ]?0?\d*[,_]?(?:\.\d+)?[deEfFgGs%]?)", re.DOTALL
)


@dataclass(frozen=True)
class Slot:
    """A place in a template that a column fills: column name and format specification."""

    column: str
    format: str = ""


@dataclass(frozen=True)
class Span:
    """Characters [start, end) of a rendered text, written by a column."""

    column: str
    start: int
    end: int


@dataclass(frozen=True)
class Text:
    """A rendered experiment: its text, and the spans that came from columns."""

    text: str
    spans: tuple[Span, ...]


Part = str | Slot | tuple["str | Slot", ...]


@dataclass(frozen=True)
class Template:
    """How an experiment is put into words.

    Attributes:
        source: the template in the grammar of this module.
    """

    source: str

    @classmethod
    def from_columns(cls, pool: Pool, units: Mapping[str, str] | None = None) -> Template:
        """A plain template from the column names: 'ligand: {ligand}; temperature: {…} °C'.

        Args:
            pool: with the columns.
            units: of some of them; otherwise the name of a column with numbers may end in one.
        """
        units, columns = units or {}, [str(column) for column in pool.table.columns]
        phrases = (_column_phrase(c, units.get(c), _has_numbers(pool.table[c])) for c in columns)
        return cls("; ".join(phrases) + ".")

    @classmethod
    def column(cls, name: str) -> Template:
        """The text is read from a column as it stands."""
        return cls(_slot_source(name))

    @classmethod
    def of(cls, source: str) -> Template:
        """A template as it stands, or one that reads the column of that name."""
        return cls(source) if "{" in source else cls.column(source)

    @cached_property
    def parts(self) -> tuple[Part, ...]:
        """The parsed template.

        Raises:
            TemplateError: brackets do not match, or a slot is empty.
        """
        return _parse(self.source)

    @cached_property
    def slots(self) -> tuple[Slot, ...]:
        """All slots, in order."""
        flat = (p for part in self.parts for p in (part if isinstance(part, tuple) else (part,)))
        return tuple(p for p in flat if isinstance(p, Slot))

    @cached_property
    def columns(self) -> tuple[str, ...]:
        """Columns that the template reads, each once."""
        return tuple(dict.fromkeys(slot.column for slot in self.slots))

    def check(self, columns: Sequence[str], name: str = "table") -> None:
        """Refuse a template that reads a column which is not there.

        Raises:
            TemplateError: naming the column and the nearest one that exists.
        """
        for column in self.columns:
            if column not in columns:
                raise TemplateError(
                    f"{name}: the template reads a column '{column}' that the table does not have."
                    + nearest(column, map(str, columns))
                )
        if not self.columns:
            raise TemplateError(
                f"{name}: the template '{self.source}' reads no column, so all texts would be "
                "the same; write column names in braces, such as {ligand}."
            )

    def render(self, row: dict[str, Any], blank: str = BLANK) -> Text:
        """Put one row into words.

        Args:
            row: value of each column.
            blank: what stands for a blank cell outside optional parts.

        Raises:
            TemplateError: a format specification does not suit the value.
        """
        text, spans = "", []
        for piece in self._pieces(row):
            if isinstance(piece, Slot):
                written = _write(row[piece.column], piece, blank)
                spans.append(Span(piece.column, len(text), len(text) + len(written)))
                text += written
            else:
                text += piece
        return Text(text, tuple(spans))

    def render_row(self, pool: Pool, row: int, blank: str = BLANK) -> Text:
        """Put one candidate into words, by its position."""
        cells = {column: pool.table[column].iloc[[row]].tolist()[0] for column in self.columns}
        return self.render(cells, blank)

    def texts(self, pool: Pool, blank: str = BLANK) -> list[str]:
        """The text of every candidate, in pool order; each level of a column is written once."""
        self.check(list(pool.table.columns), pool.name)
        parts = [_column_of(part, pool.table, blank) for part in self.parts]
        return list(map("".join, zip(*parts, strict=False)))

    def render_pool(self, pool: Pool, blank: str = BLANK) -> list[Text]:
        """Put every candidate into words, in pool order, with its spans."""
        self.check(list(pool.table.columns), pool.name)
        columns = [pool.table[c].tolist() for c in self.columns]
        return [
            self.render(dict(zip(self.columns, row, strict=True)), blank)
            for row in zip(*columns, strict=True)
        ]

    def _pieces(self, row: dict[str, Any]) -> Iterator[str | Slot]:
        for part in self.parts:
            if not isinstance(part, tuple):
                yield part
            elif not any(isinstance(p, Slot) and _is_blank(row[p.column]) for p in part):
                yield from part


def _column_of(part: Part, table: pd.DataFrame, blank: str) -> Iterable[str]:
    """What a part of a template is in each row."""
    if isinstance(part, str):
        return repeat(part)
    if isinstance(part, Slot):
        codes, levels = _levels(table[part.column])
        words = np.array([_write(level, part, blank) for level in levels], dtype=object)
        return cast("list[str]", words[codes].tolist())
    empty = np.zeros(len(table), dtype=bool)
    for codes, levels in (_levels(table[p.column]) for p in part if isinstance(p, Slot)):
        empty |= np.array([_is_blank(level) for level in levels], dtype=bool)[codes]
    written = map("".join, zip(*(_column_of(p, table, blank) for p in part), strict=False))
    return ["" if no else text for no, text in zip(empty.tolist(), written, strict=False)]


def _levels(cells: pd.Series) -> tuple[NDArray[np.int64], list[Any]]:
    """Number of each cell's level, and the levels; 0.0 and -0.0, 1 and True are two of them."""
    if cells.dtype == object:
        return np.arange(len(cells)), cells.tolist()
    keys = cells.to_numpy().view(np.int64) if cells.dtype == np.float64 else cells
    codes = pd.factorize(keys, use_na_sentinel=False)[0]
    return codes, cells.iloc[np.unique(codes, return_index=True)[1]].tolist()


def lint(template: Template, pool: Pool, texts: Sequence[str]) -> list[Note]:
    """What a user should know about the texts of a pool, one sentence each."""
    notes = twins(pool, texts)
    unused = [
        str(c)
        for c in pool.table.columns
        if c not in template.columns and not _is_redundant(pool.table, str(c), template.columns)
    ]
    if unused:
        told = f"the text does not mention {', '.join(map(repr, unused))}."
        notes.append(Note("unmentioned-columns", pool.name, told))
    return notes


def twins(pool: Pool, texts: Sequence[str]) -> list[Note]:
    """One sentence where candidates share their text, with the first two; otherwise none."""
    sharing = len(texts) - len(set(texts))
    if not sharing:
        return []
    rows = dict[str, int]()
    pair = next((rows[t], i) for i, t in enumerate(texts) if rows.setdefault(t, i) != i)
    both = pool.table.iloc[list(pair)]
    columns = [repr(str(c)) for c in both.columns if both[c].nunique(dropna=False) > 1]
    told = (
        f"{sharing} candidates share their text with another one; the language model cannot tell "
        f"them apart, such as {both.index[0]} and {both.index[1]}, which differ in "
        f"{', '.join(columns)}."
    )
    return [Note("shared-texts", pool.name, told)]


def _is_redundant(table: pd.DataFrame, column: str, used: Sequence[str]) -> bool:
    """Whether a column is constant, or says nothing that one used column does not say."""
    if table[column].nunique(dropna=False) <= 1:
        return True
    return any(
        (table.groupby(other, dropna=False)[column].nunique(dropna=False) <= 1).all()
        for other in used
    )


def _parse(source: str) -> tuple[Part, ...]:
    parts: list[Part] = []
    group: list[str | Slot] | None = None
    literal = ""
    position = 0

    def flush() -> None:
        nonlocal literal
        if literal:
            (parts if group is None else group).append(literal)
            literal = ""

    for match in _TOKEN.finditer(source):
        literal += source[position : match.start()]
        position = match.end()
        if match["escape"]:
            literal += match["escape"][0]
            continue
        if match["stray"]:
            raise TemplateError(_unmatched(match["stray"], source))
        flush()
        slot = _slot(match, source)
        if slot is not None:
            (parts if group is None else group).append(slot)
        elif match["open"]:
            if group is not None:
                raise TemplateError(
                    f"the template '{source}' has an optional part '[ … ]' inside another one; "
                    "put them side by side."
                )
            group = []
        else:
            if group is None:
                raise TemplateError(_unmatched("]", source))
            parts.append(tuple(group))
            group = None
    literal += source[position:]
    if group is not None:
        raise TemplateError(_unmatched("[", source))
    flush()
    return tuple(parts)


def _unmatched(bracket: str, source: str) -> str:
    return (
        f"the template '{source}' has an unmatched '{bracket}'; write '{2 * bracket}' for the "
        "character itself."
    )


def _slot(token: re.Match[str], source: str) -> Slot | None:
    if token["quoted"] is not None:
        return Slot(token["quoted"].replace('""', '"'), token["format"] or "")
    if token["slot"] is None:
        return None
    if not token["slot"].strip():
        raise TemplateError(
            f"the template '{source}' has a slot without a column name; write one into the braces."
        )
    match = _FORMATTED.fullmatch(token["slot"])
    return Slot(match["column"], match["format"]) if match else Slot(token["slot"])


def _slot_source(column: str) -> str:
    """A slot for any column name, quoted where the plain form would be read otherwise."""
    plain = column.strip() and not _FORMATTED.fullmatch(column) and not set(column) & set('{}"')
    quoted = column.replace('"', '""')
    return f"{{{column}}}" if plain else f'{{"{quoted}"}}'


def _is_blank(value: Any) -> bool:
    return value is None or value == "" or (isinstance(value, float) and math.isnan(value))


def _write(value: Any, slot: Slot, blank: str) -> str:
    if _is_blank(value):
        return blank
    specification = slot.format or (".6g" if isinstance(value, float) else "")
    try:
        return format(value, specification)
    except (TypeError, ValueError):
        raise TemplateError(
            f"column '{slot.column}': the format ':{slot.format}' does not suit the value "
            f"{value!r}."
        ) from None


def _has_numbers(cells: pd.Series) -> bool:
    return pd.api.types.is_numeric_dtype(cells) or any(
        map(is_number_like, map(str, cells.unique()))
    )


def _column_phrase(column: str, unit: str | None, numeric: bool) -> str:
    """'temperature: {temperature_C} °C' for a column with numbers called temperature_C."""
    label = column
    for ending, name in ENDINGS.items() if numeric and unit is None else ():
        if column.endswith(ending) and len(column) > len(ending):
            label, unit = column.removesuffix(ending), name
            break
    words = re.sub(r"([{}\[\]])", r"\1\1", label.replace("_", " "))
    return f"{words}: {_slot_source(column)}" + (f" {unit}" if unit else "")
