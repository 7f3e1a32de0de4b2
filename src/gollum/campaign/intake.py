"""Results in: what a sheet says that the campaign does not know yet, as one event.

The rows of one run (or else of one id) are matched with what was recorded of it, whatever their
order: first those that say the same, then those that add a further result, then those that say
what was corrected since. Rows that are left are corrections, repeats or first results.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, count
from typing import Literal, NamedTuple

import numpy as np
import pandas as pd

from gollum.campaign.events import STATUSES, Cells, Recorded, Result, Source, Status
from gollum.campaign.filled import Outcomes, Sheet, folded, read_outcomes
from gollum.campaign.identity import Identity, identify, strangers
from gollum.campaign.sheets import exported_note
from gollum.campaign.state import Logged, Measurement, State
from gollum.data.extents import Extent
from gollum.data.pool import cell_text
from gollum.data.sentinels import sentinel
from gollum.errors import DataError, quoted
from gollum.notes import Note

_EQUAL = 1e-9  # relative difference of values that are the same; workbooks drop the last digits


@dataclass(frozen=True)
class Intake:
    """What a sheet says that is new.

    Attributes:
        event: the news; None if there is none.
        notes: what was understood in a special way, by the reader too.
        measured: new or changed results with this status, not those that `added` counts.
        failed: likewise.
        not_run: likewise.
        corrected: how many of them replace an earlier result.
        added: column → how many earlier results got a first value of it, and lost nothing.
        repeated: how many of them are further results of an experiment that has one.
        known: rows that were recorded before.
        joined: experiments that are candidates from now on.
        otherwise: how many of the news were done differently from what their run asked for.
        waiting: rows without a result.
    """

    event: Recorded | None
    notes: tuple[Note, ...]
    measured: int
    failed: int
    not_run: int
    corrected: int
    added: dict[str, int]
    repeated: int
    known: int
    joined: int
    otherwise: int
    waiting: int


def read_results(
    state: State,
    frame: pd.DataFrame,
    *,
    source: Source | None,
    name: str,
    correct: bool = False,
    new_names: bool = False,
    as_done: bool = False,
) -> Intake:
    """Read a sheet of results, all or nothing.

    Args:
        state: the campaign so far.
        frame: N rows in any order, of our own sheet or another one; `attrs['first_row']` is the
            spreadsheet row of the first.
        source: where the rows are from.
        name: of the file, for messages.
        correct: whether a row that names its experiment by id or inputs replaces the result that
            this has, and whether a value that was corrected may come back.
        new_names: whether names and numbers that look like slips for known ones are new options;
            otherwise they are refused.
        as_done: whether a run that stands beside other inputs than it asked for was done so;
            otherwise such a row is refused.

    Raises:
        DataError: naming row and column of what can't be understood.
    """
    sheet = Sheet.of(state, frame, name)
    outcomes = read_outcomes(sheet)
    for column, numbers in outcomes.values.items() if not new_names else ():
        if what := sentinel(numbers):
            raise DataError(
                f"{name}: column '{column}': {what} may mean missing; leave those cells blank, or "
                "record with --new if it is a value."
            )
    wanted = np.isin(outcomes.status.astype(str), STATUSES)
    done = np.isin(outcomes.status.astype(str), ["measured", "failed"]) & as_done
    identity = identify(sheet, wanted, new_names, done)
    rows = _rows(sheet, outcomes, identity, np.flatnonzero(wanted).tolist())
    readings = sorted(_readings(state, rows, correct), key=lambda reading: reading.row.row)
    _refuse_spoken(sheet, outcomes, readings)
    results = tuple(r.result for r in readings if r.result is not None)
    kinds = Counter(r.kind for r in readings)
    new = Counter(r.row.status for r in readings if r.kind not in ("known", "added"))
    event = Recorded(source=source, results=results, joined=identity.joined) if results else None
    told = defaultdict[str, list[Note]](list)
    idle = ~wanted & ~sheet.blank()
    if new_rows := int(strangers(sheet, idle).sum()):
        what = f"{new_rows} rows are of no candidate"
        advice = "rows without a result add nothing; `gollum add` adds candidates"
        told["strangers"].append(Note("strangers", "", f"{what}: {advice}"))
    if event is not None:
        problem = state.after(Logged(state.sequence + 1, "", "", event)).praised_failure()
        if problem:
            remedy = "change it with gollum init CAMPAIGN --failed-as VALUE"
            told["failed-as"].append(Note("failed-as", "", f"{problem}; {remedy}"))
    if identity.joined is not None:
        told["costs"] += _costless(state, identity.joined)
    kept = f"kept, though '{state.created.objective}' is still missing"
    for r in readings:
        if _misses_objective(state, r):
            told["missing"].append(Note("missing-objective", f"row {r.row.row}", kept))
        if r.note:
            told[r.kind].append(Note(f"{r.kind}-result", f"row {r.row.row}", r.note))
    return Intake(
        event,
        (*sheet.notes(), *outcomes.told, *identity.told, *chain(*map(folded, told.values()))),
        measured=new["measured"],
        failed=new["failed"],
        not_run=new["not run"],
        corrected=kinds["corrected"],
        added=_added(state, readings),
        repeated=kinds["repeated"],
        known=kinds["known"],
        joined=0 if identity.joined is None else len(identity.joined.ids),
        otherwise=sum(
            r.kind not in ("known", "added") and state.otherwise(r.result)
            for r in readings
            if r.result
        ),
        waiting=int(idle.sum()),
    )


class _Row(NamedTuple):
    """What a row says: `run` is '' if it names none, `values` empty unless measured."""

    row: int
    run: str
    id: str
    status: Status
    values: dict[str, float]
    said: dict[str, str]
    extents: dict[str, Extent]
    note: str

    def says_what(self, other: _Row) -> bool:
        """Whether another row says nothing else."""
        return self._replace(row=0) == other._replace(row=0)


class _Reading(NamedTuple):
    """What a row means: the run that it speaks of, and the result unless there is nothing new."""

    row: _Row
    run: str
    kind: Literal["first", "repeated", "corrected", "added", "known"]
    result: Result | None
    note: str = ""


def _misses_objective(state: State, reading: _Reading) -> bool:
    """Whether a run has a result without a value of the objective, after this row too."""
    old = state.measurements.get(reading.run)
    result = reading.result or (None if old is None else old.result)
    if result is None:  # a row that stands twice
        return False
    return result.status == "measured" and state.created.objective not in result.values


def _costless(state: State, joined: Cells) -> Iterator[Note]:
    """Notes on experiments that join without what they cost."""
    if (cost := state.own_cost) is not None:
        known = joined.columns.get(cost, (None,) * len(joined.ids))
        for name in (id_ for id_, one in zip(joined.ids, known, strict=True) if one is None):
            what = f"{name} joins the candidates without its '{cost}', which was not given"
            yield Note("no-cost", "", what)
    for column, prices in state.created.prices.items():
        levels = dict.fromkeys(map(cell_text, joined.columns[column]))
        for option in (level for level in levels if level not in prices):
            remedy = f"gollum init CAMPAIGN --price {quoted(f'{column}=FILE')} adds it"
            what = f"'{option}' of '{column}' has no price, so what it costs is not known; {remedy}"
            yield Note("no-cost", "", what)


def _refuse_spoken(sheet: Sheet, outcomes: Outcomes, readings: Iterable[_Reading]) -> None:
    """Refuse a word in the cell of a further result that would undo or repeat other results.

    Raises:
        DataError: there is one.
    """
    state, problems = sheet.state, dict[int, str]()
    for r in readings:
        i, old = r.row.row - sheet.first, state.measurements.get(r.run)
        if not outcomes.spoken[i] or r.kind not in ("corrected", "repeated"):
            continue
        if old is not None and not old.result.values:
            continue
        has = "has a result" if old is None else f"is {_said(state, old.result)}"
        says = sheet.spoken(outcomes.spoken[i], i, r.row.status)
        problems[i] = (
            f"the cell says {says}, and {r.run.partition('~')[0]} {has}; leave the cell "
            f"blank, or say '{r.row.status}' in the column '{sheet.names.status}' if that is true "
            "of the whole experiment"
        )
    for column in dict.fromkeys(outcomes.spoken[i] for i in sorted(problems)):
        wrong = np.zeros(len(sheet.frame), dtype=bool)
        wrong[[i for i in problems if outcomes.spoken[i] == column]] = True
        sheet.refuse(wrong, column, problems.__getitem__)


def _added(state: State, readings: Iterable[_Reading]) -> dict[str, int]:
    """How many runs got a first value of each column beside those that they had."""
    return Counter(
        column
        for r in readings
        if r.kind == "added" and r.result
        for column in r.result.values
        if column not in state.measurements[r.run].result.values
    )


def _rows(
    sheet: Sheet, outcomes: Outcomes, identity: Identity, wanted: Sequence[int]
) -> list[_Row]:
    values = {column: numbers.tolist() for column, numbers in outcomes.values.items()}
    first = sheet.first
    return [
        _Row(
            first + i,
            identity.runs[i],
            identity.ids[i],
            outcomes.status[i],
            {column: v for column, numbers in values.items() if (v := numbers[i]) == v},
            {column: text for column, texts in outcomes.said.items() if (text := texts[i])},
            {column: one for column, known in outcomes.extents.items() if (one := known[i])},
            outcomes.notes[i],
        )
        for i in wanted
    ]


def _readings(state: State, rows: Iterable[_Row], correct: bool) -> list[_Reading]:
    """Rows that name a run come first; the others share what these leave."""
    by_run, by_id = defaultdict[str, list[_Row]](list), defaultdict[str, list[_Row]](list)
    for row in rows:
        (by_run[row.run] if row.run else by_id[row.id]).append(row)
    of_run, of_id = defaultdict[str, list[str]](list), defaultdict[str, list[str]](list)
    for run, measurement in state.measurements.items():
        of_id[measurement.result.id].append(run)
        repeated = run if run in by_run else run.rpartition("~")[0]
        if repeated in by_run:
            of_run[repeated].append(run)
    readings = [
        reading
        for run, group in by_run.items()
        for reading in _of_run(state, run, group, of_run.get(run, ()), correct)
    ]
    used = {reading.run for reading in readings}
    pending = defaultdict[str, list[str]](list)
    for plan in state.pending():
        if plan.suggestion.run not in used:
            pending[plan.suggestion.id].append(plan.suggestion.run)
    seen = of_id.keys() | {reading.row.id for reading in readings}
    for id_, group in by_id.items():
        left = [run for run in of_id.get(id_, ()) if run not in used]
        readings += _of_id(state, id_, group, left, pending.get(id_, ()), id_ in seen, correct)
    return readings


def _of_run(
    state: State, run: str, rows: Sequence[_Row], runs: Sequence[str], correct: bool
) -> Iterator[_Reading]:
    """Rows of one run, with the recorded runs that they may speak of.

    Where all say the same it stands there twice by a slip: repeats hardly agree to the last digit.
    """
    if all(map(rows[0].says_what, rows)):
        told = (
            f"{run} stands twice with {_said(state, rows[0])}, which counts once; if it was done "
            "twice, clear its run in one row"
        )
        for row in rows[1:]:
            yield _Reading(row, run, "known", None, told)
        rows = rows[:1]
    found, rows, left = _matched(state, rows, runs, correct)
    yield from found
    for row, name in zip(rows, left, strict=False):
        yield _corrected(state, row, name)
    names = (name for name in chain([run], _numbered(run, 2)) if name not in state.measurements)
    for row, name in zip(rows[len(left) :], names, strict=False):
        if name == run:
            yield _new(row, name)
        else:
            told = f"{run} has a result already; {_said(state, row)} is kept as a repeat, {name}"
            yield _new(row, name, told)


def _of_id(
    state: State,
    id_: str,
    rows: Sequence[_Row],
    runs: Sequence[str],
    pending: Sequence[str],
    seen: bool,
    correct: bool,
) -> Iterator[_Reading]:
    """Rows of one experiment that name no run; `seen` if there are other results of it."""
    found, rows, left = _matched(state, rows, runs, correct)
    for reading in found:
        if pending and not reading.note:
            told = f"{reading.run} has this result already, and {pending[0]} is still pending"
            reading = reading._replace(note=told)
        yield reading
    if not rows:
        return
    if len(pending) == 1:
        yield _new(rows[0], pending[0])
        rows, seen = rows[1:], True
    if correct and len(rows) == len(left) == 1:
        yield _corrected(state, rows[0], left[0])
        return
    names = (name for name in _numbered(id_, 1) if name not in state.measurements)
    for row, name in zip(rows, names, strict=False):
        told = ""
        if seen:
            before = _said(state, state.measurements[left[-1]].result) if left else "in another row"
            told = (
                f"{id_} has a result already ({before}); {_said(state, row)} is kept as a repeat, "
                f"{name}; use --correct if it replaces a result"
            )
        yield _new(row, name, told)
        seen = True


def _numbered(base: str, first: int) -> Iterator[str]:
    return (f"{base}~{k}" for k in count(first))


def _matched(
    state: State, rows: Sequence[_Row], runs: Sequence[str], correct: bool
) -> tuple[list[_Reading], list[_Row], list[str]]:
    """What is known of some rows, the rows that are news, and the runs that no row speaks of."""
    found, rows, runs = list[_Reading](), list(rows), list(runs)
    for fits in _FITS[:-1] if correct else _FITS:
        for row in list(rows) if runs else ():
            name = next((run for run in runs if fits(row, state.measurements[run])), None)
            if name is not None:
                found.append(_confirmed(state, row, name))
                rows.remove(row)
                runs.remove(name)
    return found, rows, runs


def _same(row: _Row, result: Result) -> bool:
    return row.values.keys() == result.values.keys() and _agrees(row, result)


def _noted(row: _Row, result: Result) -> str:
    """The note of a row; that of the result where it is what an export makes of that."""
    return result.note if row.note == exported_note(result) else row.note


def _agrees(row: _Row, result: Result) -> bool:
    """Whether nothing that both say differs."""
    mine, known = row.values, result.values
    both = mine.keys() & known.keys()
    close = mine == known or all(math.isclose(mine[c], known[c], rel_tol=_EQUAL) for c in both)
    return row.id == result.id and row.status == result.status and close


_FITS: tuple[Callable[[_Row, Measurement], bool], ...] = (
    lambda row, known: _same(row, known.result) and _noted(row, known.result) == known.result.note,
    lambda row, known: _same(row, known.result),
    lambda row, known: _agrees(row, known.result),
    lambda row, known: any(_same(row, old) for old in known.earlier),
)


def _confirmed(state: State, row: _Row, run: str) -> _Reading:
    """A row that says what is known of a run, or was before it was corrected, or adds to it."""
    old = state.measurements[run].result
    if not _agrees(row, old):
        told = (
            f"{run} was {_said(state, row)} until it was corrected to {_said(state, old)}, which "
            "stays; use --correct to go back"
        )
        return _Reading(row, run, "known", None, told)
    if row.values.keys() - old.values.keys():
        return _Reading(row, run, "added", _result(row, run, old))
    if _noted(row, old) not in ("", old.note):
        told = f"{run} has another note; its result is the same"
        return _Reading(row, run, "known", _result(row, run, old), told)
    return _Reading(row, run, "known", None)


def _corrected(state: State, row: _Row, run: str) -> _Reading:
    """A row that contradicts what is known of a run, or adds to it."""
    old = state.measurements[run].result
    new = _result(row, run, old)
    before, now = _said(state, old), _said(state, new)
    if old.id != new.id:
        before, now = f"{old.id} with {before}", f"{new.id} with {now}"
    told = f"{run} was {before} and is {now} now"
    return _Reading(row, run, "corrected", new, told)


def _new(row: _Row, run: str, repeats: str = "") -> _Reading:
    """A result of its own; with a note if the experiment has others."""
    kind: Literal["first", "repeated"] = "repeated" if repeats else "first"
    return _Reading(row, run, kind, _result(row, run), repeats)


def _result(row: _Row, run: str, old: Result | None = None) -> Result:
    """What is known of a run now: blank cells leave what was there."""
    note, values, said, extents = row.note, row.values, row.said, row.extents
    if old is not None:
        note = _noted(row, old) or old.note
        values = old.values | row.values if row.status == "measured" else {}
        said = {c: text for c, text in old.said.items() if c not in row.values} | row.said
        extents = {c: e for c, e in old.extents.items() if c not in row.values} | row.extents
    said = {column: text for column, text in said.items() if column in values}
    extents = {column: one for column, one in extents.items() if column in values}
    return Result(
        run=run, id=row.id, status=row.status, values=values, said=said, extents=extents,
        note=note, row=row.row,
    )  # fmt: skip


def _said(state: State, result: _Row | Result) -> str:
    """'71.2', or with further results '71.2, purity 95', or the status."""
    if result.status != "measured":
        return result.status
    objective = state.created.objective
    return ", ".join(
        cell_text(value) if column == objective else f"{column} {cell_text(value)}"
        for column, value in result.values.items()
    )
