"""Results: typed into a grid, pasted or uploaded; what is wrong is marked before it is recorded."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import pandas as pd
from fastapi import APIRouter, Request
from starlette.datastructures import FormData
from starlette.responses import JSONResponse, Response

from gollum.api import Campaign
from gollum.campaign.intake import Intake
from gollum.campaign.sheets import head, in_unit, sheet_names
from gollum.campaign.state import State
from gollum.campaign.store import Moved
from gollum.data.pool import cell_text
from gollum.data.readers import read_table
from gollum.errors import UserError
from gollum.report.campaign.status import intake_words
from gollum.web.folder import Snapshot, upload
from gollum.web.pages.common import Form, Here, Shown, home, known_by, sent, text, to

SHOWN = 100  # pending experiments in the grid
EXTRA = 3  # rows for other experiments
ROWS, LONGEST = 1000, 1000  # that a form may have; characters of a cell
EXCERPT = 12  # rows of an uploaded sheet that are shown with what is wrong
STATUSES = ("", "failed", "not run")
_PLACE = re.compile(r"row (\d+)(?:, column '(.*?)')?(?=[:;,. ]|$)")
SWITCHES = ("correct", "new", "as_done")

router = APIRouter(include_in_schema=False)


@router.get("/c/{name}/results")
def grid(request: Request, here: Here, run: str = "") -> Response:
    """The grid of what is pending, or of one run that is to be corrected."""
    measurement = here.state.measurements.get(run)
    if measurement is None:
        rows = [_blank(here.state, plan.suggestion.run) for plan in here.state.pending()[:SHOWN]]
        return _page(request, here, rows, extra=EXTRA)
    result = measurement.result
    row = _blank(here.state, run) | {
        c: result.said.get(c, cell_text(v)) for c, v in result.values.items()
    }
    names = sheet_names(here.state)
    row |= {names.status: result.status if result.status != "measured" else ""}
    row |= {names.note: result.note}
    return _page(request, here, [row], correcting=run, said_so=["correct"])


def _blank(state: State, run: str) -> dict[str, str]:
    return {sheet_names(state).run: run}


def _page(
    request: Request,
    here: Snapshot,
    rows: list[dict[str, str]],
    *,
    extra: int = 0,
    correcting: str = "",
    said_so: Sequence[str] = (),
    status: int = 200,
    **more: Any,
) -> Response:
    state, names = here.state, sheet_names(here.state)
    shown: Shown = request.app.state.shown
    known = {run: plan.suggestion.id for run, plan in state.plans.items()}
    known |= {run: m.result.id for run, m in state.measurements.items()}
    inputs, units = here.telling, state.created.units
    every = list(map(str, state.table.columns))
    measured = (state.created.objective, *state.created.also)
    content = {
        "rows": [*rows, *({} for _ in range(extra))],
        "names": names,
        "inputs": every if extra or any(not r.get(names.run) for r in rows) else inputs,
        "outcomes": [(c, head(state, c)) for c in measured],
        "statuses": STATUSES,
        "about": {
            run: {c: in_unit(cell_text(state.table.at[known[run], c]), units.get(c)) for c in every}
            for row in rows
            if (run := row.get(names.run, ""))
        },
        "more": max(0, len(state.pending()) - SHOWN),
        "correcting": correcting,
        "switches": said_so,
        "places": set(),
        "excerpt": None,
        "problem": "",
        "notes": [],
    }
    return shown.page(request, "results.html", here, status, tab="results", **content | more)


@router.post("/c/{name}/results")
def record(request: Request, here: Here, form: Form) -> Response:
    """Take in the grid; nothing of it where something is wrong."""
    campaign, rows = known_by(request, here, form), typed(form, columns_of(here.state))
    try:
        intake = _read(campaign, here.state, rows, form, check=False)
    except Moved:
        problem = (
            "Somebody else changed the campaign while you typed. Nothing of yours is recorded yet, "
            "and nothing is lost: look at it once more and record it again."
        )
        taken = _taken(here.state, rows)
        if taken and not text(form, "correcting"):
            runs = ", ".join(rows[row - 1][sheet_names(here.state).run] for row, _ in sorted(taken))
            problem += f" {runs} got results meanwhile; clear those cells, or they are corrected."
        return _again(request, here, rows, form, 409, problem=problem, places=taken)
    except UserError as error:
        places = found_places(str(error))
        return _again(request, here, rows, form, 422, problem=str(error), places=places)
    if intake.event is None:
        return _again(request, here, rows, form, problem="There is nothing new in it.",
                      notes=list(intake.notes))  # fmt: skip
    return _recorded(request, here, intake)


def _taken(state: State, rows: list[dict[str, str]]) -> set[tuple[int, str]]:
    """Cells with a result of a run that has one already."""
    run, objective = sheet_names(state).run, state.created.objective
    return {
        (number, objective)
        for number, row in enumerate(rows, 1)
        if row.get(run) in state.measurements and row.get(objective)
    }


def _again(
    request: Request, here: Snapshot, rows: list[dict[str, str]], form: FormData, status: int = 200,
    **more: Any,
) -> Response:  # fmt: skip
    """The grid as it was filled in, with what is wrong."""
    said = [switch for switch, on in switches(form).items() if on]
    correcting = text(form, "correcting", 80)
    return _page(request, here, rows, status=status, said_so=said, correcting=correcting,
                 **more)  # fmt: skip


def _recorded(request: Request, here: Snapshot, intake: Intake) -> Response:
    shown: Shown = request.app.state.shown
    for note in intake.notes[:20]:
        shown.say(request, "note", str(note))
    verb = "Nothing new" if intake.event is None else "Recorded"
    return to(request, f"{home(here.name)}/results", good=f"{verb}: {intake_words(intake)}")


@router.post("/c/{name}/results/check")
def check(here: Here, form: Form) -> Response:
    """What recording the grid would do, without doing it."""
    rows = typed(form, columns_of(here.state))
    try:
        intake = _read(here.campaign, here.state, rows, form, check=True)
    except UserError as error:
        places = [{"row": row, "column": c} for row, c in sorted(found_places(str(error)))]
        return JSONResponse({"problem": str(error), "places": places})
    notes = [str(note) for note in intake.notes]
    return JSONResponse({"summary": intake_words(intake), "notes": notes[:20]})


def _read(
    campaign: Campaign, state: State, rows: list[dict[str, str]], form: FormData, check: bool
) -> Intake:
    return campaign.record(framed(state, rows), **switches(form), check=check)


def switches(form: FormData) -> dict[str, Any]:
    """What else the rows may be, as `Campaign.record` takes it."""
    return {switch: bool(text(form, switch)) for switch in SWITCHES}


def columns_of(state: State) -> list[str]:
    """The columns of the grid, by the numbers that its fields have."""
    names, created = sheet_names(state), state.created
    return [names.run, *map(str, state.table.columns), created.objective, *created.also,
            names.status, names.note]  # fmt: skip


def typed(form: FormData, columns: list[str]) -> list[dict[str, str]]:
    """What stands in the fields of a grid, called r0c3 and so on, row by row."""
    found = dict[int, dict[str, str]]()
    for field, value in form.multi_items():
        match = re.fullmatch(r"r(\d{1,4})c(\d{1,4})", field, re.ASCII)
        if match is None or not isinstance(value, str):
            continue
        row, column = int(match[1]), int(match[2])
        if row < ROWS and column < len(columns):
            found.setdefault(row, {})[columns[column]] = value.strip()[:LONGEST]
    return [found.get(row, {}) for row in range(max(found, default=-1) + 1)]


def framed(state: State, rows: list[dict[str, str]]) -> pd.DataFrame:
    """Rows of the grid as a table whose first row is row 1; inputs only where some are given."""
    columns = columns_of(state)
    inputs = [str(c) for c in state.table.columns]
    given = any(row.get(column) for row in rows for column in inputs)
    names = [c for c in columns if given or c not in inputs]
    frame = pd.DataFrame([{c: row.get(c, "") for c in names} for row in rows], columns=names)
    frame.attrs["first_row"] = 1
    return frame


def found_places(message: str) -> set[tuple[int, str]]:
    """Rows and columns that a refusal names; '' where it names a row only."""
    found, column = set[tuple[int, str]](), ""
    for match in _PLACE.finditer(message):
        column = match[2] or column
        found.add((int(match[1]), column))
    return found


@router.post("/c/{name}/upload")
def record_sheet(request: Request, here: Here, form: Form) -> Response:
    """Take in a sheet; where something is wrong, show its rows."""
    excerpt: dict[str, Any] | None = None
    try:
        with upload(*sent(form)) as file:
            try:
                intake = known_by(request, here, form).record(file, **switches(form))
            except UserError as error:
                excerpt = _excerpt(file, here.state, found_places(str(error)))
                raise
    except UserError as error:
        rows = [_blank(here.state, plan.suggestion.run) for plan in here.state.pending()[:SHOWN]]
        return _page(request, here, rows, extra=EXTRA, status=422, problem=str(error),
                     excerpt=excerpt)  # fmt: skip
    return _recorded(request, here, intake)


def _excerpt(file: Any, state: State, places: set[tuple[int, str]]) -> dict[str, Any] | None:
    """The rows of a sheet that a refusal names."""
    try:
        frame = read_table(file, wanted=state.created.objective)
    except UserError:
        return None
    first = int(frame.attrs["first_row"])
    wanted = sorted({row for row, _ in places if 0 <= row - first < len(frame)})[:EXCERPT]
    return {
        "columns": list(frame.columns),
        "rows": [(row, [cell_text(v) for v in frame.iloc[row - first]]) for row in wanted],
        "places": places,
    }
