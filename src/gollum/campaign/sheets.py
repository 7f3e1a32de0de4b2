"""The campaign as tables: experiments to do, results, their history, candidates; or all as JSON."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
import pandas as pd

from gollum.campaign.events import Result, Status, Suggestion
from gollum.campaign.front import trades
from gollum.campaign.state import Logged, Planned, State
from gollum.data.spreadsheets.looks import Look
from gollum.data.spreadsheets.units import says_unit

_INTENT = {
    "start": "first design, spread over the candidates",
    "chosen": "chosen without a model",
    "explore": "explores",
    "balance": "explores and exploits",
    "exploit": "exploits",
}
_NEIGHBOURS, _EFFECTS, _LETTERS = 2, 3, 30  # that a reason mentions; letters of one value


@dataclass(frozen=True)
class Names:
    """What our own columns are called in the sheets of one campaign."""

    run: str
    id: str
    status: str
    note: str
    predicted: str
    low: str
    high: str
    chance: str
    why: str
    batch: str
    time: str
    replaced: str
    asked: str
    state: str
    results: str
    mean: str
    limits: str
    trades: str
    well: str
    unlike: str
    """What `chance` is called where it is another one."""
    others: dict[str, tuple[str, str, str]]
    """Of a further outcome: predicted, low and high."""

    @property
    def every(self) -> list[str]:
        """All of them."""
        own = [name for name in vars(self).values() if isinstance(name, str)]
        return own + [name for names in self.others.values() for name in names]


def sheet_names(state: State) -> Names:
    """Names of our own columns; one that the user has too gets ' (gollum)' behind it."""
    created = state.created
    theirs = {*users_columns(state), created.id_column or ""}
    taken = {column.casefold() for column in theirs}

    def free(name: str) -> str:
        return free(f"{name} (gollum)") if name.casefold() in taken else name

    last = state.batches[-1].suggestions if state.batches else ()
    front = state.seeks_front and (not last or any(map(state.front_of, last)))
    chances = [free("chance to beat best"), free("chance to join front")]
    return Names(
        run=free("run"),
        id=created.id_column or free("id"),
        status=free("status"),
        note=free("note"),
        predicted=free(f"predicted {created.objective}"),
        low=free("low 95 %"),
        high=free("high 95 %"),
        chance=chances[front],
        unlike=chances[not front],
        why=free("why"),
        batch=free("batch"),
        time=free("time (UTC)"),
        replaced=free("replaced"),
        asked=free("asked"),
        state=free("state"),
        results=free("results"),
        mean=free(f"mean {created.objective}"),
        limits=free("chance that limits hold"),
        trades=free("against the best known"),
        well=free("well"),
        others={
            one.name: (
                free(f"predicted {one.name}"),
                free(f"low 95 % {one.name}"),
                free(f"high 95 % {one.name}"),
            )
            for one in state.outcomes[1:]
            if state.known(one) is None
        },
    )


def users_columns(state: State) -> list[str]:
    """The user's own columns: inputs, objective, further results and cost."""
    created = state.created
    cost = [created.cost] if created.cost is not None else []
    return [*map(str, state.table.columns), created.objective, *created.also, *cost]


def head(state: State, column: str) -> str:
    """What a column of the user's is called in a file or table: 'time (h)' if its unit is h."""
    unit = state.created.units.get(column)
    return column if unit is None or says_unit(column, unit) else f"{column} ({unit})"


def headed(state: State, frame: pd.DataFrame) -> pd.DataFrame:
    """A sheet with the units of its columns in their names, which `record` understands."""
    heads = {c: h for c in users_columns(state) if (h := head(state, c)) not in frame.columns}
    return frame.rename(columns=heads)


