"""The application: pages, the interface for robots, and what errors look like on both."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from http import HTTPStatus
from importlib.resources import files
from typing import Any

from fastapi import Depends, FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response
from starlette.staticfiles import StaticFiles

from gollum import __version__
from gollum.campaign.store import Moved
from gollum.errors import BusyError, GollumError, UserError
from gollum.web import rest
from gollum.web.folder import Folder, UnknownError
from gollum.web.guard import API, Guard, House
from gollum.web.jobs import Jobs
from gollum.web.keys import Keys
from gollum.web.pages import (
    begin,
    entrance,
    history,
    next_up,
    overview,
    progress,
    results,
    settings,
    what_if,
)
from gollum.web.pages.common import Shown, checked, templates
from gollum.web.rest.answers import Answers

DEFECT = "This failed by a defect of the program; where it was started stands what happened."


def make_app(folder: Folder, keys: Keys, house: House | None = None, warm: bool = False) -> Guard:
    """The application for the campaigns of a folder.

    Args:
        folder: what is served.
        keys: what opens it.
        house: how it is reached; on this machine only by default.
        warm: whether to get ready for long work before anybody asks.
    """
    jobs = Jobs()

    @asynccontextmanager
    async def life(_: FastAPI) -> AsyncIterator[None]:
        if warm:
            jobs.warm()
        yield
        jobs.close()

    app = FastAPI(
        title="GOLLuM", version=__version__, lifespan=life, docs_url=None, redoc_url=None,
        openapi_url=f"{rest.ROOT}/openapi.json", dependencies=[Depends(checked)],
        description="The verbs of a campaign, for robots and notebooks.",
    )  # fmt: skip
    app.state.folder, app.state.jobs = folder, jobs
    app.state.shown, app.state.answers = Shown(templates()), Answers()
    pages = (entrance, overview, begin, next_up, results, progress, what_if, history, settings)
    for module in pages:
        app.include_router(module.router)
    app.include_router(rest.router)
    app.mount("/static", StaticFiles(directory=str(files("gollum.web") / "static")))
    for kind, handler in _HANDLERS.items():
        app.add_exception_handler(kind, handler)
    return Guard(app, keys, house or House())


def told(request: Request, status: int, sentence: str) -> Response:
    """An error as the user of a path reads it."""
    if request.url.path.startswith(API):
        return JSONResponse({"error": sentence}, status)
    shown: Shown = request.app.state.shown
    return shown.page(request, "error.html", status=status, sentence=sentence)


def _known(request: Request, error: Exception) -> Response:
    """An error that a user can mend, or that a fit failed."""
    return told(request, status_of(error), str(error))


def status_of(error: Exception) -> int:
    """The number by which HTTP calls an error."""
    for kind, status in _STATUS.items():
        if isinstance(error, kind):
            return status
    return 500


def _refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101 (it is registered for these)
    usual = {404: "There is nothing here.", 405: "That can't be done here."}
    sentence = str(error.detail)
    if sentence == HTTPStatus(error.status_code).phrase:
        sentence = usual.get(error.status_code, sentence)
    return told(request, error.status_code, sentence)


def _malformed(request: Request, error: Exception) -> Response:
    """A request whose parts are not of the kind that they should be."""
    assert isinstance(error, RequestValidationError)  # noqa: S101 (likewise)
    first: dict[str, Any] = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"] if part != "body")[:80]
    return told(request, 422, f"{where or 'the body'}: {str(first['msg'])[:200]}.")


def _defect(request: Request, _: Exception) -> Response:
    """A defect: uvicorn tells the terminal what happened, and no word of it is in the answer."""
    return told(request, 500, DEFECT)


_STATUS: dict[type[Exception], int] = {
    UnknownError: 404, Moved: 409, BusyError: 503, UserError: 422, GollumError: 500,
}  # fmt: skip
_HANDLERS: dict[int | type[Exception], Any] = {
    GollumError: _known, HTTPException: _refused, RequestValidationError: _malformed,
    Exception: _defect,
}  # fmt: skip
