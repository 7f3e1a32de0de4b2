"""How far a campaign is, whether predictions were right, and what was learned."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request
from markupsafe import Markup
from starlette.exceptions import HTTPException
from starlette.responses import Response

from gollum.report.campaign.page import content, filters
from gollum.web.folder import Snapshot
from gollum.web.jobs import Jobs
from gollum.web.pages.common import Here, Shown, home, start, to

PARTS = (
    "front_sought",
    "several",
    "best",
    "best_conditions",
    "limits",
    "counts",
    "views",
    "columns",
)  # of the report, that the page shows

router = APIRouter(include_in_schema=False)


@router.get("/c/{name}/progress")
def progress(request: Request, here: Here) -> Response:
    """Pictures and figures that need no model, and those of the last time that one was asked."""
    shown: Shown = request.app.state.shown
    jobs: Jobs = request.app.state.jobs
    return shown.page(
        request, "progress.html", here, tab="progress",
        about=here.made("progress", lambda: content(here.state, here.log, None, PARTS)),
        value=here.made("value", lambda: filters(here.state)["value"]),
        written=jobs.latest(here.name, "report") is not None,
        **latest(request, here, "insights"),
    )  # fmt: skip


def latest(request: Request, here: Snapshot, verb: str) -> dict[str, Any]:
    """What the last job of a kind found, and whether results have come since."""
    jobs: Jobs = request.app.state.jobs
    job = jobs.latest(here.name, verb)
    result: dict[str, Any] = job.result if job and job.result else {}
    stale = bool(result) and result["learned"] != here.state.learned
    piece = Markup(result["html"]) if "html" in result else None  # noqa: S704 (escaped)
    return {"found": result or None, "stale": stale, "piece": piece}


@router.post("/c/{name}/learn")
def learn(request: Request, here: Here) -> Response:
    """Ask the model what it has learned."""
    start(request, here, "insights")
    return to(request, f"{home(here.name)}/progress")


@router.post("/c/{name}/report")
def write(request: Request, here: Here) -> Response:
    """Write the report."""
    start(request, here, "report")
    return to(request, f"{home(here.name)}/progress")


@router.get("/c/{name}/report.html")
def report(request: Request, here: Here) -> Response:
    """The last report, as a file to keep: it has a policy of its own, and is not shown here."""
    jobs: Jobs = request.app.state.jobs
    job = jobs.latest(here.name, "report")
    if job is None:
        raise HTTPException(404)
    headers = {"content-disposition": 'attachment; filename="report.html"'}
    return Response(job.result, media_type="text/html; charset=utf-8", headers=headers)
