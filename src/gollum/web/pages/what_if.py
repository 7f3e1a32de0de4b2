"""What if: another option in an experiment, with what is predicted then."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from fastapi import APIRouter, Request
from numpy.typing import NDArray
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
ENDS = ("low", "predicted", "high")

router = APIRouter(include_in_schema=False)


@dataclass(frozen=True)
class Levels:
    """The cells of N candidates in one column, for quick comparisons.

    Attributes:
        texts: the different ones, numbers in order.
        codes: N positions in `texts`.
    """

    texts: list[str]
    codes: NDArray[np.int64]

    @classmethod
    def of(cls, column: pd.Series) -> Levels:
        """Those of a column."""
        numeric = pd.api.types.is_numeric_dtype(column)
        codes, values = pd.factorize(column, sort=numeric, use_na_sentinel=False)
        return cls([cell_text(value) for value in values], codes)

    @property
    def options(self) -> list[str]:
        """What can be chosen; nothing where that is too much."""
        return self.texts if len(self.texts) <= OPTIONS else []

    def are(self, text: str) -> NDArray[np.bool_]:
        """N flags: the cell says this."""
        at = self.texts.index(text) if text in self.texts else -1
        return np.asarray(self.codes == at)


@dataclass(frozen=True)
class Predicted:
    """What is predicted of an outcome.

    Attributes:
        name: of the outcome.
        place: id → row of `numbers`.
        numbers: n x 3: low, predicted and high.
        ends: the lowest and the highest of all.
        write: how its numbers are written.
    """

    name: str
    place: pd.Index
    numbers: NDArray[np.float64]
    ends: tuple[float, float]
    write: Callable[[float | None], str]

    @classmethod
    def of(cls, table: pd.DataFrame) -> list[Predicted]:
        """All outcomes of a table of predictions, the objective first."""
        found = []
        for name in dict.fromkeys(table.columns.get_level_values(0)):
            numbers = table[name][list(ENDS)].to_numpy(dtype=np.float64)
            ends = (float(numbers.min()), float(numbers.max()))
            found.append(cls(str(name), table.index, numbers, ends, written_like(numbers[:, 1])))
        return found

    def told(self, id_: str) -> dict[str, Any]:
        """What is predicted of one candidate, with where it lies among all."""
        low, mean, high = self.numbers[self.place.get_loc(id_)].tolist()
        width = (self.ends[1] - self.ends[0]) or 1.0
        return {
            "name": self.name,
            "low": self.write(low), "mean": self.write(mean), "high": self.write(high),
            "bar": [round(100 * (v - self.ends[0]) / width, 1) for v in (low, mean, high)],
            "ends": tuple(map(self.write, self.ends)),
        }  # fmt: skip


@router.get("/c/{name}/what-if")
def what_if(request: Request, here: Here) -> Response:
    """An experiment, its prediction, and those of all that differ from it in one column."""
    shown: Shown = request.app.state.shown
    found, state, columns = latest(request, here, "predictions"), here.state, here.telling
    levels = here.made("cells", lambda: {c: Levels.of(state.table[c]) for c in columns})
    told, asked = found["found"], request.query_params
    predicted: list[Predicted] = []
    if told and told["table"] is not None:
        predicted = told.get("predicted") or Predicted.of(told["table"])
        told["predicted"] = predicted  # for the next question
    first = asked.get("id", "") if asked.get("id") in state.table.index else _first(state)
    cells = {c: cell_text(state.table.at[first, c]) for c in columns}
    cells |= {c: asked[f"c{i}"] for i, c in enumerate(columns) if f"c{i}" in asked}
    same = {c: levels[c].are(cells[c]) for c in columns}
    rows = np.flatnonzero(np.logical_and.reduce(list(same.values())))
    id_ = str(state.table.index[rows[0]]) if len(rows) else None
    known = bool(predicted) and id_ is not None and id_ in predicted[0].place
    return shown.page(
        request, "what-if.html", here, tab="what-if", **found,
        table=predicted,
        fields=[
            (i, head(state, c), cells[c], levels[c].options)
            for i, c in enumerate(columns)
        ],
        id=id_, known_as=_status(state, id_), measured=_measured(state, id_),
        expected=[one.told(str(id_)) for one in predicted] if known else [],
        nearby=_nearby(state, levels, same, predicted[0]) if known else [],
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


def _status(state: State, id_: str | None) -> str:
    if id_ in {plan.suggestion.id for plan in state.pending()}:
        return "pending"
    return next((m.result.status for m in state.measurements.values() if m.result.id == id_), "")


def _measured(state: State, id_: str | None) -> list[tuple[str, str]]:
    """What was measured of an experiment, by outcome."""
    if id_ not in state.means_of_all.index:
        return []
    return [(str(n), f"{v:.6g}") for n, v in state.means_of_all.loc[id_].dropna().items()]


def _nearby(
    state: State,
    levels: dict[str, Levels],
    same: dict[str, NDArray[np.bool_]],
    predicted: Predicted,
) -> list[dict[str, Any]]:
    """For each column, the candidates that differ there only, the best of the objective first."""
    count, found = np.sum(list(same.values()), axis=0), []
    for column, here in same.items():
        rows = np.flatnonzero((count == len(same) - 1) & ~here)
        rows = rows[np.sort(np.unique(levels[column].codes[rows], return_index=True)[1])]
        ids = [id_ for id_ in state.table.index[rows] if id_ in predicted.place]
        means = predicted.numbers[predicted.place.get_indexer(pd.Index(ids)), 1]
        order = np.argsort(-state.utility(means), kind="stable")[:AWAY]
        unit = state.created.units.get(column)
        options = [
            {
                "id": ids[i],
                "value": in_unit(cell_text(state.table.at[ids[i], column]), unit),
                "expected": predicted.told(ids[i]),
            }
            for i in order
        ]
        if options:
            more = len(ids) - len(options)
            found.append({"column": head(state, column), "options": options, "more": more})
    return found
