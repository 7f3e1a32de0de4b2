"""What changes campaigns at once: beginning one, results, and the other verbs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request
from pydantic import BaseModel

from gollum.api import Campaign
from gollum.data.outcomes import wanted_lines
from gollum.errors import UserError
from gollum.language.catalog import CATALOG
from gollum.report.campaign.status import intake_words
from gollum.web.folder import Folder, Snapshot, refuse_table, upload
from gollum.web.pages.common import Here
from gollum.web.rest.answers import about, changed, once, plain
from gollum.web.rest.bodies import (
    KEYS,
    Avoiding,
    Beginning,
    Configuring,
    Failing,
    Forgetting,
    Learning,
    More,
    Ordering,
    Placing,
    Pricing,
    Renaming,
    Repeated,
    Results,
    Retelling,
    Version,
    Wanting,
)

router = APIRouter(tags=["campaigns"])


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
            _, start = Campaign.create(file, table=frame, by=request.state.who, **said)
        else:
            refuse_table(body.factors)
            with upload("factors.yaml", body.factors.encode()) as lists:
                _, start = Campaign.create(
                    file, table=frame, factors=lists, by=request.state.who, **said
                )
        notes = [str(note) for note in start.notes]
        columns = [column._asdict() for column in start.columns]
        return {**about(folder.snapshot(file.stem)), "notes": notes, "columns": columns}

    made: dict[str, Any] = once(request, key, body, make)
    return made


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
        intake = changed(request, here, version).record(frame, **switches)
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
            return {"said": plain(act(changed(request, here, version), body, request))} | _version(
                here
            )

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
_verb(
    "price", Pricing, lambda known, body, _: known.price(body.prices),
    "Say what options cost from now on; an experiment costs their sum.",
)  # fmt: skip
_verb(
    "place", Placing,
    lambda known, body, _: known.place(
        body.wells, size=body.size, controls=body.controls, order=body.order
    ).wells,
    "Keep which run stands in which well of a plate.",
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
