"""What to do next: ranked experiments, asking for more, sheets, plates, what is out of stock."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from fastapi import APIRouter, Request
from starlette.exceptions import HTTPException
from starlette.responses import Response

from gollum.campaign.events import Suggestion, Together
from gollum.campaign.plates import ORDERS
from gollum.campaign.requests import asked_for
from gollum.campaign.sheets import head, headed, in_unit, suggestion_sheet, why
from gollum.campaign.state import Planned, State
from gollum.data.pool import cell_text
from gollum.data.writers import sheet_content
from gollum.errors import UserError
from gollum.report.campaign.status import BATCH, telling, written_like
from gollum.web.folder import Snapshot
from gollum.web.pages.common import Form, Here, Shown, home, known_by, number, start, text, to
from gollum.web.pages.overview import in_words
from gollum.web.plate import SIZES, Plate, of_kept

SHOWN = 200  # pending experiments on one page
LEVELS = 300  # values of a column that are proposed while typing
MEDIA = {
    ".csv": "text/csv; charset=utf-8",
    ".xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
}

router = APIRouter(include_in_schema=False)


@router.get("/c/{name}")
def next_up(request: Request, here: Here) -> Response:
    """The experiments to do."""
    state, shown = here.state, request.app.state.shown
    last = state.batches[-1] if state.batches else None
    columns, pairs = list(map(str, state.table.columns)), _pairs(state)
    answer: Response = shown.page(
        request, "next.html", here, tab="",
        words=here.made("row", lambda: in_words(here)),
        experiments=here.made("experiments", lambda: experiments(state)),
        more=max(0, len(state.pending()) - SHOWN),
        columns=columns,
        asked=last.asked if last else BATCH,
        limits=last.request if last else None,
        priced=state.costs is not None and bool(np.nanmin(state.costs) > 0),
        levels=here.made("levels", lambda: levels(state)),
        avoided=[
            (column, value, "" if value in pairs else f"{column or 'candidate'} ", reason)
            for (column, value), reason in state.avoided.items()
        ],
        structures=state.structures,
    )  # fmt: skip
    return answer


def experiments(state: State) -> list[dict[str, Any]]:
    """The pending experiments, by rank within the latest batch first."""
    plans = sorted(state.pending(), key=lambda plan: -plan.batch)[:SHOWN]
    suggestions = [plan.suggestion for plan in plans]
    ends = [e for s in suggestions for e in (s.low, s.mean, s.high) if e is not None]
    write = written_like([*ends, *state.measured()["mean"]])
    spread = max(ends) - min(ends) if ends else 0.0
    digits = max(0, 2 - int(np.floor(np.log10(spread)))) if spread > 0 else 2
    columns, units, objective = telling(state), state.created.units, state.created.objective

    def place(value: float | None) -> float | None:
        """Where a number lies on a bar of 100."""
        return None if value is None or not spread else round(100 * (value - min(ends)) / spread, 1)

    return [
        {
            "rank": rank,
            "run": s.run,
            "id": s.id,
            "cells": [
                (c, in_unit(cell_text(state.table.at[s.id, c]), units.get(c))) for c in columns
            ],
            "molecules": [
                (c, cell_text(state.table.at[s.id, c])) for c in state.structures
            ],
            "mean": write(s.mean), "low": write(s.low), "high": write(s.high),
            "bar": [place(s.low), place(s.mean), place(s.high)],
            "predicted": s.mean is not None,
            "chance": None if s.chance is None else f"{100 * s.chance:.0f} %",
            "limits": None if s.limits is None else f"{100 * s.limits:.0f} %",
            "others": [(n, *(f"{v:.4g}" for v in (p.mean, p.low, p.high)))
                       for n, p in s.others.items()],
            "why": why(_spoken(state, s), objective, digits, units),
        }
        for rank, s in enumerate(suggestions, 1)
    ]  # fmt: skip


def _spoken(state: State, suggestion: Suggestion) -> Suggestion:
    """A suggestion without the effects of SMILES, which are drawn, beside those of names."""
    named = tuple(e for e in suggestion.effects if e.column not in state.structures)
    return suggestion.model_copy(update={"effects": named}) if named else suggestion


def levels(state: State) -> dict[str, list[str]]:
    """Column → its first values, which fields propose."""
    return {
        str(c): [cell_text(v) for v in state.table[c].drop_duplicates().head(LEVELS)]
        for c in state.table.columns
    }


@router.post("/c/{name}/suggest")
def ask(request: Request, here: Here, form: Form) -> Response:
    """Begin to choose."""
    columns = list(map(str, here.state.table.columns))
    same = [c for i, c in enumerate(columns) if str(i) in map(str, form.getlist("same"))]
    most = {
        column: number(form, f"most-{i}", 0, f"The limit of {column}")
        for i, column in enumerate(columns)
        if text(form, f"most-{i}")
    }
    try:
        weight = float(text(form, "cost-weight", 20).replace(",", ".") or 0)
        limits: dict[str, Any] = {
            "at_most": most, "same": same, "cost_weight": weight,
            "apart": number(form, "apart", 0, "In how many columns experiments differ"),
            "repeats": number(form, "repeats", 0, "The number of repeats"),
        }  # fmt: skip
        asked_for(here.state, **limits)
        n = number(form, "n", BATCH, "The number of experiments")
        fresh = bool(text(form, "fresh"))
        expected = (text(form, "version", 64) or here.version) if fresh else None
        start(request, here, "suggest", expected, n=n, fresh=fresh, **limits)
    except ValueError:
        return to(request, home(here.name), bad="The weight of costs is a number.")
    except UserError as error:
        return to(request, home(here.name), bad=str(error))
    return to(request, home(here.name))


@router.post("/c/{name}/avoid")
def avoid(request: Request, here: Here, form: Form) -> Response:
    """Lock what is out of stock, or free it."""
    column, value = text(form, "column"), text(form, "value")
    lift = bool(text(form, "lift"))
    pair = next((v for v in _pairs(here.state) if lift and not column and str(v) == value), None)
    try:
        known_by(request, here, form).avoid(
            [] if column or pair else [value],
            cells={column: [value]} if column else None,
            together=[{m.column: str(m.value) for m in pair.cells}] if pair else (),
            lift=lift,
            reason=text(form, "reason"),
        )
    except UserError as error:
        return to(request, home(here.name), bad=str(error))
    what = value if pair else f"{column or 'candidate'} {value}"
    said = f"{what} may be suggested again." if lift else f"{what} is not suggested any more."
    return to(request, home(here.name), good=said)


def _pairs(state: State) -> list[Together]:
    """What is avoided only where it meets."""
    return [value for _, value in state.avoided if isinstance(value, Together)]


@router.post("/c/{name}/add")
def add(request: Request, here: Here, form: Form) -> Response:
    """Add an option, with all that the other columns hold."""
    columns = map(str, here.state.table.columns)
    option = {c: value for i, c in enumerate(columns) if (value := text(form, f"add-{i}"))}
    if not option:
        return to(request, home(here.name), bad="Give at least one new value.")
    try:
        known, new = known_by(request, here, form), bool(text(form, "new"))
        count, notes = known.add(options=[option], new=new)
    except UserError as error:
        return to(request, home(here.name), bad=str(error))
    said = " ".join([f"{count:,} candidates were added.", *map(str, notes[:5])])
    return to(request, home(here.name), good=said)


@router.get("/c/{name}/sheet{ending}")
def sheet(here: Here, ending: str, request: Request) -> Response:
    """The experiments to do as a sheet to fill in, with the wells of a plate where there is one."""
    if ending not in MEDIA:
        raise HTTPException(404)
    state, pending = here.state, here.state.pending()
    frame = suggestion_sheet(state, pending)
    if (
        asked := dict(request.query_params)
        if "size" in request.query_params
        else of_kept(state.placed)
    ):
        plate = Plate.of(asked, [plan.suggestion.run for plan in pending])
        wells = {run: well for well, run in plate.wells.items()}
        found = [wells.get(plan.suggestion.run, "") for plan in pending]
        name = "well" if "well" not in frame.columns else "well (gollum)"
        frame.insert(0, name, found)
        order = sorted(range(len(found)), key=lambda i: plate.place(found[i]))
        frame = frame.iloc[order]
    return table(here, headed(state, frame), "next", ending)


def table(here: Snapshot, frame: Any, what: str, ending: str) -> Response:
    """A table to keep."""
    return kept_as(here, sheet_content(frame, Path(f"table{ending}")), what, ending, MEDIA[ending])


def kept_as(here: Snapshot, content: bytes, what: str, ending: str, media: str) -> Response:
    """A file to keep, named after the campaign."""
    name = f"{here.name}-{what}{ending}".encode("ascii", "replace").decode()
    safe = name.replace("?", "_").replace('"', "_")
    headers = {"content-disposition": f'attachment; filename="{safe}"'}
    return Response(content, media_type=media, headers=headers)


@router.get("/c/{name}/plate")
def plate(request: Request, here: Here) -> Response:
    """Which experiment goes into which well: as the address says, or else as it was kept."""
    state, shown = here.state, request.app.state.shown
    plans = {plan.suggestion.run: plan for plan in state.pending()}
    kept = _kept(here)
    made = Plate.of(dict(request.query_params) or of_kept(state.placed), list(plans))
    columns = here.telling
    about = {run: _in_short(state, plan, columns) for run, plan in plans.items()}
    assert isinstance(shown, Shown)  # noqa: S101 (for mypy)
    return shown.page(
        request, "plate.html", here, tab="plate", plate=made, about=about, kept=kept,
        same=kept is not None and Plate.of(of_kept(state.placed), list(plans)) == made,
        orders=ORDERS, sizes=SIZES,
    )  # fmt: skip


def _kept(here: Snapshot) -> dict[str, str] | None:
    """When and by whom a layout was kept last; None where none was."""
    found = next((entry for entry in reversed(here.log) if entry.event.kind == "placed"), None)
    if found is None:
        return None
    return {"time": found.time[:16].replace("T", " "), "by": found.event.by}


@router.post("/c/{name}/plate")
def keep(request: Request, here: Here, form: Form) -> Response:
    """Keep a layout in the campaign's file, for all to see."""
    path = f"{home(here.name)}/plate"
    said = {field: text(form, field, 20_000) for field in ("size", "order", "controls", "wells")}
    made = Plate.of(said, [plan.suggestion.run for plan in here.state.pending()])
    try:
        known_by(request, here, form).place(
            made.wells, size=made.size, controls=made.controls, order=made.order
        )
    except UserError as error:
        return to(request, path, bad=str(error))
    return to(request, path, good="This layout is kept; everybody sees it here.")


def _in_short(state: State, plan: Planned, columns: list[str]) -> list[tuple[str, str]]:
    row, units = state.table.loc[plan.suggestion.id], state.created.units
    return [(head(state, c), in_unit(cell_text(row[c]), units.get(c))) for c in columns]