def suggestion_sheet(state: State, plans: Sequence[Planned]) -> pd.DataFrame:
    """Experiments to do, one row each in the order given, with blank cells for what comes of them.

    Predictions are rounded to about a thousandth of the spread of the results so far.
    """
    names = sheet_names(state)
    digits = _digits(state, plans)
    rounding = {names.predicted: digits, names.low: digits, names.high: digits, names.chance: 3}
    for outcome, columns in names.others.items():
        rounding |= dict.fromkeys(columns, _digits(state, plans, outcome))
    frame = _plans(state, plans).drop(columns=names.batch).round(rounding | {names.limits: 3})
    blank = dict.fromkeys((state.created.objective, *state.created.also), np.nan)
    return frame.assign(**blank, **{names.status: "", names.note: ""})


def look_of(state: State, sheet: pd.DataFrame) -> Look:
    """How a batch looks in a workbook: what to fill in, and what to choose from.

    Args:
        state: the campaign.
        sheet: with heads as `headed` gives them.
    """
    names = sheet_names(state)
    wanted = [head(state, c) for c in (state.created.objective, *state.created.also)]
    known = {c for c in (*wanted, *users_columns(state), names.status, names.note) if c in sheet}
    return Look(
        fill_in=[c for c in sheet if c in {*wanted, names.status, names.note} & known],
        choices={c: get_args(Status) for c in [names.status] if c in known},
        shares=[c for c in (names.chance, names.limits) if c in sheet],
    )


def export_frame(
    state: State,
    what: Literal["results", "suggestions", "history", "candidates"] = "results",
) -> pd.DataFrame:
    """The campaign as a table, with numbers to the last digit.

    Args:
        state: the campaign.
        what: 'results': a row per measurement, as last recorded; 'history': also the earlier
            values of those that were corrected; 'suggestions': a row per suggestion with what
            came of it; 'candidates': a row per candidate with the mean of its results.
    """
    if what == "candidates":
        return _candidates(state)
    if what == "suggestions":
        return _outcomes(state)
    return _results(state, history=what == "history")


def export_json(state: State, log: Sequence[Logged]) -> str:
    """The whole campaign for other programs: candidates, results and every event."""
    content = {
        "campaign": state.created.model_dump(mode="json"),
        "sequence": state.sequence,
        "template": state.template,
        "candidates": {
            "ids": state.table.index.tolist(),
            "columns": {str(c): _plain(state.table[c]) for c in state.table},
            "costs": None if state.costs is None else _plain(pd.Series(state.costs)),
        },
        "results": [
            m.result.model_dump(mode="json")
            | {"sequence": m.sequence, "time": m.time}
            | {"earlier": [old.model_dump(mode="json") for old in m.earlier]}
            for m in state.measurements.values()
        ],
        "pending": [plan.suggestion.run for plan in state.pending()],
        "withdrawn": sorted(state.withdrawn),
        "avoided": [
            {"column": column, "value": str(value), "reason": reason}
            for (column, value), reason in state.avoided.items()
        ],
        "events": [
            {"sequence": entry.sequence, "time": entry.time, "version": entry.version}
            | entry.event.model_dump(mode="json")
            for entry in log
        ],
    }
    return json.dumps(content, ensure_ascii=False, allow_nan=False, indent=1) + "\n"


def why(
    suggestion: Suggestion, objective: str, digits: int, units: Mapping[str, str] | None = None
) -> str:
    """The reason for a suggestion: 'exploits: like r12 (yield 71.2); ligand XPhos +8.3'.

    Args:
        suggestion: what is suggested.
        objective: its name.
        digits: of numbers, behind the point.
        units: of some columns.
    """
    like = " and ".join(
        f"{n.id} ({objective} {n.value:.{digits}f})" for n in suggestion.neighbours[:_NEIGHBOURS]
    )
    effects = ", ".join(
        f"{e.column} {_short(in_unit(e.value, (units or {}).get(e.column)))} {e.effect:+.{digits}f}"
        for e in suggestion.effects[:_EFFECTS]
        if round(e.effect, digits)
    )
    reasons = "; ".join(part for part in (like and f"like {like}", effects) if part)
    intent = _INTENT[suggestion.intent]
    return f"{intent}: {reasons}" if reasons else intent


