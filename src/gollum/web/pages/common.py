"""What all pages share: templates, forms, who is asked, and the words for the next page."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import quote

from fastapi import Depends, Request
from starlette.datastructures import FormData, UploadFile
from starlette.exceptions import HTTPException
from starlette.responses import HTMLResponse, RedirectResponse

from gollum import __version__
from gollum.api import Campaign
from gollum.campaign.sheets import head
from gollum.data.molecules import can_read
from gollum.data.pool import cell_text
from gollum.errors import UserError
from gollum.report import html
from gollum.report.campaign.status import WORDS
from gollum.web.folder import Folder, Snapshot
from gollum.web.guard import SAFE
from gollum.web.jobs import Job, Jobs

if TYPE_CHECKING:
    from jinja2 import Environment

FIELDS = 20_000  # of one form
SAID = 200  # sessions whose words wait for a page
TABS = (
    ("", "Next"), ("results", "Results"), ("progress", "Progress"), ("what-if", "What if"),
    ("plate", "Plate"), ("history", "History"), ("settings", "Settings"),
)  # fmt: skip
VERBS = {
    "suggest": "Choosing experiments", "insights": "Looking at what was learned",
    "predictions": "Predicting all candidates", "report": "Writing the report",
    "replay": "Computing past suggestions again",
}  # fmt: skip


def templates() -> Environment:
    """The templates of the pages; all that is put into them is escaped."""
    made = html.environment("gollum.web")
    made.filters |= {"quoted": lambda text: quote(str(text), safe=""), "cell": cell_text}
    made.globals |= {"package_version": __version__, "tabs": TABS, "representations": WORDS,
                     "draws": can_read()}  # fmt: skip
    return made


class Shown:
    """Makes pages, and keeps what the next one has to say.

    Args:
        environment: with the templates.
    """

    def __init__(self, environment: Environment) -> None:
        self.environment = environment
        self._said: OrderedDict[str, list[tuple[str, str]]] = OrderedDict()

    def say(self, request: Request, kind: str, sentence: str) -> None:
        """Keep a sentence ('good' or 'bad') for the next page of a session."""
        if not request.state.cookie:  # a robot has no next page
            return
        self._said.setdefault(request.state.cookie, []).append((kind, sentence))
        while len(self._said) > SAID:
            self._said.popitem(last=False)

    def page(
        self,
        request: Request,
        template: str,
        /,
        snapshot: Snapshot | None = None,
        status: int = 200,
        **content: Any,
    ) -> HTMLResponse:
        """A page."""
        cookie = request.state.cookie
        about: dict[str, Any] = {
            "csrf": request.state.keys.csrf(cookie) if cookie else "",
            "known": bool(cookie), "who": request.state.who, "said": self._said.pop(cookie, []),
            "campaign": None, "alone": request.app.state.folder.alone is not None, "tab": None,
        }  # fmt: skip
        if snapshot is not None:
            about |= {
                "campaign": snapshot.name, "snapshot": snapshot, "state": snapshot.state,
                "home": home(snapshot.name), "version": snapshot.version,
                "jobs": shown_jobs(request.app.state.jobs, snapshot.name), "verbs": VERBS,
                "stamp": stamp(request.app.state.jobs, snapshot.name, snapshot.version),
                "heads": {c: head(snapshot.state, c) for c in map(str, snapshot.state.table)},
            }  # fmt: skip
        text = self.environment.get_template(template).render(about | content)
        return HTMLResponse(text, status)


async def checked(request: Request) -> AsyncIterator[None]:
    """Refuse what changes something and does not come from a form of this session.

    Raises:
        HTTPException: it doesn't.
    """
    state = request.state
    robot = getattr(state, "robot", False)  # who says the token, and has no cookie to be abused
    try:
        if request.method not in SAFE and not robot and state.cookie:
            given = str((await posted(request)).get("csrf", ""))
            if not state.keys.is_csrf(state.cookie, given):
                raise HTTPException(403, "This form is of another session; load the page again.")
        yield
    finally:
        await request.close()  # files of a form


async def posted(request: Request) -> FormData:
    """The fields of a form; none of what is no form."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind not in ("application/x-www-form-urlencoded", "multipart/form-data"):
        return FormData()
    return await request.form(max_files=1, max_fields=FIELDS)


def here(request: Request, name: str) -> Snapshot:
    """The campaign that a path names, as it is now."""
    folder: Folder = request.app.state.folder
    return folder.snapshot(name)


Form = Annotated[FormData, Depends(posted)]
Here = Annotated[Snapshot, Depends(here)]


def known_by(request: Request, snapshot: Snapshot, form: FormData) -> Campaign:
    """The campaign for who sends a form that was filled in at one version of it.

    It refuses changes at another one, and keeps the name of who made them.
    """
    known = snapshot.campaign.at(text(form, "version", 64) or snapshot.version)
    return known.signed(request.state.who)


def text(form: FormData, field: str, most: int = 500, around: str | None = None) -> str:
    """What stands in a field, without what is `around`, spaces; '' without such a field."""
    value = form.get(field, "")
    return "" if isinstance(value, UploadFile) else value.strip(around)[:most]


def number(form: FormData, field: str, default: int, what: str) -> int:
    """A whole number from a field.

    Raises:
        UserError: it is none.
    """
    given = text(form, field, 20)
    if not given:
        return default
    if not given.isascii() or not given.isdecimal():
        raise UserError(f"{what} is a whole number, not '{given}'.")
    return int(given)


def sent(form: FormData, field: str = "file") -> tuple[str, bytes]:
    """Name and content of a file in a form.

    Raises:
        UserError: there is none.
    """
    file = form.get(field)
    if not isinstance(file, UploadFile) or not file.filename:
        raise UserError("Choose a file first.")
    return file.filename, file.file.read()


def home(name: str) -> str:
    """Where the pages of a campaign begin."""
    return f"/c/{quote(name, safe='')}"


def to(request: Request, path: str, good: str = "", bad: str = "") -> RedirectResponse:
    """Go on with a page, which says what came of it."""
    for kind, sentence in (("good", good), ("bad", bad)):
        if sentence:
            request.app.state.shown.say(request, kind, sentence)
    return RedirectResponse(path, 303)


def start(
    request: Request, snapshot: Snapshot, verb: str, expected: str | None = None, **options: Any
) -> Job:
    """Begin long work on a campaign, upon one version of it where that matters."""
    jobs: Jobs = request.app.state.jobs
    path = request.app.state.folder.file(snapshot.name)
    return jobs.start(snapshot.name, path, verb, options, request.state.who, expected)


def shown_jobs(jobs: Jobs, name: str) -> list[Job]:
    """Work that goes on, and the last piece if it failed or was stopped."""
    every = jobs.of(name)
    failed = [job for job in every[-1:] if job.status in ("failed", "stopped")]
    return [*failed, *(job for job in every if job.running)]


def stamp(jobs: Jobs, name: str, version: str) -> str:
    """What changes whenever a page of the campaign would."""
    ended = [f"{job.id}.{job.status}" for job in jobs.of(name)[-8:] if not job.running]
    return ":".join([version[:16], *ended[-3:]])
