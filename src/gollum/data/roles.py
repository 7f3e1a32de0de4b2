"""What each column of a user's table is: an input, a result, a remark.

A column is what the user says it is. The others are proposed from their names and cells, each with
the reason. One that tells of the outcome must not be read as an input, since it would be known for
measured experiments only; where that can't be ruled out, the user is asked.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from functools import cached_property
from typing import Literal, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gollum.data.pool import cell_text, check_columns, smiles_columns
from gollum.data.spreadsheets.numbers import SPACES, is_date, is_number_like
from gollum.data.statuses import is_open
from gollum.errors import DataError, listed, quoted
from gollum.notes import Note

Role = Literal["input", "objective", "result", "outcome", "remark", "id", "cost", "left out"]
Kind = Literal["number", "category", "ordinal", "molecule", "reaction", "date", "blank"]
Mask = NDArray[np.bool_]

ALIKE = 0.8  # from this similarity on, two names are taken for one with a slip
FEWEST = 5  # rows, from which on a column that counts them is more likely their number
EXAMPLES = 3  # cells of a column that are shown
MOST_CODES = 20  # different whole numbers that may be codes

EARLIER, BLANK = "is of an earlier campaign", "is blank"  # reasons
ID_COLUMNS = ("id", "ID", "Id")
# Columns of our own in sheets that people fill in.
OURS = ("run", "id", "status", "note", "why", "low 95 %", "high 95 %", "chance to beat best",
        "chance to join front", "chance that limits hold")  # fmt: skip
OUTCOMES = ("status", "note")  # of our sheets, and welcome in other ones


def _set(words: str) -> frozenset[str]:
    return frozenset(words.split())


_REMARKS = _set("note notes comment comments remark remarks observation observations bemerkung "
                "bemerkungen kommentar kommentare anmerkung anmerkungen beobachtung remarque "
                "remarques")  # fmt: skip
_PEOPLE = _set("operator chemist experimenter experimentalist technician analyst researcher user "
               "initials bearbeiter laborant operateur opérateur")  # fmt: skip
_DATES = _set("date datum timestamp datetime")
_ROWS = _set("id no nr number index row entry exp experiment sample label nummer zeile probe "
             "versuch eintrag unnamed")  # fmt: skip
_RESULTS = _set("yield yields conversion selectivity purity impurity ee er dr enantioselectivity "
                "diastereoselectivity ausbeute umsatz selektivität reinheit rendement "
                "conversión rendimiento pureté sélectivité")  # fmt: skip
_COSTS = _set("price cost costs preis kosten prix coût precio")
_STATISTICS = _set("std sd stdev sem se err error var variance mean avg average median min max n "
                   "rep replicate repeat trial unc uncertainty ci low high lower upper pred "
                   "predicted calc raw norm normalized corrected hplc lcms lc ms gc nmr isolated "
                   "assay area final")  # fmt: skip
_CODES = _set("no nr id code type class category kind lot batch ligand solvent base acid catalyst "
              "additive reagent substrate electrophile nucleophile oxidant reductant supplier "
              "vendor plate reactor")  # fmt: skip


@dataclass(frozen=True)
class Said:
    """What the user says of columns.

    Attributes:
        objective: column to optimize.
        also: columns of further results.
        inputs: all columns that describe an experiment; None where they are proposed.
        categories: inputs whose cells are names, also where they look like numbers.
        numbers: inputs that are quantities, and results in which numbers such as -999 are values.
        remarks: columns that say nothing about the experiment.
        id_column: names the rows.
        cost: what a row costs.
        factors: columns that a list of options names, which are inputs.
        keeps: whether there is a place for further results and costs, as in a campaign.
        option: how the user says so, with the option's name for '{}'.
    """

    objective: str
    also: Sequence[str] = ()
    inputs: Sequence[str] | None = None
    categories: Sequence[str] = ()
    numbers: Sequence[str] = ()
    remarks: Sequence[str] = ()
    id_column: str | None = None
    cost: str | None = None
    factors: Sequence[str] = ()
    keeps: bool = True
    option: str = "--{}"

    def by(self, name: str, column: str) -> str:
        """How to say something, such as '--also purity'."""
        return f"{self.option.format(name)} {quoted(column)}"


class Column(NamedTuple):
    """What a column is.

    Attributes:
        name: of the column.
        role: what it is to the campaign; 'result' is kept and not optimized, 'outcome' is a status
            or note of our sheets.
        kind: of its cells.
        example: a few of its cells.
        reason: why that is proposed; '' where the user says so, or nothing speaks against it.
        unit: of numbers, where it is known and the name does not say it.
    """

    name: str
    role: Role
    kind: Kind
    example: str = ""
    reason: str = ""
    unit: str = ""


class InDoubtError(DataError):
    """What some columns are has to be said.

    Attributes:
        columns: what all of them seem to be.
    """

    def __init__(self, message: str, columns: Iterable[Column]) -> None:
        super().__init__(message)
        self.columns = tuple(columns)


@dataclass(frozen=True, eq=False)
class Roles:
    """All columns of a table, in its order.

    Attributes:
        columns: what each is.
        notes: what was proposed and may be said instead.
        table: the table, in which categories are text.
    """

    columns: tuple[Column, ...]
    notes: tuple[Note, ...]
    table: pd.DataFrame

    def of(self, *roles: Role) -> list[str]:
        """Names of the columns with one of these roles."""
        return [c.name for c in self.columns if c.role in roles]

    @property
    def inputs(self) -> list[str]:
        """Columns that describe an experiment."""
        return self.of("input")

    @property
    def unexplained(self) -> list[str]:
        """Columns that were left out of a list of inputs, and may have been forgotten."""
        return [c.name for c in self.columns if c.role == "left out" and not c.reason]

    def role(self, name: str) -> Role | None:
        """What this column is; None if there is none."""
        return next((c.role for c in self.columns if c.name == name), None)

    @property
    def id_column(self) -> str | None:
        """The column that names the rows."""
        return next(iter(self.of("id")), None)


def assign(table: pd.DataFrame, where: str, said: Said, refused: Iterable[str] = ()) -> Roles:
    """Take what was said of columns, and propose what the others are.

    Args:
        table: as `read_table` gives it.
        where: file or table, for messages.
        said: by the user.
        refused: names, in small letters, that no input may have.

    Raises:
        DataError: a column that was named is not there or has two meanings, or no column describes
            the experiments.
        InDoubtError: what a column is can't be told.
    """
    named = _named(table, where, said)
    table = _with_categories(table, said)
    proposer = _Proposer(table, where, said, frozenset(refused))
    proposer.check(named)
    ids = [c for c in ID_COLUMNS if c in table and c not in named] if said.id_column is None else []
    if ids:
        named[ids[0]] = "id"
    columns, doubts = list[Column](), dict[str, str]()
    for name in map(str, table.columns):
        if name in named:
            reason = "is called so" if name in ids[:1] else ""
            columns.append(proposer.column(name, named[name], reason))
            continue
        found = proposer.propose(name)
        doubts |= {name: found.reason} if found.in_doubt else {}
        role, reason = found.role, "is " * found.in_doubt + found.reason
        if role == "id" and ("id" in named.values() or any(c.role == "id" for c in columns)):
            role = "left out"
        if role == "input" and said.inputs is not None:
            role = "left out"
        columns.append(proposer.column(name, role, reason))
    if doubts and said.inputs is None:
        raise _question(where, said, doubts, columns)
    if not any(c.role == "input" for c in columns):
        raise DataError(f"{where}: no column describes the experiments; add one, with its cells.")
    if said.inputs is not None:  # in the order in which they were said
        rank = {name: i for i, name in enumerate(said.inputs)}
        columns.sort(key=lambda column: rank.get(column.name, len(rank)))
    return Roles(tuple(columns), tuple(proposer.notes(columns)), table)


def _named(table: pd.DataFrame, where: str, said: Said) -> dict[str, Role]:
    """Column → what it was said to be.

    Raises:
        DataError: it was said to be two things, or is not there.
    """
    for column in (said.objective, *said.also):
        if column in said.factors:
            raise DataError(f"{where}: '{column}' is a factor and no result; rename one of them.")
    meanings: dict[str, str] = {}
    roles: dict[str, Role] = {}
    groups: list[tuple[Role, str, Sequence[str]]] = [
        ("objective", "the objective", [said.objective]),
        ("result", "a further result", said.also),
        ("id", "the id", [said.id_column] if said.id_column is not None else []),
        ("cost", "the cost", [said.cost] if said.cost is not None else []),
        ("remark", "a remark", said.remarks),
        ("input", "an input", said.inputs or ()),
    ]
    if said.inputs is None:
        numbers = [n for n in said.numbers if n not in (said.objective, *said.also)]
        groups.append(("input", "an input", [*said.categories, *numbers]))
    elif not said.inputs:
        raise DataError(f"{where}: the list of inputs is empty; name the columns to describe with.")
    for role, what, names in groups:
        for column in names:
            if column in meanings:
                raise DataError(f"{where}: '{column}' is {meanings[column]}; name it only once.")
            if role not in ("objective", "result"):
                check_columns(table, [column], where)
            meanings[column], roles[column] = what, role
    for column in said.factors if said.inputs is None else ():
        roles.setdefault(column, "input")
    for column in (*said.categories, *said.numbers):
        known = roles.get(column)
        if known != "input" and (column in said.categories or known not in ("objective", "result")):
            raise DataError(f"{where}: '{column}' is not among the inputs; add it to them.")
    return roles


def _with_categories(table: pd.DataFrame, said: Said) -> pd.DataFrame:
    """The table, in which the cells of categories are text."""
    changed = {
        name: table[name].map(cell_text).astype("str")
        for name in said.categories
        if pd.api.types.is_numeric_dtype(table[name])
    }
    return table.assign(**changed)


class _Proposal(NamedTuple):
    """What a column seems to be, why, and whether the user has to be asked."""

    role: Role
    reason: str = ""
    in_doubt: bool = False


@dataclass(frozen=True, eq=False)
class _Proposer:
    """Looks at a table of which some columns are known."""

    table: pd.DataFrame
    where: str
    said: Said
    refused: frozenset[str]

    @cached_property
    def names(self) -> list[str]:
        """All columns."""
        return list(map(str, self.table.columns))

    @cached_property
    def ours(self) -> list[str]:
        """Columns of a file that a campaign has exported; none if it is no such file.

        Raises:
            DataError: it is an exported history.
        """
        here = {name.casefold() for name in self.names}
        made = [n for n in self.names if n.casefold() in OURS and n not in (*OUTCOMES, "id")]
        ours = ("predicted ", "low 95 % ", "high 95 % ")  # of one outcome among several
        predicted = [n for n in self.names if n.casefold().startswith(ours)]
        if predicted and {"run", "status"} <= here:
            if "replaced" in here:
                raise DataError(
                    f"{self.where}: this is an exported history, with values that were corrected "
                    "since; begin with exported results instead."
                )
            return [
                *made,
                *predicted,
                *(n for n in self.names if n in ("batch", "time (UTC)", "asked")),
            ]
        means = [n for n in self.names if n.casefold().startswith("mean ")]
        if means and {"id", "state", "results"} <= here:
            return [*(n for n in self.names if n.casefold() in ("state", "results")), *means]
        return []

    @cached_property
    def measured(self) -> Mask:
        """Rows with a result in the column of the objective."""
        return self.filled(self.said.objective)

    def filled(self, name: str) -> Mask:
        """Flags of the rows whose cell says something; words for results to come do not."""
        if name not in self.table:
            return np.zeros(len(self.table), dtype=bool)
        cells = self.table[name]
        if pd.api.types.is_numeric_dtype(cells):
            return cells.notna().to_numpy(dtype=bool)
        says = {text: not is_open(str(text)) for text in cells.unique()}
        return cells.map(says).to_numpy(dtype=bool)

    def check(self, named: Mapping[str, Role]) -> None:
        """Refuse inputs that are called like columns of our own, and slips in names of results.

        Raises:
            DataError: there is one.
        """
        for name, role in named.items():
            if role == "input" and name.casefold() in self.refused:
                raise _reserved(self.where, name)
            if role not in ("objective", "result") or name in self.table or self.said.inputs:
                continue
            left = [n for n in self.names if n not in named and n not in self.ours]
            slip = next((n for n in left if resembles(n, name)), None)
            if slip is not None:
                raise DataError(
                    f"{self.where}: there is no column '{name}', and '{slip}' would count as an "
                    f"input; did you mean '{slip}'? If it is an input, list all inputs."
                )

    def column(self, name: str, role: Role, reason: str) -> Column:
        """What a column is, with a few of its cells."""
        cells = (cell_text(cell).strip(SPACES) for cell in self.table[name].unique())
        some = [cell for cell, _ in zip((c for c in cells if c), range(EXAMPLES), strict=False)]
        return Column(name, role, self.kind(name), ", ".join(some), reason)

    def kind(self, name: str) -> Kind:
        """What the cells of a column are."""
        cells = self.table[name]
        if pd.api.types.is_numeric_dtype(cells):
            return "number" if cells.notna().any() else "blank"
        texts = [text for text in map(str, cells.unique()) if text.strip(SPACES)]
        if not texts:
            return "blank"
        if "smiles" in name.casefold():
            return "molecule" if name in smiles_columns(self.table[[name]]) else "reaction"
        return "date" if all(map(is_date, texts)) else "category"

    def propose(self, name: str) -> _Proposal:
        """What a column of which nothing was said seems to be."""
        words, kind = _words(name), self.kind(name)
        low = name.casefold().strip()
        if low in OUTCOMES:
            return _Proposal("outcome", "says what came of experiments")
        if name in self.ours:
            return _Proposal("left out", EARLIER)
        if low in self.refused and self.said.inputs is None:
            raise _reserved(self.where, name)
        if kind == "blank":
            return _Proposal("left out", BLANK)
        if low in _REMARKS or (len(words) > 1 and words & _REMARKS and self._wordy(name)):
            return _Proposal("remark", "is called like a remark")
        if words & _PEOPLE:
            return _Proposal("remark", "says who and not what")
        if kind == "date" and words & _DATES:
            return _Proposal("remark", "says when and not what")
        if low == "priority" and kind == "number":
            return _Proposal("remark", "is another tool's order")
        if doubt := self._of_outcome(name, words):
            return _Proposal("left out", doubt, in_doubt=True)
        if self._names_rows(name, words):
            return _Proposal("id", "is different in every row, and its name says so")
        others = [n for n in self.names if n != name and self._may_be_input(n)]
        if others and len(self.table) >= FEWEST and self._counts(name):
            return _Proposal("left out", "a count of the rows", in_doubt=True)
        return _Proposal("input")

    def _may_be_input(self, name: str) -> bool:
        said = {self.said.objective, self.said.id_column, self.said.cost}
        return name not in (*said, *self.said.also, *self.said.remarks)

    def _of_outcome(self, name: str, words: frozenset[str]) -> str:
        """Why a column may tell of the outcome; '' if nothing says so."""
        objective, filled = self.said.objective, self.filled(name)
        known = self.measured
        enough = min(filled.sum(), (~known).sum()) > 1 and 2 * filled.sum() >= known.sum()
        if enough and not (filled & ~known).any():
            return f"filled only where '{objective}' is"
        wanted = _words(objective)
        more = words - wanted
        if wanted and wanted <= words and more and all(map(_is_statistic, more)):
            return f"called like '{objective}'"
        if words & _RESULTS and self._numeric(name):
            return "called like a result"
        return ""

    def _numeric(self, name: str) -> bool:
        """Whether the cells are numbers, words for results to come aside."""
        cells = self.table[name]
        if pd.api.types.is_numeric_dtype(cells):
            return True
        return all(map(is_number_like, map(str, cells[self.filled(name)].unique())))

    def _wordy(self, name: str) -> bool:
        return not pd.api.types.is_numeric_dtype(self.table[name])

    def _names_rows(self, name: str, words: frozenset[str]) -> bool:
        cells = self.table[name]
        called = words & _ROWS or not words
        if not called or self.kind(name) not in ("number", "category") or len(cells) < 3:
            return False
        if pd.api.types.is_float_dtype(cells):
            return False
        texts = cells.map(cell_text)
        return bool((texts != "").all() and texts.is_unique)

    def _counts(self, name: str) -> bool:
        """Whether a column is 1, 2, 3 … or 0, 1, 2 …, row by row."""
        cells = self.table[name]
        if not pd.api.types.is_integer_dtype(cells):
            return False
        numbers = cells.to_numpy()
        return bool(numbers[0] in (0, 1) and (np.diff(numbers) == 1).all())

    def notes(self, columns: Sequence[Column]) -> Iterable[Note]:
        """What was proposed, and how to say something else."""
        reasons: dict[tuple[Role, str], list[str]] = {}
        for column in columns:
            if column.reason:
                reasons.setdefault((column.role, column.reason), []).append(column.name)
        for (role, reason), names in reasons.items():
            yield _told(role, reason, names, self.where)
        for column in columns:
            if column.role == "input" and column.name not in self.said.numbers:
                if _words(column.name) & _COSTS and self.said.keeps:
                    say = self.said.by("cost", column.name)
                    what = f"read as an input; if it is a cost, say {say}."
                    yield Note("perhaps-cost", self.where, what, column.name)
                codes = self._codes(column.name)
                if codes:
                    yield Note(
                        "codes",
                        self.where,
                        f"{codes} is read as a quantity; if these are codes, say "
                        f"{self.said.by('category', column.name)}, and if not, "
                        f"{self.said.by('number', column.name)}.",
                        column.name,
                    )

    def _codes(self, name: str) -> str:
        """'1 to 6' where a column of whole numbers may hold codes, else ''."""
        cells = self.table[name]
        if not pd.api.types.is_integer_dtype(cells) or not _words(name) & _CODES:
            return ""
        levels = np.unique(cells)
        if not 3 <= len(levels) <= MOST_CODES or levels[0] not in (0, 1):
            return ""
        return f"{levels[0]} to {levels[-1]}" if (np.diff(levels) == 1).all() else ""


def _told(role: Role, reason: str, names: Sequence[str], where: str) -> Note:
    """One note on columns that are the same for the same reason."""
    these = listed(names)
    told = {
        "id": ("id-column", f"column {these} names the rows."),
        "outcome": ("outcomes", f"what came of experiments and is no input: {these}."),
        EARLIER: ("earlier-campaign", f"left out, as of an earlier campaign: {these}."),
        BLANK: ("blank-columns", f"left out, as all cells are blank: {these}."),
    }
    usual = ("left-out", f"no input: {these}, which {reason}.")
    code, text = told.get(role) or told.get(reason) or usual
    return Note(code, where, text)


def _question(
    where: str, said: Said, doubts: Mapping[str, str], columns: Iterable[Column]
) -> InDoubtError:
    """A refusal that asks what columns are."""
    grouped: dict[str, list[str]] = {}
    for name, doubt in doubts.items():
        grouped.setdefault(doubt, []).append(name)
    told = "; ".join(
        f"{listed(names)} {'are' if len(names) > 1 else 'is'} {doubt}"
        for doubt, names in grouped.items()
    )
    first = next(iter(doubts))
    ways = [f"{said.by('remark', first)} if it tells nothing about the experiment"]
    if said.keeps:
        ways.insert(0, f"{said.by('also', first)} if it is a result")
    kinds = f"{said.by('number', first)} or {said.by('category', first)} if it is an input"
    asked = f"{where}: {told}. Say what that is: {', '.join([*ways, kinds])}."
    return InDoubtError(asked, columns)


def _reserved(where: str, column: str) -> DataError:
    """A refusal of an input that is called like a column of our own."""
    return DataError(
        f"{where}: the sheets of a campaign have a column '{column}' of their own, so it can't be "
        "an input; rename it, or list the inputs without it."
    )


def resembles(one: str, other: str) -> bool:
    """Whether two names are one with a slip, or one of them the other with additions."""
    words, others = _words(one), _words(other)
    if words and others and (words <= others or others <= words):
        return True
    return SequenceMatcher(None, one.casefold(), other.casefold()).ratio() >= ALIKE


def _words(name: str) -> frozenset[str]:
    return frozenset(re.findall(r"[^\W_]+", name.casefold()))


def _is_statistic(word: str) -> bool:
    return word in _STATISTICS or word.isdecimal()
