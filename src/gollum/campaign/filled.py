"""A sheet that somebody filled in: its cells, and what each row says came of its experiment."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gollum.campaign.sheets import Names, sheet_names, users_columns
from gollum.campaign.state import State
from gollum.data.extents import Extent
from gollum.data.naming import meant
from gollum.data.outcomes import UNBOUNDED, Outcome, spelt
from gollum.data.pool import cell_text
from gollum.data.readers import read_frame
from gollum.data.spreadsheets.columns import Column, choose_marks
from gollum.data.spreadsheets.inexact import Inexact, inexact
from gollum.data.spreadsheets.numbers import SPACES, composed, is_plain, plain
from gollum.data.spreadsheets.quantities import conversion, in_unit
from gollum.data.spreadsheets.sheets import refuse_repeats
from gollum.data.spreadsheets.units import alike, converted, measure, quantity, split_name, unit_in
from gollum.data.statuses import meaning
from gollum.data.strays import refuse_head_below, refuse_strays
from gollum.errors import DataError, likewise, listed, nearest, quoted
from gollum.notes import Note

Texts = NDArray[np.object_]
Numbers = NDArray[np.float64]
Mask = NDArray[np.bool_]

_INSTEAD = "write a number, 'failed' (it ran, no product) or 'not run', or leave the cell blank"
_PERCENT = re.compile(r"yield|percent|pct|%", re.IGNORECASE)
_WORD = re.compile(r"[^\W\d_][^\d<>≤≥]*")
_NOTES = 10  # of one kind that are told one by one
# Units, words such as 'failed' and dates made of codes are understood in another way here.
USUAL = (
    "all-dates", "date-among-names", "one-unit", "same-number", "several-units", "stored-as-text",
    "times", "unit-among-numbers", "unknown-unit", "word-among-numbers",
)  # fmt: skip


@dataclass(frozen=True, eq=False)
class Sheet:
    """A table with the campaign that it speaks of; N rows.

    Attributes:
        state: the campaign.
        frame: the cells: numbers, or texts that are '' where blank.
        name: of the file, for messages.
        names: of our own columns.
    """

    state: State
    frame: pd.DataFrame
    name: str
    names: Names

    @classmethod
    def of(cls, state: State, frame: pd.DataFrame, name: str, results: bool = True) -> Sheet:
        """Check the columns; those of results are needed where `results` are read.

        Raises:
            DataError: it is no table, or there is no column of the objective.
        """
        frame = _in_our_words(state, read_frame(frame, name), name)
        if results:
            refuse_head_below(frame, name, state.created.objective)
        refuse_strays(frame, name, remarks=not results)
        names, objective = sheet_names(state), state.created.objective
        if results and objective not in frame:
            hint = nearest(objective, frame.columns) or " Call the column with the results so."
            raise DataError(f"{name}: there is no column '{objective}'.{hint}")
        if names.replaced in frame:
            raise DataError(
                f"{name}: this is an exported history (it has a column '{names.replaced}'), with "
                "values that were corrected since; record exported results instead."
            )
        return cls(state, frame, name, names)

    @property
    def first(self) -> int:
        """Spreadsheet row of the first row."""
        return int(self.frame.attrs["first_row"])

    def own(self, *names: str) -> str | None:
        """Our column of one of these names, in capitals or not, that isn't one of the user's."""
        theirs = users_columns(self.state)
        here = [c for c in self.frame.columns if c not in theirs]
        found = [c for n in names for c in here if c == n]
        return next(iter(found + [c for n in names for c in here if c.casefold() == n]), None)

    def at(self, i: int | np.integer[Any], column: str | None = None) -> str:
        """The place of a row or cell, for notes and messages."""
        return f"row {self.first + int(i)}" + ("" if column is None else f", column '{column}'")

    def refuse(self, wrong: Mask, column: str | None, problem: Callable[[int], str]) -> None:
        """Refuse the sheet if some of N rows are wrong: the first with its problem, and the others.

        Raises:
            DataError: one is.
        """
        if not wrong.any():
            return
        i, *others = np.flatnonzero(wrong).tolist()
        cells = self.texts(column)
        rows = [self.at(k) + (f" ('{cells[k]}')" if cells[k] else "") for k in others]
        told = f"{self.name}: {self.at(i, column)}: {likewise(problem(i), rows)}"
        raise DataError(told if told.endswith("?") else f"{told}.")

    def is_numeric(self, column: str) -> bool:
        """Whether the column holds numbers only."""
        return pd.api.types.is_numeric_dtype(self.frame[column])

    def written(self, column: str) -> dict[str, tuple[str, ...]]:
        """How the file has numbers that are written in another way than here."""
        found: dict[str, tuple[str, ...]] = self.frame.attrs.get("written", {}).get(column, {})
        return found if self.is_numeric(column) else {}

    def texts(self, column: str | None) -> Texts:
        """N cells without the spaces around them; '' where blank or without such a column."""
        if column is None:
            return np.full(len(self.frame), "", dtype=object)
        codes, levels = pd.factorize(self.frame[column])
        written = self.written(column)
        words = [written.get(cell_text(level), (cell_text(level),))[0] for level in levels]
        words = [word.strip(SPACES) for word in words]
        return np.array([*words, ""], dtype=object)[codes]  # a missing cell has the code −1

    def spoken(self, column: str, i: int, status: str) -> str:
        """What a cell says in place of a value, with what that means where it is another word."""
        word = str(self.texts(column)[i])
        return f"'{word}'" if word.casefold() == status else f"'{word}', which means '{status}'"

    def numbers(
        self, column: str, wanted: Mask, unit: str = "", instead: str = "", result: bool = False
    ) -> tuple[Numbers, list[Note]]:
        """N numbers, NaN where blank or not wanted, and notes if some are written otherwise.

        Args:
            column: its name, which may say the unit.
            wanted: which rows matter.
            unit: of the column; what is given in another one is converted.
            instead: what to do with a cell that holds none.
            result: whether a word there may say that an experiment failed.

        Raises:
            DataError: a cell holds no finite number, one that can be read in two ways, or one in
                a unit from which there is no way to that of the column.
        """
        instead = instead or "write a number, or leave the cell blank"
        if self.is_numeric(column):
            return np.where(wanted, self.frame[column].to_numpy(dtype=np.float64), np.nan), []
        named = unit_in(column)
        unit = unit if named is None else named[0]
        # 44 % is understood in every column of results, of which some have no unit.
        has_one = named is not None or column in self.state.created.units or unit not in ("", "%")
        texts = np.where(wanted, self.texts(column), "")
        parts = mapped(texts, lambda text: measure(text, unit) if text else ("", ""))
        self.refuse(
            pd.isna(parts),
            column,
            lambda i: (
                f"'{texts[i]}' is not a finite number; {instead}"
                f"{_perhaps_failed(texts[i]) if result else ''}"
            ),
        )
        self.refuse(
            mapped(texts, lambda text: _is_elsewhere(text, unit)).astype(bool),
            column,
            lambda i: (
                f"'{texts[i]}' has another unit than the column ({unit}); convert it"
                if has_one
                else f"'{texts[i]}' has a unit, and the column none; write a bare number in the "
                "unit of the others"
            ),
        )
        bare, endings = ([part[k] for part in parts] for k in (0, 1))
        mark = choose_marks([Column(self.name, self.name, column, self.first, bare)])[0] or "."
        numbers = in_unit([float(plain(b, mark)) if b else np.nan for b in bare], endings, unit)
        odd = [i for i, text in enumerate(texts) if text and not is_plain(text)][:1]
        spelt = Column(self.name, self.name, column, self.first, texts.tolist())
        return np.array(numbers, dtype=np.float64), [
            *(
                Note(
                    "spelt-numbers",
                    self.at(i, column),
                    f"'{texts[i]}' is read as {cell_text(numbers[i])}, and so are others like it",
                )
                for i in odd
            ),
            *(Note("converted-unit", "", what, column) for what in conversion(spelt, unit)),
        ]

    def notes(self) -> list[Note]:
        """What the reader said, and which columns mean nothing here."""
        theirs = users_columns(self.state)
        known = {name.casefold() for name in self.names.every} | {"id"}
        extra = [c for c in self.frame.columns if c not in theirs and c.casefold() not in known]
        ours = (*theirs, self.names.id)
        told: list[Note] = [
            note
            for note in self.frame.attrs["notes"]
            if not (note.code in USUAL and note.column in ours)
        ]
        if extra:
            what = f"columns that the campaign does not have were left out: {listed(extra)}"
            told.append(Note("other-columns", "", what))
        return told

    def blank(self) -> Mask:
        """N flags: the row holds nothing."""
        full = np.zeros(len(self.frame), dtype=bool)
        for column in self.frame:
            cells = self.frame[column]
            full |= (cells.notna() & (cells.astype(object) != "")).to_numpy()
        return ~full


def _perhaps_failed(word: str) -> str:
    """How to say that a word means a failed experiment; '' for what is no word."""
    if not _WORD.fullmatch(word):
        return ""
    command = f"gollum init CAMPAIGN --failed-word {quoted(word)}"
    return f", or say {command} if it means that the experiment failed"


def _in_our_words(state: State, frame: pd.DataFrame, where: str) -> pd.DataFrame:
    """A sheet with the user's columns called as in the campaign, however heads are spelt.

    Raises:
        DataError: two columns are the same, or a head says another unit.
    """
    theirs, units = users_columns(state), state.created.units
    missing = [column for column in theirs if column not in frame.columns]
    others = [name for name in frame.columns if name not in theirs]
    ours, told = dict[str, str](), list[Note]()
    parts = {column: split_name(composed(column)) for column in missing}
    bases, reserved = {own for own, _ in parts.values()}, {*sheet_names(state).every}
    for name, column in ((name, column) for name in others for column in missing):
        (base, given), (own, said) = split_name(name), parts[column]
        spelt = list[Note]()
        base = base if name in reserved else meant(base, bases, spelt, where)
        unit = said or units.get(column, "")
        if base != own or (said and not given) or (given and not unit):
            continue
        if given and not alike(given, unit):
            raise DataError(
                f"{where}: column '{name}' has another unit than '{column}'"
                f"{'' if said else f', which is in {unit}'}; convert its cells and rename it."
            )
        ours[name] = column
        told += spelt
    notes = (
        Note(n.code, n.place, n.text, ours.get(n.column, n.column)) if n.column in ours else n
        for n in map(Note.of, frame.attrs["notes"])
    )
    frame = frame.rename(columns=ours)
    refuse_repeats(where, list(frame.columns))
    written = {ours.get(c, c): texts for c, texts in frame.attrs.get("written", {}).items()}
    frame.attrs = frame.attrs | {"notes": (*notes, *told), "written": written}
    return frame


def _is_elsewhere(text: str, unit: str) -> bool:
    """Whether a quantity has a unit from which there is no way to that of its column."""
    given = (quantity(text) or ("", ""))[1]
    return bool(given) and given != unit and converted(1.0, given, unit) is None


class Outcomes(NamedTuple):
    """What became of the experiments of a sheet.

    Attributes:
        status: N texts; '' or 'pending' without a result.
        values: N objective values and further results, by column; NaN where there is none.
        said: N texts of those that are no plain number, by column; '' otherwise.
        extents: what is known of these, by column; None otherwise.
        spoken: N columns of further results whose cell alone says the status; '' otherwise.
        notes: N texts of the user's.
        told: what was understood in a special way.
    """

    status: Texts
    values: dict[str, Numbers]
    said: dict[str, Texts]
    extents: dict[str, list[Extent | None]]
    spoken: Texts
    notes: Texts
    told: tuple[Note, ...]


def read_outcomes(sheet: Sheet) -> Outcomes:
    """Statuses and values; a word such as 'failed' may stand in place of a value.

    Raises:
        DataError: a cell can't be understood, or status and value contradict each other.
    """
    objective, units = sheet.state.created.objective, sheet.state.created.units
    words, said = dict[str, Texts](), dict[str, Texts]()
    extents = dict[str, list[Extent | None]]()
    read = dict[str, tuple[Numbers, list[Note]]]()
    wrong = list[DataError]()
    for column in (objective, *(c for c in sheet.state.created.also if c in sheet.frame)):
        words[column] = _words(sheet, column)
        instead = _INSTEAD if column == objective else ""
        unit = units.get(column, "%")
        rough, counted, extents[column], notes_on = _inexact(
            sheet, column, words[column] == "", unit
        )
        with together(wrong):
            plain = (words[column] == "") & (rough == "")
            numbers, more = sheet.numbers(column, plain, unit, instead, result=True)
            read[column] = np.where(rough == "", numbers, counted), [*more, *notes_on]
            said[column] = rough
    refuse_all(sheet.name, wrong)
    values = {column: numbers for column, (numbers, _) in read.items()}
    for one in sheet.state.outcomes:
        if one.name in values:
            _refuse_beyond(sheet, one, values[one.name])
    status, spoken = _statuses(sheet, words, values)
    notes = sheet.texts(sheet.own(sheet.names.note))
    for column in values:  # a failed experiment has no values
        extra = (status == "failed") & ~np.isnan(values[column])
        for i in np.flatnonzero(extra & (column != objective)):
            result = f"{column} {cell_text(values[column][i])}"
            notes[i] = f"{notes[i]}; {result}" if notes[i] else result
        values[column] = np.where(extra, np.nan, values[column])
    idle = np.flatnonzero(np.isin(status, ["", "pending"]) & (notes != ""))
    left = "the note waits for a result and was left out"
    told = (
        *(note for _, more in read.values() for note in more),
        *folded([Note("early-remark", sheet.at(i), left) for i in idle]),
        *(note for column in values for note in _out_of_range(sheet, column, values[column])),
    )
    return Outcomes(status, values, said, extents, spoken, notes, told)


def _inexact(
    sheet: Sheet, column: str, wanted: Mask, unit: str
) -> tuple[Texts, Numbers, list[Extent | None], tuple[Note, ...]]:
    """N texts of results that are no plain number, what they count as and tell, and notes."""
    texts = np.where(wanted, sheet.texts(column), "")
    if sheet.is_numeric(column):
        return sheet.texts(None), np.full(len(texts), np.nan), [None] * len(texts), ()
    bounds = next((o.bounds for o in sheet.state.outcomes if o.name == column), UNBOUNDED)
    named = unit_in(column)
    unit = unit if named is None else named[0]

    def read(text: str) -> Inexact | None:
        return None if not text or measure(text, unit) else inexact(text, unit, bounds)

    found = mapped(texts, read)
    rough = np.array([text if f else "" for text, f in zip(texts, found, strict=True)], object)
    counted = np.array([f.value if f else np.nan for f in found], dtype=np.float64)
    told = [
        Note("inexact", sheet.at(i, column), f"'{rough[i]}' counts as {f.value:.6g}, {f.reason}")
        for i, f in enumerate(found)
        if f
    ]
    return rough, counted, [f.extent if f else None for f in found], folded(told)


def folded(notes: Sequence[Note]) -> tuple[Note, ...]:
    """The first notes of one kind, and how many more there are."""
    more = len(notes) - _NOTES
    if more <= 0:
        return tuple(notes)
    return *notes[:_NOTES], Note(notes[0].code, "", f"… and {more} more rows like these")


@contextmanager
def together(refusals: list[DataError]) -> Iterator[None]:
    """Keep a refusal, to raise it with others by `refuse_all`."""
    try:
        yield
    except DataError as error:
        refusals.append(error)


def refuse_all(name: str, refusals: Sequence[DataError]) -> None:
    """Refuse a sheet for all these reasons at once.

    Raises:
        DataError: there are some.
    """
    if refusals:
        first, *more = map(str, refusals)
        raise DataError(" ".join([first, *(text.removeprefix(f"{name}: ") for text in more)]))


def mapped(texts: Texts, function: Callable[[str], Any]) -> Texts:
    """N results, from one call for each different text."""
    codes, levels = pd.factorize(texts)
    results = np.empty(len(levels), dtype=object)
    results[:] = [function(level) for level in levels]
    return results[codes]


def _words(sheet: Sheet, column: str) -> Texts:
    """N statuses that a result's cells say in place of a value; '' where they don't."""
    if sheet.is_numeric(column):
        return sheet.texts(None)
    failed = sheet.state.created.failed_words
    return mapped(sheet.texts(column), lambda text: _instead(text, failed))


def _statuses(
    sheet: Sheet, words: dict[str, Texts], values: dict[str, Numbers]
) -> tuple[Texts, Texts]:
    """N statuses, and N columns of further results that alone say them; '' otherwise."""
    objective, column = sheet.state.created.objective, sheet.own(sheet.names.status)
    word = words[objective]
    known = np.any([~np.isnan(numbers) for numbers in values.values()], axis=0)
    spoken = np.full(len(word), "", dtype=object)
    for name, further in words.items():  # speak for a row that says nothing else
        speaks = (word == "") & ~known & (further != "")
        word, spoken = np.where(speaks, further, word), np.where(speaks, name, spoken)
    failed = sheet.state.created.failed_words
    said = mapped(sheet.texts(column), lambda text: meaning(text, failed) if text else "")
    status = np.where(word == "", said, word)
    status[(status == "") & known] = "measured"
    without = np.isin(status, ["not run", "pending"]) & known
    nonzero = (status == "failed") & (np.nan_to_num(values[objective]) != 0)
    sheet.refuse(
        pd.isna(said),
        column,
        lambda i: (
            f"the status '{sheet.texts(column)[i]}' is not known; write measured, failed, not run "
            "or pending"
        ),
    )
    sheet.refuse(
        (said != "") & (word != "") & (said != word),
        column,
        lambda i: (
            f"the status is '{said[i]}', but '{spoken[i] or objective}' says "
            f"{sheet.spoken(spoken[i] or objective, i, word[i])}; keep one"
        ),
    )
    sheet.refuse(
        (status == "measured") & ~known,
        objective,
        lambda i: "the status is 'measured', but there is no value; fill it in or clear the status",
    )
    for name, further in words.items():  # a further result may come later than the objective
        sheet.refuse(
            ~np.isin(further.astype(str), ["", "pending"]) & (further != status),
            name,
            partial(_contradiction, sheet, name, further, status),
        )
    sheet.refuse(
        without | nonzero,
        objective,
        lambda i: f"the status is '{status[i]}', but there is a result; clear one of them",
    )
    return status, np.where(said == "", spoken, "").astype(object)


def _refuse_beyond(sheet: Sheet, outcome: Outcome, numbers: Numbers) -> None:
    """Refuse values beyond bounds that somebody said; found ones give way.

    Raises:
        DataError: there is one.
    """
    if outcome.found or outcome.bounds == UNBOUNDED:
        return
    beyond = np.array([not (np.isnan(v) or outcome.within(v)) for v in numbers], dtype=bool)
    sheet.refuse(
        beyond,
        outcome.name,
        lambda i: (
            f"{cell_text(numbers[i])} is outside of the bounds ({spelt(outcome.bounds)}); correct "
            f"it, or widen them by gollum init CAMPAIGN --bounds "
            f"{quoted(f'{outcome.name}=LOW:HIGH')}"
        ),
    )


def _contradiction(sheet: Sheet, column: str, words: Texts, status: Texts, i: int) -> str:
    says = sheet.spoken(column, i, words[i])
    return f"the cell says {says}, but the row is '{status[i]}'; leave the cell blank"


def _instead(text: str, failed: Sequence[str]) -> str:
    """The status that a text means in place of a value; '' if none."""
    word = meaning(text, failed) or ""
    return "" if word == "measured" else word


def _beyond_found(sheet: Sheet, column: str, numbers: Numbers) -> tuple[Note, ...]:
    """Notes on values beyond bounds that were found, which give way to them."""
    of = next((one for one in sheet.state.outcomes if one.name == column and one.found), None)
    outside = [i for i, v in enumerate(numbers) if of and not (np.isnan(v) or of.within(v))]
    if of is None or not outside:
        return ()
    told = [
        Note(
            "out-of-range",
            sheet.at(i, column),
            f"{cell_text(numbers[i])} is not within {spelt(of.bounds)}",
        )
        for i in outside
    ]
    what = f"predictions may go beyond {spelt(of.bounds)} as well, unless that is corrected"
    return *folded(told), Note("open-bounds", "", what, column)


def _out_of_range(sheet: Sheet, column: str, numbers: Numbers) -> tuple[Note, ...]:
    """Notes on percentages that may be typing errors or fractions."""
    given = numbers[~np.isnan(numbers)]
    told = _beyond_found(sheet, column, numbers)
    shown = column in [n.column for n in sheet.frame.attrs["notes"] if n.code == "percentages"]
    if not (_PERCENT.search(column) or shown) or not len(given):
        return told
    if not told:
        outside = np.flatnonzero((numbers < 0) | (numbers > 100))
        texts = [(i, f"{cell_text(numbers[i])} is not within 0 to 100") for i in outside]
        told = folded([Note("out-of-range", sheet.at(i, column), text) for i, text in texts])
    results = sheet.state.measurements.values()
    before = [value for m in results if (value := m.result.values.get(column, 0.0)) > 0]
    if given.max() <= 1 < max(before, default=0.0):
        text = "no value is above 1, unlike earlier ones; if these are fractions, write 45 for 0.45"
        told += (Note("fractions", "", text, column),)
    if len(before) > 1 and max(before) <= 1 < given.max():
        if shown:
            raise DataError(
                f"{sheet.name}: column '{column}': the cells have the format %, so that 45 % would "
                "count as 45, unlike earlier results, which are within 0 to 1; write plain "
                "numbers, such as 0.45 if those are fractions."
            )
        text = (
            f"{cell_text(given.max())} is above 1, unlike all earlier results; if those are "
            "fractions, write 0.45 for 45"
        )
        told += (Note("fractions", "", text, column),)
    return told
