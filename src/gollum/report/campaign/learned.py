"""What there is to show of each outcome: how it went, whether predictions were right, what counts.

Shared by all outcomes of a campaign, so that a second objective is shown as the first one is.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from gollum.analysis.cross_validation import shares_inside
from gollum.analysis.metrics import INTERVAL
from gollum.campaign.advice import progress, progress_of
from gollum.campaign.sheets import head
from gollum.campaign.state import State
from gollum.data.outcomes import UNBOUNDED, Bounds, Outcome
from gollum.report.campaign import pictures
from gollum.report.campaign.status import slot_words, written_like

if TYPE_CHECKING:
    from gollum.campaign.insights import Insights, Learned

FEWEST_FOR_CALIBRATION = 5  # predictions
LEVELS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95)
LEAST_SHARE = 0.01  # of what tells experiments apart, that is worth a row
LONGEST = 10  # values shown of one column


def views(state: State, insights: Insights | None, columns: Sequence[str]) -> list[dict[str, Any]]:
    """What the page shows of each outcome that is not known in advance, the objective first."""
    learned = {found.outcome.name: found for found in (insights.learned if insights else ())}
    return [
        _view(state, outcome, learned.get(outcome.name), columns)
        for outcome in state.outcomes
        if state.known(outcome) is None
    ]


def outcomes(state: State, outcome: Outcome | None = None) -> pd.DataFrame:
    """Suggestions with a prediction, and what was measured.

    Args:
        state: the campaign.
        outcome: what was predicted; the objective by default.

    Returns:
        Columns run, id, observed, mean, low, high, inside; a repeat has the prediction of the
        suggestion that it repeats.
    """
    name, rows = (outcome or state.objective).name, []
    for run, measurement in state.measurements.items():
        result = measurement.result
        plan = state.plans.get(run) or state.plans.get(run.split("~")[0])
        observed = result.values.get(name)
        if plan is None or plan.suggestion.id != result.id or result.status != "measured":
            continue
        first = name == state.objective.name
        said: Any = plan.suggestion if first else plan.suggestion.others.get(name)
        mean, low, high = (getattr(said, key, None) for key in ("mean", "low", "high"))
        if observed is not None and mean is not None and low is not None and high is not None:
            rows.append((run, result.id, observed, mean, low, high, low <= observed <= high))
    columns = ["run", "id", "observed", "mean", "low", "high", "inside"]
    return pd.DataFrame(rows, columns=columns)


def _view(
    state: State, outcome: Outcome, learned: Learned | None, columns: Sequence[str]
) -> dict[str, Any]:
    first = outcome.name == state.objective.name
    table = progress(state) if first else progress_of(state, outcome)
    tested = outcomes(state, outcome)
    weights = {} if learned is None else learned.weights
    return {
        "name": head(state, outcome.name),
        "tested": tested,
        "pictures": _pictures(state, outcome, table, tested, learned),
        "trust": None if learned is None else learned.trust,
        "error": written_like([0.0, *([] if learned is None else learned.trust.errors["rmse"])]),
        "effects": _effects(state, learned, columns),
        "chart": None if learned is None else _chart(state, learned),
        "weights": _weights(weights),
        "unshown": len(weights) - len(_weights(weights)),
        "averaged": any(low < high for _, low, high in weights.values()),
    }


def _pictures(
    state: State,
    outcome: Outcome,
    table: pd.DataFrame,
    tested: pd.DataFrame,
    learned: Learned | None,
) -> dict[str, str]:
    svg = {"progress": "", "tested": "", "left_out": "", "calibration": ""}
    goal = outcome.goal
    if table["value"].notna().any():
        ends = [end for end in (goal.target, goal.low, goal.high) if end is not None]
        svg["progress"] = pictures.progress(table, ends, len(state.outcomes) > 1)
    if len(tested):
        svg["tested"] = pictures.predictions(tested)
    left_out = pd.DataFrame() if learned is None else learned.left_out
    if len(left_out):
        svg["left_out"] = pictures.predictions(left_out)
    curves = {
        name: _shares(predicted, outcome.bounds)
        for name, predicted in (("suggestions", tested), ("left out", left_out))
        if len(predicted) >= FEWEST_FOR_CALIBRATION
    }
    if curves:
        svg["calibration"] = pictures.calibration(LEVELS, curves)
    return svg


def _shares(predicted: pd.DataFrame, bounds: Bounds = UNBOUNDED) -> np.ndarray:
    """For each of `LEVELS`, the share of results inside; at 95 % those between low and high.

    Each side of an interval is scaled by itself from the 95 % that is told. That is exact for a
    normal variable without bounds. Of a side that ends at a bound, where it was clipped, the width
    is `reach` if that is known, else the other side's, if that is wider. Approximations: a mean
    that is clipped itself is taken for the centre, and an interval that is clipped at both ends
    for one that just reaches the farther of them.

    Args:
        predicted: observed, mean, low, high, and reach if it is known (half the width of the 95 %
            interval without bounds).
        bounds: between which values lie.
    """
    y, mean, low, high = (
        predicted[c].to_numpy(dtype=np.float64) for c in ("observed", "mean", "low", "high")
    )
    above, within = y >= mean, (low <= y) & (y <= high)
    own, other = np.where(above, (high - mean, mean - low), (mean - low, high - mean))
    end = np.where(above, high, low)
    clipped = np.isin(end, [bound for bound in bounds if bound is not None])
    whole = predicted["reach"].to_numpy(dtype=np.float64) if "reach" in predicted else other
    reach = np.where(clipped, np.maximum(own, whole), own)
    off = np.abs(y - mean) / np.maximum(reach, np.finfo(np.float64).tiny)
    off = np.where(within, np.minimum(off, 1.0 - 1e-9), np.inf)
    return shares_inside(INTERVAL * off, np.zeros_like(y), np.ones_like(y), LEVELS)


def _chart(state: State, learned: Learned) -> dict[str, Any] | None:
    """Predictions by the two columns that matter most, each with its shade from 0 to 1."""
    if learned.chart.empty:
        return None
    names = list(map(str, learned.chart.columns))
    numbers = learned.chart[names[1:]].to_numpy(dtype=np.float64)
    low, high = float(np.nanmin(numbers)), float(np.nanmax(numbers))
    write, width = written_like([low, high, *numbers[0]]), (high - low) or 1.0
    rows = [
        (value, [(None if np.isnan(n) else write(n), (n - low) / width) for n in row])
        for value, row in zip(learned.chart[names[0]], numbers.tolist(), strict=True)
    ]
    return {"column": head(state, names[0]), "heads": names[1:], "rows": rows}


def _weights(weights: dict[str, tuple[float, float, float]]) -> list[dict[str, Any]]:
    """What tells experiments apart, largest first; what does less than 1 % of it is left out."""
    return [
        {**slot_words(slot), "share": share, "low": low, "high": high}
        for slot, (share, low, high) in sorted(weights.items(), key=lambda w: -w[1][0])
        if share >= LEAST_SHARE
    ]


def _effects(state: State, learned: Learned | None, columns: Sequence[str]) -> list[dict[str, Any]]:
    """For each column, the strongest first: its values by effect, with bars in percent."""
    if learned is None:
        return []
    effects = learned.effects[learned.effects["column"].isin(columns)]
    largest, write = float(effects["effect"].abs().max()) or 1.0, written_like(effects["effect"])
    found = []
    for column, rows in effects.groupby("column", sort=False):
        strongest = rows.loc[rows["effect"].abs().nlargest(LONGEST).index]
        shown = strongest.sort_values("effect", ascending=False, kind="stable")
        bars = [
            row | {"width": 50 * abs(e) / largest, "text": f"{'+' if e > 0 else ''}{write(e)}"}
            for row, e in zip(shown.to_dict("records"), shown["effect"], strict=True)
        ]
        span = float(np.ptp(rows["effect"].to_numpy()))
        found.append(
            {
                "column": head(state, str(column)),
                "bars": bars,
                "more": len(rows) - len(bars),
                "span": span,
            }
        )
    return sorted(found, key=lambda panel: -panel["span"])
