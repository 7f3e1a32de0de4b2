"""What a campaign that runs wants, knows and goes by, and changing it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
from fastapi import APIRouter, Request
from starlette.datastructures import FormData, UploadFile
from starlette.exceptions import HTTPException
from starlette.responses import Response

from gollum.api import Campaign
from gollum.campaign.state import State
from gollum.data.outcomes import wanted_words
from gollum.data.pool import cell_text
from gollum.errors import UserError
from gollum.web.folder import Folder, Snapshot, upload
from gollum.web.pages import saying
from gollum.web.pages.common import Form, Here, Shown, home, known_by, sent, text, to

TEXTS = 3  # experiments in words
OPTIONS = 60  # of a column that can be priced here

router = APIRouter(include_in_schema=False)


@router.get("/c/{name}/settings")
def settings(request: Request, here: Here) -> Response:
    """All that can be changed."""
    shown: Shown = request.app.state.shown
    folder: Folder = request.app.state.folder
    state = here.state
    modelled = [one.name for one in state.outcomes]
    columns = list(map(str, state.table.columns))
    named = [c for c in columns if not pd.api.types.is_numeric_dtype(state.table[c])]
    return shown.page(
        request, "settings.html", here, tab="settings",
        wanted=wanted_words(state.outcomes),
        rows=[*map(saying.row_of, state.outcomes)], blank=saying.BLANK,
        further=[c for c in state.created.also if c not in modelled], goals=saying.GOALS,
        scales=saying.SCALES, several=len(state.pursued) > 1,
        template=state.template, texts=here.made("texts", lambda: in_words(state)),
        choices=saying.choices(), chosen=_chosen(state),
        sources=[(name, len(event.values)) for name, event in state.sources.items()],
        campaigns=[name for name in folder.names() if name != here.name],
        named=named, priced=here.made("priced", lambda: _priced(state)),
        own_cost=state.own_cost, failed_words=", ".join(state.created.failed_words),
    )  # fmt: skip


def _chosen(state: State) -> dict[str, str]:
    """How experiments are chosen, as a form shows it."""
    return saying.chosen(state.keys | {"preset": state.policy.preset})


def in_words(state: State) -> list[str]:
    """How three experiments are put into words, spread over the table."""
    places = dict.fromkeys(round(i * (len(state.table) - 1) / (TEXTS - 1)) for i in range(TEXTS))
    return [state.words().render_row(state.pool, place).text for place in places]


def _priced(state: State) -> list[tuple[str, list[tuple[str, str]]]]:
    """Columns with few options, each with its price so far."""
    found = []
    for column in map(str, state.table.columns):
        if column in state.created.structures or len(options := _options(state, column)) > OPTIONS:
            continue
        known = state.created.prices.get(column, {})
        found.append((column, [(option, cell_text(known.get(option))) for option in options]))
    return found


def _options(state: State, column: str) -> list[str]:
    return [option for option in dict.fromkeys(state.table[column].map(cell_text)) if option]


def _change(
    request: Request, here: Snapshot, form: FormData, act: Callable[[Campaign], str]
) -> Response:
    """Change something, and say what came of it."""
    path = f"{home(here.name)}/settings"
    try:
        good = act(known_by(request, here, form))
    except UserError as error:
        return to(request, path, bad=str(error))
    return to(request, path, good=good)


@router.post("/c/{name}/want")
def want(request: Request, here: Here, form: Form) -> Response:
    """Want something else of outcomes."""
    rows = saying.typed_rows(form, len(here.state.outcomes) + 1)
    before = {one.name: saying.row_of(one) for one in here.state.outcomes}

    def act(known: Campaign) -> str:
        told: dict[str, Any] = saying.details(rows, before)
        return f"From now on: {wanted_words(known.want(*saying.wanted(rows), **told))}."

    return _change(request, here, form, act)


@router.post("/c/{name}/retell")
def retell(request: Request, here: Here, form: Form) -> Response:
    """Put experiments into other words."""

    def act(known: Campaign) -> str:
        known.retell(text(form, "template", 2000))
        return "Experiments are put into these words from now on."

    return _change(request, here, form, act)


@router.post("/c/{name}/configure")
def configure(request: Request, here: Here, form: Form) -> Response:
    """Choose experiments in another way."""

    def act(known: Campaign) -> str:
        news = {k: v or None for k, v in saying.policy(form, _chosen(here.state)).items()}
        known.configure(news)
        told = ", ".join(f"{key} {value or 'as the preset says'}" for key, value in news.items())
        return f"From now on: {told}." if news else "Nothing was changed."

    return _change(request, here, form, act)


@router.post("/c/{name}/learn-from")
def learn_from(request: Request, here: Here, form: Form) -> Response:
    """Learn from another campaign of the folder, or from a table that is sent."""
    folder: Folder = request.app.state.folder

    def act(known: Campaign) -> str:
        match = saying.pairs(text(form, "match", 500), "our column=theirs")
        chosen = text(form, "campaign", 80)
        if chosen:
            return learned(known, folder.file(chosen), chosen, match=match)
        with upload(*sent(form)) as file:
            return learned(
                known, file, file.name, match=match,
                objective=text(form, "objective", 200) or None,
                direction=text(form, "direction", 20) or None,
            )  # fmt: skip

    return _change(request, here, form, act)


def learned(known: Campaign, source: Path, called: str, **options: Any) -> str:
    """Learn from a file, and say what was taken over."""
    event, matches, notes = known.learn_from(source, name=called, **options)
    joined = ", ".join(f"{m.column} as {m.theirs}" for m in matches) or "by their words alone"
    told = " ".join(str(note) for note in notes[:3])
    return f"{len(event.values):,} results of {called} are learned from ({joined}). {told}".strip()


@router.post("/c/{name}/forget")
def forget(request: Request, here: Here, form: Form) -> Response:
    """Do not learn from a source any more."""
    source = text(form, "source", 200)

    def act(known: Campaign) -> str:
        known.forget(source)
        return f"{source} is not learned from any more."

    return _change(request, here, form, act)


@router.post("/c/{name}/rename")
def rename(request: Request, here: Here, form: Form) -> Response:
    """Give an option another name."""
    old, new = text(form, "old"), text(form, "new")

    def act(known: Campaign) -> str:
        known.rename(text(form, "column", 200), {old: new})
        return f"{old} is called {new} from now on; old sheets may say {old}."

    return _change(request, here, form, act)


@router.post("/c/{name}/failed-words")
def failed_words(request: Request, here: Here, form: Form) -> Response:
    """Say what results of failed experiments are called."""

    def act(known: Campaign) -> str:
        said = known.call_failed(saying.words(text(form, "words")), forget=True)
        return f"A failed experiment says {', '.join(said)} too." if said else "The usual words."

    return _change(request, here, form, act)


@router.post("/c/{name}/price")
def price(request: Request, here: Here, form: Form) -> Response:
    """Say what the options of a column cost; nothing at all takes the prices back."""
    column = text(form, "column", 200)
    if column not in here.state.table:
        raise HTTPException(404)

    def act(known: Campaign) -> str:
        said = {
            option: given.replace(",", ".")
            for i, option in enumerate(_options(here.state, column))
            if (given := text(form, f"price-{i}", 40))
        }
        known.price({column: said or None})
        return f"The options of {column} have prices now." if said else f"{column} has no prices."

    return _change(request, here, form, act)


@router.post("/c/{name}/candidates")
def candidates(request: Request, here: Here, form: Form) -> Response:
    """Add the rows of a table to what can be chosen."""

    def act(known: Campaign) -> str:
        with upload(*_table(form)) as file:
            count, notes = known.add(file, new=bool(text(form, "new")))
        return " ".join([f"{count:,} candidates were added.", *map(str, notes[:5])])

    return _change(request, here, form, act)


def _table(form: FormData) -> tuple[str, bytes]:
    """A table in a form, and no list that could name a file.

    Raises:
        UserError: it is none.
    """
    file = form.get("file")
    if isinstance(file, UploadFile) and (file.filename or "").lower().endswith((".yaml", ".yml")):
        raise UserError("Send a table here; `gollum add` takes lists of options.")
    return sent(form)
