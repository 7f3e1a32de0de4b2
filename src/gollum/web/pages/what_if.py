"""What if: another option in an experiment, with what is predicted then."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from fastapi import APIRouter, Request
from starlette.responses import Response

from gollum.campaign.advice import best
from gollum.campaign.sheets import head, in_unit
from gollum.campaign.state import State
from gollum.data.pool import cell_text
from gollum.report.campaign.status import written_like
from gollum.web.pages.common import Here, Shown, home, start, to
from gollum.web.pages.progress import latest

OPTIONS = 200  # of a column that can be chosen
AWAY = 12  # experiments of which one cell is another, by column

router = APIRouter(include_in_schema=False)


@router.get("/c/{name}/what-if")
def what_if(request: Request, here: Here) -> Response:
    """An experiment, its prediction, and those of all that differ from it in one column."""
    shown: Shown = request.app.state.shown
    found, state = latest(request, here, "predictions"), here.state
    table = found["found"]["table"] if found["found"] else None
    if table is not None:
        scales = found["found"].setdefault("scales", _scales(table))
    asked, columns = request.query_params, here.telling
    at = state.table.index.get_indexer(pd.Index([asked.get("id", "")], dtype="str"))[0]
    start_at = _first(state) if at < 0 else str(state.table.index[at])
    cells = {c: cell_text(state.table.at[start_at, c]) for c in map(str, state.table.columns)}
    row = cells | {c: asked[f"c{i}"] for i, c in enumerate(columns) if f"c{i}" in asked}
    id_ = _found(state, row, columns)
    about: dict[str, Any] = {"expected": [], "nearby": []}
    if table is not None and id_ is not None and id_ in table.index:
        about = {
            "expected": [_expected(table, id_, scale) for scale in scales],
            "nearby": _nearby(state, table, id_, columns, scales[0]),
        }
    return shown.page(
        request, "what-if.html", here, tab="what-if", **found,
        table=table,
        fields=[
            (i, c, head(state, c), cell_text(row[c]), _options(state, c))
            for i, c in enumerate(columns)
        ],
        id=id_, known_as=_status(state, id_), measured=_measured(state, id_),
        **about,
    )  # fmt: skip


@router.post("/c/{name}/predict")
def predict(request: Request, here: Here) -> Response:
    """Predict all candidates."""
    start(request, here, "predictions")
    return to(request, f"{home(here.name)}/what-if")


def _first(state: State) -> str:
    """The best experiment, or else the first pending one or candidate."""
    found = best(state)
    pending = [plan.suggestion.id for plan in state.pending()]
    return found.id if found else next(iter(pending), str(state.table.index[0]))


def _options(state: State, column: str) -> list[str]:
    """The values of a column in order; none where there are too many to choose from."""
    values = state.table[column].drop_duplicates()
    if len(values) > OPTIONS:
        return []
    numeric = pd.api.types.is_numeric_dtype(values)
    return [cell_text(v) for v in (values.sort_values() if numeric else values)]


def _found(state: State, cells: dict[str, str], columns: list[str]) -> str | None:
    """The candidate with these cells, those that tell experiments apart."""
    same = np.ones(len(state.table), dtype=bool)
    for column in columns:
        same &= _is(state.table[column], cells[column])
    rows = np.flatnonzero(same)
    return str(state.table.index[rows[0]]) if len(rows) else None


def _is(column: pd.Series, cell: str) -> np.ndarray:
    """N flags: the cell says this."""
    codes, values = pd.factorize(column, use_na_sentinel=False)
    return np.array([cell_text(v) == cell for v in values], dtype=bool)[codes]


def _status(state: State, id_: str | None) -> str:
    if id_ is None:
        return ""
    if id_ in {plan.suggestion.id for plan in state.pending()}:
        return "pending"
    return next((m.result.status for m in state.measurements.values() if m.result.id == id_), "")


def _measured(state: State, id_: str | None) -> list[tuple[str, str]]:
    """What was measured of an experiment, by outcome."""
    if id_ not in state.means_of_all.index:
        return []
    return [(str(n), f"{v:.6g}") for n, v in state.means_of_all.loc[id_].dropna().items()]


@dataclass(frozen=True)
class Scale:
    """What bars of an outcome go from and to, and how its numbers are written."""

    name: str
    low: float
    high: float
    write: Callable[[float | None], str]


def _scales(table: pd.DataFrame) -> list[Scale]:
    """Those of all outcomes that are predicted, the objective first."""
    names = dict.fromkeys(table.columns.get_level_values(0))
    parts = [(str(name), table[name]) for name in names]
    return [
        Scale(name, float(one["low"].min()), float(one["high"].max()),
              written_like(one["predicted"]))
        for name, one in parts
    ]  # fmt: skip


def _expected(table: pd.DataFrame, id_: str, scale: Scale) -> dict[str, Any]:
    """What is predicted of one candidate, with where it lies among all."""
    width = (scale.high - scale.low) or 1.0
    low, mean, high = table[scale.name].loc[id_, ["low", "predicted", "high"]].tolist()
    return {
        "name": scale.name,
        "low": scale.write(low), "mean": scale.write(mean), "high": scale.write(high),
        "bar": [round(100 * (v - scale.low) / width, 1) for v in (low, mean, high)],
        "ends": (scale.write(scale.low), scale.write(scale.high)),
    }  # fmt: skip


def _nearby(
    state: State, table: pd.DataFrame, id_: str, columns: list[str], scale: Scale
) -> list[dict[str, Any]]:
    """For each column, the candidates that differ there only, the best of the objective first."""
    here, units = state.table.loc[id_], state.created.units
    same = {c: _is(state.table[c], cell_text(here[c])) for c in columns}
    count = np.sum(list(same.values()), axis=0)
    known = state.table.index.isin(table.index)
    found = []
    for column in columns:
        rows = np.flatnonzero((count == len(columns) - 1) & ~same[column] & known)
        ids = state.table.index[rows]
        ids = ids[~state.table.loc[ids, column].duplicated().to_numpy()]
        worth = state.utility(
            table.loc[ids, (state.created.objective, "predicted")].to_numpy(dtype=np.float64)
        )
        order = np.argsort(-worth, kind="stable")[:AWAY]
        options = [
            {
                "id": str(ids[i]),
                "value": in_unit(cell_text(state.table.at[ids[i], column]), units.get(column)),
                "expected": _expected(table, str(ids[i]), scale),
            }
            for i in order
        ]
        if options:
            more = len(ids) - len(options)
            found.append({"column": head(state, column), "options": options, "more": more})
    return found
