"""Where campaigns stand: tables, events, and a stream of them."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Header, Query, Request
from starlette.concurrency import run_in_threadpool
from starlette.responses import JSONResponse, Response, StreamingResponse

from gollum.api import What
from gollum.campaign.sheets import export_frame, suggestion_sheet
from gollum.campaign.surf import What as Surf
from gollum.campaign.surf import surf, surf_text
from gollum.errors import BusyError, UserError
from gollum.report.campaign.page import describe
from gollum.web.folder import Folder
from gollum.web.pages.common import Here, Shown
from gollum.web.rest.answers import Format, about, plain, table
from gollum.web.rest.bodies import MOST

STREAMS = 50  # that are open at once
BEAT, PAUSE = 15.0, 0.5  # seconds between signs of life, and looks at the file

router = APIRouter(tags=["campaigns"])


@router.get("/")
def overview(request: Request) -> Response:
    """This interface as a page."""
    shown: Shown = request.app.state.shown
    return shown.page(request, "api.html", schema=request.app.openapi(), tab="api")


@router.get("/campaigns")
def campaigns(request: Request) -> dict[str, list[str]]:
    """The campaigns that are served."""
    return {"campaigns": request.app.state.folder.names()}


@router.get("/campaigns/{name}")
def campaign(here: Here) -> Response:
    """Where a campaign stands; its version is in the ETag too."""
    return JSONResponse(plain(about(here)), headers={"etag": f'"{here.version}"'})


@router.get("/campaigns/{name}/tables/{what}")
def export(
    here: Here,
    what: What | Literal["pending"],
    format: Format = "json",
    offset: Annotated[int, Query(ge=0)] = 0,
    limit: Annotated[int, Query(ge=1, le=MOST)] = 1000,
) -> Response:
    """A table: pending experiments, results, suggestions, history or candidates."""
    state = here.state
    frame = suggestion_sheet(state, state.pending()) if what == "pending" else here.made(
        f"table {what}", lambda: export_frame(state, what)
    )  # fmt: skip
    return table(frame, here.version, format, offset, limit)


@router.get("/campaigns/{name}/surf")
def reactions(here: Here, what: Surf = "surf") -> Response:
    """Results, or what is pending ('surf-next'), in the Simple User-Friendly Reaction Format."""
    found, _ = surf(here.state, here.log, what)
    kind, headers = "text/tab-separated-values; charset=utf-8", {"etag": f'"{here.version}"'}
    return Response(surf_text(found, ".tsv"), media_type=kind, headers=headers)


def _entry(entry: Any) -> dict[str, Any]:
    return {
        "sequence": entry.sequence, "time": entry.time, "kind": entry.event.kind,
        "version": entry.sha256, "what": describe(entry.event), "by": entry.event.by,
    }  # fmt: skip


@router.get("/campaigns/{name}/events")
def events(
    here: Here,
    since: Annotated[int, Query(ge=0)] = 0,
    limit: Annotated[int, Query(ge=1, le=1000)] = 200,
) -> dict[str, Any]:
    """What happened after an event of this number."""
    return {"events": [_entry(entry) for entry in here.log[since : since + limit]]}


@router.get("/campaigns/{name}/stream", response_class=StreamingResponse)
async def stream(
    request: Request,
    name: str,
    since: Annotated[int | None, Query(ge=0)] = None,
    last: Annotated[str | None, Header(alias="Last-Event-ID", max_length=20)] = None,
    seconds: Annotated[float, Query(ge=0, le=86400)] = 3600.0,
) -> StreamingResponse:
    """What happens, as server-sent events, from now on or after an event of this number."""
    folder: Folder = request.app.state.folder
    here = await run_in_threadpool(folder.snapshot, name)
    known = int(last) if last and last.isdecimal() else since
    state = request.app.state
    if getattr(state, "streams", 0) >= STREAMS:
        raise BusyError("too many streams are open; close one.")
    start = here.state.sequence if known is None else known
    source = _happening(request, folder, name, start, seconds)
    return StreamingResponse(source, media_type="text/event-stream")


async def _happening(
    request: Request, folder: Folder, name: str, known: int, seconds: float
) -> AsyncIterator[str]:
    state = request.app.state
    state.streams = getattr(state, "streams", 0) + 1
    end, beat, version = time.monotonic() + seconds, time.monotonic(), ""
    try:
        while True:
            now = await run_in_threadpool(folder.version, name)
            if now != version:
                version, here = now, await run_in_threadpool(folder.snapshot, name)
                for entry in here.log[known:]:
                    yield (
                        f"id: {entry.sequence}\nevent: {entry.event.kind}\n"
                        f"data: {json.dumps(_entry(entry))}\n\n"
                    )
                known = max(known, here.state.sequence)
            elif time.monotonic() - beat > BEAT:
                beat = time.monotonic()
                yield ": still here\n\n"
            if time.monotonic() >= end or await request.is_disconnected():
                return
            await asyncio.sleep(min(PAUSE, max(0.0, end - time.monotonic())))
    except UserError as error:
        yield f"event: error\ndata: {json.dumps({'error': str(error)})}\n\n"
    finally:
        state.streams -= 1
