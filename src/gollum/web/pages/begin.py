"""Begin a campaign: a table, what its columns are taken for, and experiments in words."""

from __future__ import annotations

import secrets
import tempfile
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path, PurePath
from typing import Any

import pandas as pd
from fastapi import APIRouter, Request
from starlette.datastructures import FormData
from starlette.exceptions import HTTPException
from starlette.responses import Response

from gollum.api import Campaign
from gollum.campaign.begin import Start
from gollum.data.pool import cell_text
from gollum.data.readers import read_table
from gollum.data.roles import Column, InDoubtError
from gollum.errors import UserError
from gollum.web.folder import NAME, Folder, refuse_table, upload
from gollum.web.pages.common import Form, Shown, home, sent, text, to

DRAFTS, LASTS = 20, 3600.0  # tables that wait to become campaigns, for so many seconds
SAMPLES, TEXTS = 4, 3  # cells of a column, and texts of experiments, that are shown
COLUMNS = 200  # that are shown
LISTS = ".yaml"
ENDINGS = (".csv", ".tsv", ".txt", ".xlsx", ".ods", ".parquet", ".gz")
PASTED = 2**20  # characters of options and pasted tables
# What a column is: value of the field → (words, option of `Campaign.create` that says so).
MEANINGS: dict[str, tuple[str, str | None]] = {
    "": ("as guessed", None),
    "category": ("input: names", "category"),
    "number": ("input: a quantity", "number"),
    "structure": ("input: SMILES", "structures"),
    "also": ("further result", "also"),
    "remark": ("says nothing", "remark"),
    "id": ("names the rows", "id_column"),
    "cost": ("costs", "cost"),
}
GOALS = {
    "maximize": "as much as possible", "minimize": "as little as possible",
    "target": "close to a value",
}  # fmt: skip

router = APIRouter(include_in_schema=False)


@dataclass
class Draft:
    """A table of which a campaign may be made.

    Attributes:
        name: of the file, as its sender called it.
        content: of the file.
        made: when it came.
    """

    name: str
    content: bytes
    made: float = field(default_factory=time.monotonic)


def _drafts(request: Request) -> dict[str, Draft]:
    """The tables that wait, by key; old ones go."""
    state = request.app.state
    if not hasattr(state, "drafts"):
        state.drafts = {}
    kept: dict[str, Draft] = state.drafts
    for key in [k for k, d in kept.items() if d.made < time.monotonic() - LASTS]:
        del kept[key]
    return kept


@router.get("/begin")
def first(request: Request) -> Response:
    """Ask for a table."""
    shown: Shown = request.app.state.shown
    return shown.page(request, "begin.html", tab="begin")


@router.post("/begin")
def take(request: Request, form: Form) -> Response:
    """Take a table, or lists of options, which are written like a file of factors."""
    try:
        if options := text(form, "options", PASTED):
            refuse_table(options)
            name, content = f"factors{LISTS}", options.encode()
        elif pasted := text(form, "pasted", PASTED, around="\r\n"):
            name, content = "pasted.tsv", pasted.encode()
        else:
            name, content = sent(form)
            if PurePath(name).suffix.lower() not in ENDINGS:
                raise UserError(f"A table ends in {', '.join(ENDINGS)}.")
        if not name.endswith(LISTS):
            with upload(name, content) as file:
                read_table(file)
    except UserError as error:
        return to(request, "/begin", bad=str(error))
    drafts, key = _drafts(request), secrets.token_urlsafe(12)
    while len(drafts) >= DRAFTS:
        del drafts[next(iter(drafts))]
    drafts[key] = Draft(name, content)
    return to(request, f"/begin/{key}")


@router.get("/begin/{key}")
def look(request: Request, key: str) -> Response:
    """How the table is understood so far."""
    return _show(request, key, FormData())


@router.post("/begin/{key}")
def change(request: Request, key: str, form: Form) -> Response:
    """The same with other words on it, or the campaign itself."""
    if not text(form, "go"):
        return _show(request, key, form)
    folder: Folder = request.app.state.folder
    draft = _draft(request, key)
    try:
        file = folder.free(text(form, "name", 80))
        create(file, draft, said(form, _names(draft)))
    except UserError as error:
        return _show(request, key, form, str(error), 422)
    _drafts(request).pop(key, None)  # Begin may have been clicked twice
    return to(request, home(file.stem), good=f"{file.stem} has begun.")


def _draft(request: Request, key: str) -> Draft:
    draft = _drafts(request).get(key)
    if draft is None:
        raise HTTPException(404, "That table is not here any more; send it again.")
    return draft


def create(file: Path, draft: Draft, options: dict[str, Any]) -> tuple[Campaign, Start]:
    """Make a campaign of a table that was sent."""
    with upload(draft.name, draft.content) as table:
        kind = "factors" if table.suffix == LISTS else "table"
        return Campaign.create(file, **{**options, kind: table})