def in_unit(cell: str, unit: str | None) -> str:
    """A cell as text, with the unit of its column if there is one."""
    return f"{cell} {unit}" if cell and unit else cell


def _short(text: str) -> str:
    return text if len(text) <= _LETTERS else f"{text[: _LETTERS - 1]}…"


def _digits(state: State, plans: Iterable[Planned], outcome: str | None = None) -> int:
    """Decimals that show a thousandth of the spread of the results, or else of the predictions."""
    which = next((one for one in state.outcomes if one.name == outcome), None)
    predicted = [
        p.suggestion if which is None else p.suggestion.others.get(which.name) for p in plans
    ]
    for numbers in (
        state.observations(which)[1].tolist(),
        [v for p in predicted if p for v in (p.mean, p.low, p.high)],
    ):
        known = [v for v in numbers if v is not None]
        spread = max(known) - min(known) if known else 0.0
        if spread > 0:
            return max(0, 3 - math.ceil(math.log10(spread)))
    return 2


def _plans(state: State, plans: Sequence[Planned]) -> pd.DataFrame:
    """What is known of suggestions before they are done."""
    names = sheet_names(state)
    suggestions = [plan.suggestion for plan in plans]
    digits = _digits(state, plans)
    frame = _experiments(state, [s.run for s in suggestions], [s.id for s in suggestions])
    frame[names.batch] = [plan.batch for plan in plans]
    _predict(frame, names, suggestions)
    frame[names.chance] = _floats(s.chance for s in suggestions)
    _predict_others(frame, names, suggestions)
    if state.limits:
        frame[names.limits] = _floats(s.limits for s in suggestions)
    if len(state.outcomes) > 1:
        frame[names.trades] = _texts(trades(state, suggestions))
    created = state.created
    frame[names.why] = _texts(why(s, created.objective, digits, created.units) for s in suggestions)
    return frame


def _outcomes(state: State) -> pd.DataFrame:
    names = sheet_names(state)
    plans = list(state.plans.values())
    found = [state.measurements.get(plan.suggestion.run) for plan in plans]
    known = [None if m is None else _of_plan(state, m.result) for m in found]
    frame = _plans(state, plans)
    for column in (state.created.objective, *state.created.also):
        frame[column] = _floats(r.values.get(column) if r else None for r in known)
    frame[names.status] = _texts(
        r.status if r else "withdrawn" if run in state.withdrawn else "pending"
        for run, r in zip(state.plans, known, strict=True)
    )
    frame[names.note] = _texts(r.note if r else "" for r in known)
    return frame


def _of_plan(state: State, result: Result) -> Result:
    """What came of a suggestion; where another experiment was done it was not run, with a note."""
    if not state.otherwise(result):
        return result
    told = "; ".join(
        filter(None, [f"asked {state.asked(result.run)}, done {result.id}", result.note])
    )
    return result.model_copy(update={"status": "not run", "values": {}, "note": told})


def _results(state: State, *, history: bool) -> pd.DataFrame:
    names = sheet_names(state)
    told = [
        (result, measurement.time if result is measurement.result else "")
        for measurement in state.measurements.values()
        for result in (*(measurement.earlier if history else ()), measurement.result)
    ]
    results = [result for result, _ in told]
    frame = _experiments(state, [r.run for r in results], [r.id for r in results])
    for column in (state.created.objective, *state.created.also):
        frame[column] = _floats(r.values.get(column) for r in results)
    frame[names.status] = _texts(r.status for r in results)
    frame[names.note] = _texts(map(exported_note, results))
    plans = [_plan_of(state, r.run) for r in results]
    if any(state.otherwise(r) for r in results):
        frame.insert(
            frame.columns.tolist().index(names.id) + 1,
            names.asked,
            _texts(state.asked(r.run) or "" if state.otherwise(r) else "" for r in results),
        )
    frame[names.batch] = pd.array([p.batch if p else None for p in plans], dtype="Int64")
    pairs = zip(plans, results, strict=True)
    predicted = [p.suggestion if p and not state.otherwise(r) else None for p, r in pairs]
    _predict(frame, names, predicted)
    _predict_others(frame, names, predicted)
    times = pd.Series([time or None for _, time in told], dtype="str")
    moments = pd.to_datetime(times, utc=True, format="ISO8601")
    frame[names.time] = moments.dt.tz_localize(None).dt.floor("s")
    if history:
        frame[names.replaced] = _texts("" if time else "yes" for _, time in told)
    return frame


