"""All that happened, correcting it, and whether past suggestions come out again."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request
from starlette.exceptions import HTTPException
from starlette.responses import Response

from gollum.campaign.sheets import export_frame, export_json, headed, sheet_names
from gollum.campaign.state import Measurement
from gollum.campaign.surf import ENDINGS, surf, surf_text
from gollum.data.pool import cell_text
from gollum.errors import UserError
from gollum.report.campaign.page import describe, with_earlier
from gollum.web.folder import Snapshot
from gollum.web.jobs import Jobs
from gollum.web.pages.common import Form, Here, Shown, home, known_by, start, text, to
from gollum.web.pages.next_up import MEDIA, kept_as, table

SHOWN = 100  # results and events of one page

router = APIRouter(include_in_schema=False)


@router.get("/c/{name}/history")
def history(request: Request, here: Here, page: int = 1) -> Response:
    """Events and results, the latest first."""
    shown: Shown = request.app.state.shown
    jobs: Jobs = request.app.state.jobs
    first = (min(max(page, 1), 100_000) - 1) * SHOWN
    measured = list(here.state.measurements.items())[::-1]
    events = here.log[::-1]
    replay = jobs.latest(here.name, "replay")
    return shown.page(
        request, "history.html", here, tab="history",
        results=[_row(here, run, m) for run, m in measured[first : first + SHOWN]],
        signed=any(entry.event.by for entry in here.log),
        events=[(e, describe(e.event)) for e in events[first : first + SHOWN]],
        outcomes=[here.state.created.objective, *here.state.created.also],
        page=page, further=len(measured) > first + SHOWN or len(events) > first + SHOWN,
        replay=replay.result if replay else None, batches=len(here.state.batches),
    )  # fmt: skip


def _row(here: Snapshot, run: str, measurement: Measurement) -> dict[str, Any]:
    created = here.state.created
    return {
        "run": run,
        "result": measurement.result,
        "values": [
            with_earlier(measurement, name, created.objective, _write)
            for name in (created.objective, *created.also)
        ],
        "time": measurement.time[:16].replace("T", " "),
        "by": here.log[measurement.sequence - 1].event.by,
        "corrected": bool(measurement.earlier),
    }


def _write(value: float | None) -> str:
    return "" if value is None else f"{value:.6g}"


@router.post("/c/{name}/undo")
def undo(request: Request, here: Here, form: Form) -> Response:
    """Take the last word on a run back: what was said before counts again, or it was not run."""
    run, path = text(form, "run"), f"{home(here.name)}/history"
    measurement = here.state.measurements.get(run)
    if measurement is None:
        raise HTTPException(404)
    names = sheet_names(here.state)
    row: dict[str, Any] = {names.run: run, here.state.created.objective: ""}
    if measurement.earlier:
        before = measurement.earlier[-1]
        row |= {c: cell_text(value) for c, value in before.values.items()}
        row |= {names.status: "" if before.status == "measured" else before.status}
        row |= {names.note: before.note}
    else:
        row |= {names.status: "not run", names.note: "taken back"}
    try:
        known_by(request, here, form).record(row, correct=True)
    except UserError as error:
        return to(request, path, bad=str(error))
    return to(request, path, good=f"{run} was taken back; both words stay in the file.")


@router.post("/c/{name}/replay")
def replay(request: Request, here: Here) -> Response:
    """Compute past suggestions again."""
    start(request, here, "replay")
    return to(request, f"{home(here.name)}/history")


@router.get("/c/{name}/export/{file}")
def export(request: Request, here: Here, file: str) -> Response:
    """A table to keep, reactions in SURF, or everything as JSON."""
    what, dot, ending = file.partition(".")
    ending = dot + ending
    if what in ("surf", "surf-next") and ending in ENDINGS:
        back = home(here.name) + ("/progress" if what == "surf" else "")
        try:
            reactions, _ = surf(here.state, here.log, what)  # type: ignore[arg-type]
        except UserError as error:
            return to(request, back, bad=str(error))
        return kept_as(here, surf_text(reactions, ending), what, ending, "text/plain")
    if file == "all.json":
        content = export_json(here.state, here.log)
        headers = {"content-disposition": 'attachment; filename="campaign.json"'}
        return Response(content, media_type="application/json", headers=headers)
    if what not in ("results", "suggestions", "history", "candidates") or ending not in MEDIA:
        raise HTTPException(404)
    frame = export_frame(here.state, what)  # type: ignore[arg-type]
    return table(here, headed(here.state, frame), what, ending)
