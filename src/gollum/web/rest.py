"""The interface for robots and notebooks: the verbs of a campaign as JSON and CSV."""

from __future__ import annotations

import asyncio
import hashlib
import json
import math
import threading
import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import pandas as pd
from fastapi import APIRouter, Depends, Header, Query, Request
from pydantic import BaseModel, ConfigDict, Field
from starlette.concurrency import run_in_threadpool
from starlette.responses import JSONResponse, Response, StreamingResponse

from gollum.api import Campaign, What
from gollum.campaign.sheets import suggestion_sheet
from gollum.campaign.store import Moved
from gollum.data.outcomes import wanted_lines
from gollum.data.readers import read_table
from gollum.data.writers import sheet_content
from gollum.errors import BusyError, UserError
from gollum.language.catalog import CATALOG
from gollum.report.campaign.page import describe
from gollum.report.campaign.status import intake_words
from gollum.web.folder import Folder, Snapshot, UnknownError, refuse_table, upload
from gollum.web.jobs import Job, Jobs
from gollum.web.pages.common import Here, Shown
from gollum.web.pages.overview import in_words

ROOT = "/api/v1"
MOST = 10_000  # rows of one answer
ANSWERS = 1000  # that are kept for requests that come again
STREAMS = 50  # that are open at once
BEAT, PAUSE = 15.0, 0.5  # seconds between signs of life, and looks at the file
KEYS = ("surrogate", "preset", "acquisition", "kernel", "representations", "model.name")

router = APIRouter(prefix=ROOT, tags=["campaigns"])

Cell = str | int | float | None
Version = Annotated[str | None, Header(alias="If-Match", max_length=80)]
Repeated = Annotated[str | None, Header(alias="Idempotency-Key", max_length=200)]


