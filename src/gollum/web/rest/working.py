"""Long work as jobs, which can be waited for, watched and stopped."""

from __future__ import annotations

import asyncio
import time
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request
from pydantic import BaseModel
from starlette.concurrency import run_in_threadpool
from starlette.responses import JSONResponse, Response

from gollum.campaign.sheets import suggestion_sheet
from gollum.web.folder import Folder, UnknownError
from gollum.web.jobs import Job, Jobs
from gollum.web.rest.answers import Format, changed, once, plain, rows_of, table
from gollum.web.rest.bodies import MOST, Again, Asking, Body, Repeated, Version

Wait = Annotated[float, Query(ge=0, le=60)]  # seconds

router = APIRouter(tags=["jobs"])


@router.post("/campaigns/{name}/suggest")
async def suggest(
    request: Request, name: str, body: Asking, wait: Wait = 0.0,
    version: Version = None, key: Repeated = None,
) -> Response:  # fmt: skip
    """Choose the next experiments: a job, or its result where that takes less than `wait` s."""
    options = body.model_dump()
    return await _job(request, name, "suggest", options, body, wait, version, key)


@router.post("/campaigns/{name}/insights")
async def insights(request: Request, name: str, wait: Wait = 0.0) -> Response:
    """What the model has learned: a job."""
    return await _job(request, name, "insights", {}, Body(), wait)


@router.post("/campaigns/{name}/predictions")
async def predictions(request: Request, name: str, wait: Wait = 0.0) -> Response:
    """What is predicted of every candidate: a job, whose table is at jobs/{job}/table."""
    return await _job(request, name, "predictions", {}, Body(), wait)


@router.post("/campaigns/{name}/report")
async def report(request: Request, name: str, wait: Wait = 0.0) -> Response:
    """The report: a job, whose page is at jobs/{job}/report.html."""
    return await _job(request, name, "report", {}, Body(), wait)


@router.post("/campaigns/{name}/replay")
async def replay(request: Request, name: str, body: Again, wait: Wait = 0.0) -> Response:
    """Past suggestions computed again: a job."""
    return await _job(request, name, "replay", body.model_dump(), body, wait)


async def _job(
    request: Request, name: str, verb: str, options: dict[str, Any], body: BaseModel, wait: float,
    version: str | None = None, key: str | None = None,
) -> Response:  # fmt: skip
    folder: Folder = request.app.state.folder
    jobs: Jobs = request.app.state.jobs

    def begin() -> Job:
        here = folder.snapshot(name)
        changed(request, here, version)
        expected = here.version if version is not None and options.get("fresh") else None
        return jobs.start(name, folder.file(name), verb, options, request.state.who, expected)

    job = await run_in_threadpool(once, request, key, body, begin)
    end = time.monotonic() + wait
    while job.running and time.monotonic() < end:
        await asyncio.sleep(0.05)
    answer = await run_in_threadpool(_told, request, job)
    return JSONResponse(answer, 202 if job.running else 200)


def _told(request: Request, job: Job) -> dict[str, Any]:
    """A job, with what came of it."""
    result: Any = None
    if job.status == "done" and job.verb == "suggest":
        state = request.app.state.folder.snapshot(job.campaign).state
        plans = [state.plans[run] for run in job.result if run in state.plans]
        result = rows_of(suggestion_sheet(state, plans))
    elif job.status == "done" and job.verb == "insights":
        result = job.result["told"]
    elif job.status == "done" and job.verb == "replay":
        result = job.result
    return {
        "id": job.id, "campaign": job.campaign, "verb": job.verb, "status": job.status,
        "stage": job.stage, "done": job.done, "total": job.total, "notes": job.notes,
        "error": job.error, "result": plain(result),
    }  # fmt: skip


def _found(request: Request, job: str) -> Job:
    jobs: Jobs = request.app.state.jobs
    found = jobs.find(job)
    if found is None:
        raise UnknownError("there is no such job; it may be of before a restart. Ask again.")
    return found


Known = Annotated[Job, Depends(_found)]


@router.get("/jobs/{job}")
def job(request: Request, job: Known) -> dict[str, Any]:
    """Where a job stands, and what came of it."""
    return _told(request, job)


@router.delete("/jobs/{job}")
def stop(request: Request, job: Known) -> dict[str, Any]:
    """End a job; what it has not written by now it never will."""
    request.app.state.jobs.stop(job)
    return _told(request, job)


@router.get("/jobs/{job}/table")
def predicted(
    job: Known,
    format: Format = "json",
    offset: Annotated[int, Query(ge=0)] = 0,
    limit: Annotated[int, Query(ge=1, le=MOST)] = 1000,
) -> Response:
    """The predictions of a job, a row per candidate."""
    found = job.result["table"] if job.verb == "predictions" and job.result else None
    if found is None:
        raise UnknownError("this job has no table, or not yet.")
    flat = found.set_axis([f"{key} {name}" for name, key in found.columns], axis=1).reset_index()
    return table(flat, str(job.result["learned"]), format, offset, limit)


@router.get("/jobs/{job}/report.html")
def written(job: Known) -> Response:
    """The report of a job."""
    if job.verb != "report" or job.status != "done":
        raise UnknownError("this job has no report, or not yet.")
    headers = {"content-disposition": 'attachment; filename="report.html"'}
    return Response(job.result, media_type="text/html; charset=utf-8", headers=headers)
