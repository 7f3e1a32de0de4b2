"""What robots hear: once for each key, at the version that they know, as JSON or CSV."""

from __future__ import annotations

import hashlib
import math
import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
from fastapi import Request
from pydantic import BaseModel
from starlette.responses import JSONResponse, Response

from gollum.api import Campaign
from gollum.campaign.store import Moved
from gollum.data.outcomes import wanted_lines
from gollum.data.writers import sheet_content
from gollum.errors import UserError
from gollum.web.folder import Snapshot
from gollum.web.pages.overview import in_words
from gollum.web.rest.bodies import MOST

KEPT = 1000  # answers, for requests that come again
TURNS = 64  # keys that may be worked on at once
Format = Literal["json", "csv"]


class Answers:
    """What was answered to requests that name themselves, for when they come again."""

    def __init__(self) -> None:
        self._known: OrderedDict[str, tuple[str, Any]] = OrderedDict()
        self._turns = [threading.Lock() for _ in range(TURNS)]

    def once(self, key: str | None, body: BaseModel, make: Callable[[], Any]) -> Any:
        """Do something once for each key; what fails may be tried again.

        Raises:
            UserError: the key was used for something else.
        """
        if key is None:
            return make()
        with self._turns[hash(key) % TURNS]:
            said = hashlib.sha256(body.model_dump_json().encode()).hexdigest()
            if key in self._known:
                before, answer = self._known[key]
                if before != said:
                    raise UserError("that Idempotency-Key was used for another request.")
                return answer
            answer = make()
            self._known[key] = said, answer
            if len(self._known) > KEPT:
                self._known.popitem(last=False)
            return answer


def once(request: Request, key: str | None, body: BaseModel, make: Callable[[], Any]) -> Any:
    """As `Answers.once`; one key may be used for several paths."""
    answers: Answers = request.app.state.answers
    return answers.once(key and f"{request.url.path} {key}", body, make)


def changed(request: Request, here: Snapshot, version: str | None) -> Campaign:
    """The campaign to change for who asks: at the version that they know, or as it is.

    Raises:
        Moved: it is at another one already.
    """
    if version is None:
        return Campaign(here.campaign.path).signed(request.state.who)
    known = version.strip().removeprefix("W/").strip('"')
    if known != here.version:
        raise Moved("the campaign is at another version; read it again.")
    return here.campaign.at(known).signed(request.state.who)


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
    if (
        value is None
        or value is pd.NA
        or value is pd.NaT
        or (isinstance(value, float) and not math.isfinite(value))
    ):
        return None
    return value.isoformat() if isinstance(value, datetime) else value


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


def table(frame: pd.DataFrame, version: str, kind: Format, offset: int, limit: int) -> Response:
    """Some rows of a table."""
    headers = {"etag": f'"{version}"', "x-total-rows": str(len(frame))}
    if kind == "csv":
        content = sheet_content(frame.iloc[offset : offset + limit], Path("table.csv"))
        return Response(content, media_type="text/csv; charset=utf-8", headers=headers)
    rows = rows_of(frame, offset, limit)
    return JSONResponse({"rows": rows, "total": len(frame), "offset": offset}, headers=headers)