def exported_note(result: Result) -> str:
    """The note of a result, with what its cells said in place of plain numbers."""
    said = (f"{column}: {text}" for column, text in result.said.items())
    return "; ".join(filter(None, [result.note, *said]))


def _candidates(state: State) -> pd.DataFrame:
    names = sheet_names(state)
    ids = state.table.index
    frame = _experiments(state, None, ids.tolist())
    word = pd.Series("open", index=ids, dtype="str")
    word[state.locked()] = "avoided"
    for status in ("failed", "measured"):
        word[ids.isin([m.result.id for m in state.with_status(status)])] = status
    word[ids.isin([plan.suggestion.id for plan in state.pending()])] = "pending"
    measured = state.measured()
    frame[names.state] = word.to_numpy()
    frame[names.results] = measured["count"].reindex(ids, fill_value=0).to_numpy()
    frame[names.mean] = measured["mean"].reindex(ids).to_numpy()
    return frame


def _experiments(state: State, runs: list[str] | None, ids: list[str]) -> pd.DataFrame:
    """Run, id, inputs and cost."""
    names = sheet_names(state)
    frame = state.table.loc[ids].reset_index(drop=True)
    frame.insert(0, names.id, _texts(ids))
    if runs is not None:
        frame.insert(0, names.run, _texts(runs))
    if state.costs is not None and state.created.cost is not None:
        frame[state.created.cost] = state.costs[state.table.index.get_indexer(pd.Index(ids))]
    return frame


def _predict(frame: pd.DataFrame, names: Names, suggestions: Sequence[Suggestion | None]) -> None:
    frame[names.predicted] = _floats(s.mean if s else None for s in suggestions)
    frame[names.low] = _floats(s.low if s else None for s in suggestions)
    frame[names.high] = _floats(s.high if s else None for s in suggestions)


def _predict_others(
    frame: pd.DataFrame, names: Names, suggestions: Sequence[Suggestion | None]
) -> None:
    """What was predicted of further outcomes."""
    for outcome, columns in names.others.items():
        found = [s.others.get(outcome) if s else None for s in suggestions]
        for column, key in zip(columns, ("mean", "low", "high"), strict=True):
            frame[column] = _floats(getattr(p, key) if p else None for p in found)


def predicted_frame(state: State, expected: Sequence[Suggestion]) -> pd.DataFrame:
    """All candidates, with what is expected of each.

    Args:
        state: the campaign.
        expected: of each candidate, in their order.
    """
    names, frame = sheet_names(state), _candidates(state)
    _predict(frame, names, expected)
    frame[names.chance] = _floats(s.chance for s in expected)
    _predict_others(frame, names, expected)
    if state.limits:
        frame[names.limits] = _floats(s.limits for s in expected)
    return frame


def _plan_of(state: State, run: str) -> Planned | None:
    """The plan of a run, or of the run that this one repeats."""
    return state.plans.get(run) or state.plans.get(run.rpartition("~")[0])


def _floats(numbers: Iterable[float | None]) -> pd.Series:
    return pd.Series([np.nan if n is None else n for n in numbers], dtype="float64")


def _texts(texts: Iterable[str]) -> pd.Series:
    return pd.Series(list(texts), dtype="str")


def _plain(column: pd.Series) -> list[Any]:
    """Cells as JSON has them; null where blank."""
    return [None if gone else v for v, gone in zip(column.tolist(), column.isna(), strict=True)]
