"""Begin a campaign: a table, what its columns are taken for, and experiments in words."""

from __future__ import annotations

import hashlib
import secrets
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path, PurePath
from typing import Any

import pandas as pd
from fastapi import APIRouter, Request
from starlette.datastructures import FormData
from starlette.exceptions import HTTPException
from starlette.responses import Response

from gollum.api import Campaign
from gollum.campaign.begin import Start
from gollum.campaign.events import Source
from gollum.data.pool import cell_text
from gollum.data.readers import read_table
from gollum.data.roles import Column, InDoubtError
from gollum.errors import UserError
from gollum.web.folder import NAME, Folder, refuse_table, upload
from gollum.web.pages import saying
from gollum.web.pages.common import Form, Shown, home, sent, text, to
from gollum.web.pages.settings import in_words, learned

DRAFTS, LASTS = 20, 3600.0  # tables that wait to become campaigns, for so many seconds
SAMPLES = 4  # cells of a column that are shown
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
    "ordinal": ("input: names in order", None),
    "also": ("further result", "also"),
    "remark": ("says nothing", "remark"),
    "id": ("names the rows", "id_column"),
    "cost": ("costs", "cost"),
}
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

    @property
    def listed(self) -> bool:
        """Whether it is lists of options."""
        return self.name.endswith(LISTS)

    @cached_property
    def frame(self) -> pd.DataFrame:
        """The table, read once."""
        with upload(self.name, self.content) as file:
            frame = read_table(file)
            name = file.name
        source = Source(name=name, sha256=hashlib.sha256(self.content).hexdigest())
        frame.attrs["source"] = source
        return frame

    @property
    def columns(self) -> list[str]:
        """The columns of a table."""
        return [] if self.listed else list(map(str, self.frame.columns))


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
        draft = Draft(name, content)
        _ = draft.columns  # it can be read
    except UserError as error:
        return to(request, "/begin", bad=str(error))
    drafts, key = _drafts(request), secrets.token_urlsafe(12)
    while len(drafts) >= DRAFTS:
        del drafts[next(iter(drafts))]
    drafts[key] = draft
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
        told = _begin(folder, file, draft, form, request.state.who)
    except UserError as error:
        return _show(request, key, form, str(error), 422)
    _drafts(request).pop(key, None)  # Begin may have been clicked twice
    return to(request, home(file.stem), good=" ".join([f"{file.stem} has begun.", *told]))


def _begin(folder: Folder, file: Path, draft: Draft, form: FormData, by: str) -> list[str]:
    """Make the campaign, and let it learn; where that fails, nothing is left behind."""
    options = said(form, draft.columns)
    if draft.listed:
        with upload(draft.name, draft.content) as lists:
            campaign, _ = Campaign.create(file, factors=lists, by=by, **options)
    else:
        campaign, _ = Campaign.create(file, table=draft.frame, by=by, **options)
    told = []
    try:
        for name in form.getlist("learn"):
            known = campaign.signed(by)
            told.append(learned(known, folder.file(str(name)), str(name)))
    except UserError:
        file.unlink()
        raise
    return told


def _draft(request: Request, key: str) -> Draft:
    draft = _drafts(request).get(key)
    if draft is None:
        raise HTTPException(404, "That table is not here any more; send it again.")
    return draft


def _look(draft: Draft, options: dict[str, Any]) -> Start:
    """How a campaign of a table that was sent would begin."""
    if not draft.listed:
        return Campaign.draft("the campaign", table=draft.frame, **options)
    with upload(draft.name, draft.content) as lists:
        return Campaign.draft("the campaign", factors=lists, **options)


def said(form: FormData, columns: list[str]) -> dict[str, Any]:
    """The options of `Campaign.create` that a form says.

    Raises:
        UserError: two columns name the rows or the costs, or a number is none.
    """
    rows = saying.typed_rows(form, 1 + saying.MORE)
    options: dict[str, Any] = {"objective": saying.wanted(rows), **saying.details(rows)}
    chosen = {c: text(form, f"c{i}") for i, c in enumerate(columns)}
    for column, meaning in chosen.items():
        option = MEANINGS.get(meaning, ("", None))[1]
        if option in ("id_column", "cost"):
            if option in options:
                raise UserError(f"'{options[option]}' and '{column}' are both {meaning}; keep one.")
            options[option] = column
        elif option:
            options.setdefault(option, []).append(column)
    units = {c: unit for i, c in enumerate(columns) if (unit := text(form, f"u{i}", 40))}
    if units:
        options["unit"] = units
    if orders := [c for c, meaning in chosen.items() if meaning == "ordinal"]:
        options["ordinal"] = {
            c: saying.words(text(form, f"n{columns.index(c)}", 1000)) for c in orders
        }
    options |= {k: value for k, value in saying.policy(form).items() if value and k != "model.name"}
    if model := text(form, "model", 80):
        options["model"] = model
    for option in ("template", "reaction"):
        if words := text(form, option, 2000):
            options[option] = words
    if failed := saying.words(text(form, "failed-word")):
        options["failed_word"] = failed
    return options


def _show(
    request: Request, key: str, form: FormData, wrong: str = "", status: int = 200
) -> Response:
    """The table with what each column is taken for."""
    draft, shown = _draft(request, key), request.app.state.shown
    columns: Iterable[Column] = ()
    start, problem = None, wrong
    frame, listed = None if draft.listed else draft.frame, draft.columns
    stem = NAME.match(PurePath(draft.name.replace("\\", "/")).stem.replace("_", " "))
    folder: Folder = request.app.state.folder
    rows = saying.typed_rows(form, 1 + saying.MORE)
    rows[0]["name"] = rows[0]["name"] or ("" if frame is None else _objective(listed))
    try:
        options = said(form, listed)
        if rows[0]["name"] and not options["objective"]:
            options["objective"] = rows[0]["name"]
        start = _look(draft, options)
        columns, texts = start.columns, in_words(start.state())
    except InDoubtError as error:
        columns, problem = error.columns, problem or str(error)
    except UserError as error:
        problem = problem or str(error)
    answer: Response = shown.page(
        request, "columns.html", status=status, tab="begin", key=key, problem=problem,
        draft=draft, start=start, texts=texts if start else [],
        rows=_rows(listed, frame, columns, form), more=max(0, len(listed) - COLUMNS),
        meanings=MEANINGS, goals=saying.GOALS, scales=saying.SCALES, columns=listed,
        outcomes=rows, choices=saying.choices(), chosen=_chosen(form),
        campaigns=folder.names(), learn=form.getlist("learn"),
        reaction=text(form, "reaction", 2000), failed_word=text(form, "failed-word"),
        name=text(form, "name", 80) or (stem[0] if stem else "campaign"),
        template=text(form, "template", 2000),
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
            "unit": text(form, f"u{i}", 40),
            "order": text(form, f"n{i}", 1000),
        }
        for i, name in enumerate(listed[:COLUMNS])
    ]


def _samples(column: pd.Series) -> list[str]:
    """The first cells of a column that are different and not blank."""
    texts = map(cell_text, column.drop_duplicates().head(SAMPLES + 1))
    return [text for text in texts if text][:SAMPLES]


def _chosen(form: FormData) -> dict[str, str]:
    """How experiments are to be chosen, as the form says."""
    return {f: text(form, f, 80) for f in ("surrogate", "preset", "acquisition", "model")}