class Body(BaseModel):
    """A body of JSON; an unknown field is refused."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)


class Table(Body):
    """Rows, or the same as the text of a CSV file."""

    rows: list[dict[str, Cell]] | None = Field(None, max_length=MOST)
    csv: str | None = None

    def frame(self) -> pd.DataFrame | None:
        """The table; None where none was sent.

        Raises:
            UserError: there are two, or it can't be read.
        """
        if self.rows is not None and self.csv is not None:
            raise UserError("give either rows or csv.")
        if self.csv is not None:
            with upload("table.csv", self.csv.encode()) as file:
                return read_table(file)
        return None if self.rows is None else pd.DataFrame(self.rows)


Detail = str | float | dict[str, str | float | None] | None


class Options(Body):
    """What may be said of a campaign that begins, as `Campaign.create` takes it."""

    also: list[str] | None = None
    inputs: list[str] | None = None
    category: list[str] | None = None
    number: list[str] | None = None
    remark: list[str] | None = None
    structures: list[str] | None = None
    ordinal: dict[str, list[str]] | None = None
    id_column: str | None = None
    cost: str | None = None
    template: str | None = None
    reaction: str | None = None
    failed_as: float | dict[str, float] | None = None
    failed_word: list[str] | None = None
    bounds: Detail = None
    transform: Detail = None
    reference: Detail = None
    weight: Detail = None
    surrogate: str | None = None
    preset: str | None = None
    acquisition: str | None = None
    kernel: str | None = None
    seed: int | None = None


class Beginning(Table):
    """A campaign to begin."""

    name: str
    objective: str | list[str] | None = None
    goal: Literal["maximize", "minimize", "target"] | None = None
    target: float | None = None
    factors: str | None = Field(None, description="Lists of options, as YAML, instead of rows.")
    options: Options = Options()


class Asking(Body):
    """What the next experiments are to be."""

    n: int = 8
    fresh: bool = False
    at_most: dict[str, int] = {}
    same: list[str] = []
    cost_weight: float = 0.0
    apart: int = 0
    repeats: int = 0


class Results(Table):
    """Results, all or part of a sheet, in any order, also twice."""

    correct: bool = False
    new: bool = False
    as_done: bool = False
    check: bool = Field(False, description="Only say what would be understood.")


class More(Table):
    """Candidates, options and factors to add."""

    options: list[dict[str, str]] = []
    columns: dict[str, str] = {}
    new: bool = False


class Avoiding(Body):
    """What to lock, or to free again."""

    ids: list[str] = []
    cells: dict[str, list[Cell]] = {}
    lift: bool = False
    reason: str = ""


class Wanting(Body):
    """What is wanted from now on: 'ee:at-least=90' and the like, or a goal of the first outcome."""

    objectives: list[str] = []
    goal: Literal["maximize", "minimize", "target"] | None = None
    target: float | None = None
    details: dict[Literal["bounds", "transform", "failed_as", "reference", "weight"], Detail] = {}


class Renaming(Body):
    """Other names for options of a column."""

    column: str
    names: dict[str, str]


class Retelling(Body):
    """Another template."""

    template: str


class Configuring(Body):
    """Keys of the policy; null for what the preset says."""

    keys: dict[str, str | list[str] | None] = Field(description=f"Any of {', '.join(KEYS)}.")


class Ordering(Body):
    """The order of names, by column."""

    orders: dict[str, list[str]]


class Failing(Body):
    """Words that say that an experiment failed."""

    words: list[str]
    forget: bool = False


class Learning(Table):
    """What to learn from: another campaign that is served here, or a table."""

    campaign: str | None = None
    name: str | None = None
    objective: str | None = None
    direction: Literal["maximize", "minimize"] | None = None
    match: dict[str, str] = {}


class Forgetting(Body):
    """A source that is not learned from any more."""

    name: str


class Again(Body):
    """Which batch to compute again; all by default."""

    batch: int | None = None


class Answers:
    """What was answered to requests that name themselves, for when they come again."""

    def __init__(self) -> None:
        self._known: OrderedDict[str, tuple[str, Any]] = OrderedDict()
        self._lock = threading.RLock()
        self._open: dict[str, threading.Lock] = {}

    def once(self, key: str | None, body: BaseModel, make: Callable[[], Any]) -> Any:
        """Do something once for each key; what fails may be tried again.

        Raises:
            UserError: the key was used for something else.
        """
        if key is None:
            return make()
        with self._lock:
            turn = self._open.setdefault(key, threading.Lock())
        with turn:
            said = hashlib.sha256(body.model_dump_json().encode()).hexdigest()
            if key in self._known:
                before, answer = self._known[key]
                if before != said:
                    raise UserError("that Idempotency-Key was used for another request.")
                return answer
            answer = make()
            with self._lock:
                self._known[key] = said, answer
                while len(self._known) > ANSWERS:
                    self._known.popitem(last=False)
                self._open = {k: t for k, t in self._open.items() if k in self._known or t.locked()}
            return answer


def once(request: Request, key: str | None, body: BaseModel, make: Callable[[], Any]) -> Any:
    """As `Answers.once`; one key may be used for several paths."""
    answers: Answers = request.app.state.answers
    return answers.once(key and f"{request.url.path} {key}", body, make)


def changed(here: Snapshot, version: str | None) -> Campaign:
    """The campaign to change: at the version that the caller knows, or as it is.

    Raises:
        Moved: it is at another one already.
    """
    if version is None:
        return Campaign(here.campaign.path)
    known = version.strip().removeprefix("W/").strip('"')
    if known != here.version:
        raise Moved("the campaign is at another version; read it again.")
    return here.campaign.at(known)


def rows_of(frame: pd.DataFrame, offset: int = 0, limit: int = MOST) -> list[dict[str, Any]]:
    """Rows as JSON has them; null where blank."""
    part = frame.iloc[offset : offset + limit]
    return [{str(c): plain(v) for c, v in row.items()} for row in part.to_dict("records")]


def plain(value: Any) -> Any:
    """A value as JSON has it."""
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, Mapping):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [plain(v) for v in value]
    if value is None or value is pd.NA or (isinstance(value, float) and not math.isfinite(value)):
        return None
    return value


def about(here: Snapshot) -> dict[str, Any]:
    """What a campaign is and where it stands."""
    state = here.state
    return {
        "name": here.name, "version": here.version, "sequence": state.sequence,
        **here.made("row", lambda: in_words(here)),
        "outcomes": wanted_lines(state.outcomes),
        "inputs": list(map(str, state.table.columns)),
        "candidates": len(state.table), "open": int(state.open().sum()),
        "pending": [plan.suggestion.run for plan in state.pending()],
        "template": state.template, "policy": plain(state.keys),
        "avoided": state.avoidances(),
    }  # fmt: skip


@router.get("/")
def overview(request: Request) -> Response:
    """This interface as a page."""
    shown: Shown = request.app.state.shown
    return shown.page(request, "api.html", schema=request.app.openapi(), tab="api")


@router.get("/campaigns")
def campaigns(request: Request) -> dict[str, list[str]]:
    """The campaigns that are served."""
    return {"campaigns": request.app.state.folder.names()}


@router.post("/campaigns", status_code=201)
def create(request: Request, body: Beginning, key: Repeated = None) -> dict[str, Any]:
    """Begin a campaign."""
    folder: Folder = request.app.state.folder

    def make() -> dict[str, Any]:
        file, frame = folder.free(body.name), body.frame()
        said: dict[str, Any] = body.model_dump(include={"goal", "target"})
        said["objective"] = body.objective or ()
        said |= body.options.model_dump(exclude_none=True)
        if body.factors is None:
            _, start = Campaign.create(file, table=frame, **said)
        else:
            refuse_table(body.factors)
            with upload("factors.yaml", body.factors.encode()) as lists:
                _, start = Campaign.create(file, table=frame, factors=lists, **said)
        notes = [str(note) for note in start.notes]
        columns = [column._asdict() for column in start.columns]
        return {**about(folder.snapshot(file.stem)), "notes": notes, "columns": columns}

    made: dict[str, Any] = once(request, key, body, make)
    return made


@router.get("/campaigns/{name}")
def campaign(here: Here) -> Response:
    """Where a campaign stands; its version is in the ETag too."""
    return JSONResponse(plain(about(here)), headers={"etag": f'"{here.version}"'})


@router.get("/campaigns/{name}/tables/{what}")
def export(
    here: Here,
    what: What | Literal["pending"],
    format: Literal["json", "csv"] = "json",
    offset: Annotated[int, Query(ge=0)] = 0,
    limit: Annotated[int, Query(ge=1, le=MOST)] = 1000,
) -> Response:
    """A table: pending experiments, results, suggestions, history or candidates."""
    state = here.state
    frame = suggestion_sheet(state, state.pending()) if what == "pending" else here.made(
        f"table {what}", lambda: here.campaign.export(what)
    )  # fmt: skip
    return _table(frame, here.version, format, offset, limit)


def _table(frame: pd.DataFrame, version: str, kind: str, offset: int, limit: int) -> Response:
    headers = {"etag": f'"{version}"', "x-total-rows": str(len(frame))}
    if kind == "csv":
        content = sheet_content(frame.iloc[offset : offset + limit], Path("table.csv"))
        return Response(content, media_type="text/csv; charset=utf-8", headers=headers)
    rows = rows_of(frame, offset, limit)
    return JSONResponse({"rows": rows, "total": len(frame), "offset": offset}, headers=headers)


def _entry(entry: Any) -> dict[str, Any]:
    return {
        "sequence": entry.sequence, "time": entry.time, "kind": entry.event.kind,
        "version": entry.sha256, "what": describe(entry.event),
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
    except (UserError, UnknownError) as error:
        yield f"event: error\ndata: {json.dumps({'error': str(error)})}\n\n"
    finally:
        state.streams -= 1


@router.post("/campaigns/{name}/suggest")
async def suggest(
    request: Request, name: str, body: Asking, wait: Annotated[float, Query(ge=0, le=60)] = 0.0,
    version: Version = None, key: Repeated = None,
) -> Response:  # fmt: skip
    """Choose the next experiments: a job, or its result where that takes less than `wait` s."""
    options = body.model_dump()
    return await _job(request, name, "suggest", options, body, wait, version, key)


@router.post("/campaigns/{name}/insights")
async def insights(
    request: Request, name: str, wait: Annotated[float, Query(ge=0, le=60)] = 0.0
) -> Response:
    """What the model has learned: a job."""
    return await _job(request, name, "insights", {}, Body(), wait)


@router.post("/campaigns/{name}/predictions")
async def predictions(
    request: Request, name: str, wait: Annotated[float, Query(ge=0, le=60)] = 0.0
) -> Response:
    """What is predicted of every candidate: a job, whose table is at jobs/{job}/table."""
    return await _job(request, name, "predictions", {}, Body(), wait)


@router.post("/campaigns/{name}/report")
async def report(
    request: Request, name: str, wait: Annotated[float, Query(ge=0, le=60)] = 0.0
) -> Response:
    """The report: a job, whose page is at jobs/{job}/report.html."""
    return await _job(request, name, "report", {}, Body(), wait)


@router.post("/campaigns/{name}/replay")
async def replay(
    request: Request, name: str, body: Again, wait: Annotated[float, Query(ge=0, le=60)] = 0.0
) -> Response:
    """Past suggestions computed again: a job."""
    return await _job(request, name, "replay", body.model_dump(), body, wait)


async def _job(
    request: Request, name: str, verb: str, options: dict[str, Any], body: BaseModel, wait: float,
    version: str | None = None, key: str | None = None,
) -> Response:  # fmt: skip
    folder: Folder = request.app.state.folder
    jobs: Jobs = request.app.state.jobs

    def begin() -> Job:
        changed(folder.snapshot(name), version)
        return jobs.start(name, folder.file(name), verb, options)

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


@router.get("/jobs/{job}", tags=["jobs"])
def job(request: Request, job: Known) -> dict[str, Any]:
    """Where a job stands, and what came of it."""
    return _told(request, job)


@router.delete("/jobs/{job}", tags=["jobs"])
def stop(request: Request, job: Known) -> dict[str, Any]:
    """End a job; what it has not written by now it never will."""
    request.app.state.jobs.stop(job)
    return _told(request, job)


@router.get("/jobs/{job}/table", tags=["jobs"])
def predicted(
    job: Known,
    format: Literal["json", "csv"] = "json",
    offset: Annotated[int, Query(ge=0)] = 0,
    limit: Annotated[int, Query(ge=1, le=MOST)] = 1000,
) -> Response:
    """The predictions of a job, a row per candidate."""
    table = job.result["table"] if job.verb == "predictions" and job.result else None
    if table is None:
        raise UnknownError("this job has no table, or not yet.")
    flat = table.set_axis([f"{key} {name}" for name, key in table.columns], axis=1).reset_index()
    return _table(flat, str(job.result["learned"]), format, offset, limit)


@router.get("/jobs/{job}/report.html", tags=["jobs"])
def written(job: Known) -> Response:
    """The report of a job."""
    if job.verb != "report" or job.status != "done":
        raise UnknownError("this job has no report, or not yet.")
    headers = {"content-disposition": 'attachment; filename="report.html"'}
    return Response(job.result, media_type="text/html; charset=utf-8", headers=headers)


_RESULTS_BODY = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {"schema": Results.model_json_schema()},
            "text/csv": {"schema": {"type": "string"}},
        },
    }
}


async def _results(request: Request) -> Results:
    """A body of JSON or CSV; of CSV, the switches stand in the query."""
    raw = await request.body()
    if request.headers.get("content-type", "").startswith("text/csv"):
        switches = {k: v for k, v in request.query_params.items() if k != "csv"}
        try:
            return Results.model_validate({"csv": raw.decode("utf-8-sig"), **switches})
        except ValueError:
            raise UserError("the body is no CSV of UTF-8, or a switch is unknown.") from None
    try:
        return Results.model_validate_json(raw)
    except ValueError as error:
        lines = str(error).splitlines()
        raise UserError(f"the body can't be read: {' '.join(lines[1:3])[:200]}.") from None


@router.post("/campaigns/{name}/record", openapi_extra=_RESULTS_BODY)
def record(
    request: Request, here: Here, body: Annotated[Results, Depends(_results)],
    version: Version = None, key: Repeated = None,
) -> dict[str, Any]:  # fmt: skip
    """Take in results, all or nothing; the same again does nothing."""

    def make() -> dict[str, Any]:
        frame = body.frame()
        if frame is None:
            raise UserError("give rows or csv with results.")
        switches = body.model_dump(include={"correct", "new", "as_done", "check"})
        intake = changed(here, version).record(frame, **switches)
        counts = {
            name: getattr(intake, name)
            for name in ("measured", "failed", "not_run", "corrected", "added", "repeated",
                         "known", "joined", "otherwise", "waiting")
        }  # fmt: skip
        notes = [str(note) for note in intake.notes]
        return {**counts, "words": intake_words(intake), "notes": notes} | _version(here)

    answer: dict[str, Any] = once(request, key, body, make)
    return answer


def _version(here: Snapshot) -> dict[str, str]:
    return {"version": here.campaign.version()}


def _verb(
    path: str, kind: type[BaseModel], act: Callable[[Campaign, Any, Request], Any], words: str
) -> None:
    """Declare a verb that changes a campaign at once: its body goes in, what it says comes out."""

    def endpoint(
        request: Request, here: Here, body: Any, version: Version = None, key: Repeated = None
    ) -> dict[str, Any]:
        def make() -> dict[str, Any]:
            return {"said": plain(act(changed(here, version), body, request))} | _version(here)

        answer: dict[str, Any] = once(request, key, body, make)
        return answer

    endpoint.__annotations__["body"] = kind
    endpoint.__name__, endpoint.__doc__ = path.replace("-", "_"), words
    router.post(f"/campaigns/{{name}}/{path}")(endpoint)


def _add(known: Campaign, body: More, _: Request) -> dict[str, Any]:
    added, notes = known.add(body.frame(), options=body.options, columns=body.columns, new=body.new)
    return {"added": added, "notes": [str(note) for note in notes]}


def _configure(known: Campaign, body: Configuring, _: Request) -> dict[str, Any]:
    if unknown := sorted(body.keys.keys() - set(KEYS)):
        raise UserError(f"'{unknown[0]}' can't be changed here; use {', '.join(KEYS)}.")
    model = body.keys.get("model.name")
    if model is not None and model not in CATALOG:
        raise UserError("a model is one of those that `gollum models` lists.")
    policy = known.configure(body.keys)
    return policy.model_dump(mode="json", include={key.partition(".")[0] for key in body.keys})


def _learn(known: Campaign, body: Learning, request: Request) -> dict[str, Any]:
    folder: Folder = request.app.state.folder
    source = body.frame() if body.campaign is None else folder.file(body.campaign)
    if source is None:
        raise UserError("give a campaign, rows or csv to learn from.")
    event, matches, notes = known.learn_from(
        source, objective=body.objective, direction=body.direction, match=body.match,
        name=body.name or body.campaign or "a table",
    )  # fmt: skip
    return {
        "name": event.name, "results": len(event.values),
        "matched": {m.column: m.theirs for m in matches}, "notes": [str(n) for n in notes],
    }  # fmt: skip


_verb("add", More, _add, "Add candidates, options and factors.")
_verb(
    "avoid", Avoiding,
    lambda known, body, _: known.avoid(
        body.ids, cells=body.cells, lift=body.lift, reason=body.reason
    ),
    "Lock candidates, such as what is out of stock, or free them; says how many are locked.",
)  # fmt: skip
_verb(
    "want", Wanting,
    lambda known, body, _: wanted_lines(
        known.want(*body.objectives, goal=body.goal, target=body.target, **body.details)
    ),
    "Want something else of outcomes from now on, or model further results.",
)  # fmt: skip
_verb(
    "rename", Renaming, lambda known, body, _: known.rename(body.column, body.names).names,
    "Give options of a column other names.",
)  # fmt: skip
_verb(
    "retell", Retelling, lambda known, body, _: known.retell(body.template).source,
    "Put experiments into other words from now on.",
)  # fmt: skip
_verb("configure", Configuring, _configure, "Choose experiments in another way from now on.")
_verb(
    "order", Ordering, lambda known, body, _: known.order(body.orders),
    "Say the order of names from now on.",
)  # fmt: skip
_verb(
    "failed-words", Failing,
    lambda known, body, _: known.call_failed(body.words, forget=body.forget),
    "Let further words say from now on that an experiment failed.",
)  # fmt: skip
_verb("learn", Learning, _learn, "Learn from another campaign or a table.")
_verb(
    "forget", Forgetting, lambda known, body, _: known.forget(body.name),
    "Do not learn from a source any more.",
)  # fmt: skip