def _names(draft: Draft) -> list[str]:
    """The columns of a table that was sent."""
    return [] if draft.name.endswith(LISTS) else list(_read(draft).columns)


def _read(draft: Draft) -> pd.DataFrame:
    with upload(draft.name, draft.content) as file:
        return read_table(file)


def said(form: FormData, columns: list[str]) -> dict[str, Any]:
    """The options of `Campaign.create` that a form says.

    Raises:
        UserError: two columns name the rows or the costs, or a number is none.
    """
    options: dict[str, Any] = {"objective": text(form, "objective", 200) or ()}
    chosen = {c: text(form, f"c{i}") for i, c in enumerate(columns)}
    for column, meaning in chosen.items():
        option = MEANINGS.get(meaning, ("", None))[1]
        if option in ("id_column", "cost"):
            if option in options:
                raise UserError(f"'{options[option]}' and '{column}' are both {meaning}; keep one.")
            options[option] = column
        elif option:
            options.setdefault(option, []).append(column)
    goal = text(form, "goal")
    if goal in GOALS:
        options["goal"] = goal
    if goal == "target" and (target := text(form, "target", 40)):
        try:
            options["target"] = float(target.replace(",", "."))
        except ValueError:
            raise UserError(f"The value to come close to is a number, not '{target}'.") from None
    for option in ("template", "surrogate"):
        if words := text(form, option, 2000):
            options[option] = words
    further = text(form, "further", 500)
    if further and options["objective"]:
        others = [words for part in further.split(",") if (words := part.strip())]
        options["objective"] = [options["objective"], *others]
    return options


def _show(
    request: Request, key: str, form: FormData, wrong: str = "", status: int = 200
) -> Response:
    """The table with what each column is taken for."""
    draft, shown = _draft(request, key), request.app.state.shown
    columns: Iterable[Column] = ()
    start, problem = None, wrong
    frame, listed = None, list[str]()
    if not draft.name.endswith(LISTS):
        frame = _read(draft)
        listed = list(map(str, frame.columns))
    stem = NAME.match(PurePath(draft.name.replace("\\", "/")).stem.replace("_", " "))
    content = {"objective": text(form, "objective", 200), "goal": text(form, "goal") or "maximize"}
    if not content["objective"] and frame is not None:
        content["objective"] = _objective(listed)
    try:
        options = said(form, listed)
        if frame is not None or content["objective"]:
            options["objective"] = options["objective"] or content["objective"]
        with tempfile.TemporaryDirectory(prefix="gollum-") as folder:
            campaign, start = create(Path(folder) / "draft.gollum", draft, options)
            columns = start.columns
            texts = _texts(campaign)
    except InDoubtError as error:
        columns, problem = error.columns, problem or str(error)
    except UserError as error:
        problem = problem or str(error).replace("draft.gollum", "the campaign")
    answer: Response = shown.page(
        request, "columns.html", status=status, tab="begin", key=key, problem=problem,
        draft=draft, start=start, texts=texts if start else [],
        rows=_rows(listed, frame, columns, form), more=max(0, len(listed) - COLUMNS),
        meanings=MEANINGS, goals=GOALS, columns=listed,
        name=text(form, "name", 80) or (stem[0] if stem else "campaign"),
        target=text(form, "target", 40), template=text(form, "template", 2000),
        surrogate=text(form, "surrogate", 40), further=text(form, "further", 500),
        **content,
    )  # fmt: skip
    return answer


def _objective(columns: list[str]) -> str:
    """The column that is called like something to optimize; or the last one."""
    usual = ("yield", "ausbeute", "conversion", "ee", "selectivity")
    found = [c for word in usual for c in columns if word in c.casefold().split("(")[0].split()]
    return next(iter(found), columns[-1])


def _rows(
    listed: list[str], frame: pd.DataFrame | None, columns: Iterable[Column], form: FormData
) -> list[dict[str, Any]]:
    """Columns with a few of their cells, what they are taken for, and what was said of them."""
    guessed = {column.name: column for column in columns}
    if frame is None:
        return [
            {"name": c.name, "cells": [c.example], "guess": c, "said": None}
            for c in guessed.values()
        ]
    return [
        {
            "name": name,
            "cells": _samples(frame[name]),
            "guess": guessed.get(name),
            "said": text(form, f"c{i}"),
        }
        for i, name in enumerate(listed[:COLUMNS])
    ]


def _samples(column: pd.Series) -> list[str]:
    """The first cells of a column that are different and not blank."""
    texts = map(cell_text, column.drop_duplicates().head(SAMPLES + 1))
    return [text for text in texts if text][:SAMPLES]


def _texts(campaign: Campaign) -> list[str]:
    """How three experiments are put into words, spread over the table."""
    state = campaign.state()
    places = dict.fromkeys(round(i * (len(state.table) - 1) / (TEXTS - 1)) for i in range(TEXTS))
    return [state.words().render_row(state.pool, place).text for place in places]
