"""A campaign as one HTML file: pictures inside, no network and no script needed to read it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Sequence
from typing import TYPE_CHECKING, Any, assert_never

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gollum import __version__
from gollum.analysis.cross_validation import shares_inside
from gollum.campaign.advice import best, progress
from gollum.campaign.calibration import INTERVAL
from gollum.campaign.events import (
    Added,
    Avoided,
    Configured,
    Created,
    Event,
    Learned,
    Recorded,
    Renamed,
    Result,
    Retold,
    Suggested,
)
from gollum.campaign.front import Front, front_of
from gollum.campaign.sheets import head, sheet_names
from gollum.campaign.state import Logged, State
from gollum.campaign.trust import RANDOM, named
from gollum.data.outcomes import spelt, wanted_lines
from gollum.data.pool import cell_text
from gollum.report import html
from gollum.report.campaign import pictures
from gollum.report.campaign.status import (
    all_limit_words,
    conditions,
    counts,
    foreseen,
    front_words,
    slot_words,
    telling,
    wanted,
    written_like,
)
from gollum.report.drawing import shortened

if TYPE_CHECKING:
    from gollum.campaign.insights import Insights

FEWEST_FOR_CALIBRATION = 5  # predictions
LEVELS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95)
LEAST_SHARE = 0.01  # of what tells experiments apart, that is worth a row
LONGEST = 10  # values shown of one column


def render(state: State, log: Sequence[Logged], insights: Insights | None) -> str:
    """The page; whatever comes from the campaign is escaped."""
    environment = html.environment("gollum.report.campaign")
    environment.filters |= filters(state, insights)
    return environment.get_template("campaign.html").render(content(state, log, insights))


def filters(state: State, insights: Insights | None) -> dict[str, Callable[..., str]]:
    """How the numbers of a campaign are written on its pages."""
    return {
        "value": written_like(progress(state)["value"]),
        "named": named,
        "percent": lambda share: "–" if np.isnan(share) else f"{100 * share:.0f} %",
        "figure": lambda number: "–" if np.isnan(number) else f"{number:.2f}",
        "error": written_like([0.0, *(insights.trust.errors["rmse"] if insights else ())]),
        "gain": written_like([0.0, *(insights.advice.candidates["gain"] if insights else ())]),
        "shortened": shortened,
    }


def content(state: State, log: Sequence[Logged], insights: Insights | None) -> dict[str, Any]:
    """What there is to show of a campaign, by the names of the template."""
    table, tested = progress(state), outcomes(state)
    columns = telling(state)
    top = best(state)
    return {
        "state": state,
        "insights": insights,
        "goal": wanted(state),
        "counts": counts(state),
        "best": top,
        "best_conditions": conditions(state, top.id, columns) if top else [],
        "tested": tested,
        "pictures": _pictures(state, table, tested, insights),
        "effects": _effects(state, insights, columns),
        "columns": [head(state, column) for column in columns],
        "pending": [(p, _cells(state, p.suggestion.id, columns)) for p in state.pending()],
        "further": [name for name in sheet_names(state).others if _predicted(state, name)],
        "results": _results(state, columns),
        "repeats": _repeats(state),
        "promising": _promising(state, insights, columns),
        "sources": _sources(state),
        "foreseen": foreseen(state),
        "weights": _weights(insights),
        "averaged": any(
            low < high for _, low, high in (insights.weights if insights else {}).values()
        ),
        "provenance": _provenance(state, log, insights),
        "several": _several(state, columns),
        "limits": all_limit_words(state, written_like(progress(state)["value"])),
        "front_sought": state.seeks_front,
        "events": [(entry, describe(entry.event)) for entry in log],
        "version": __version__,
    }


def _predicted(state: State, outcome: str) -> bool:
    """Whether anything pending has a prediction of a further outcome."""
    return any(outcome in p.suggestion.others for p in state.pending())


def _several(state: State, columns: Sequence[str]) -> dict[str, Any]:
    """What there is to say of several outcomes; empty for a single one."""
    if len(state.outcomes) < 2:
        return {}
    means, found = state.means_of_all, front_of(state)
    names = [one.name for one in state.outcomes]
    wanted_of = [
        {
            "name": head(state, one.name),
            "goal": one.goal.words(),
            "bounds": spelt(one.bounds),
            "count": int(means[one.name].notna().sum()),
            "low": written_like(means[one.name])(means[one.name].min()),
            "high": written_like(means[one.name])(means[one.name].max()),
        }
        for one in state.outcomes
    ]
    told = {"wanted": wanted_of}
    empty = {"panels": [], "volume": "", "parallel": "", "members": [], "names": names, "words": []}
    if found is None:
        return told | empty
    members = [
        {
            "id": candidate,
            "values": [f"{row[name]:.6g}" if row[name] == row[name] else "–" for name in names],
            "cells": _cells(state, str(candidate), columns),
        }
        for candidate, row in found.members.iterrows()
    ]
    return told | empty | {
        "words": front_words(found)[-1:],
        "panels": _panels(state, found),
        "volume": pictures.volume(found.table["volume"].to_numpy(dtype=np.float64)),
        "parallel": _parallel(state, found),
        "lines": [head(state, o.name) for o in (*found.outcomes, *state.limits)],
        "members": members,
    }  # fmt: skip


def _panels(state: State, found: Front) -> list[dict[str, str]]:
    """The first objective against each further objective and limit."""
    first, table = found.outcomes[0], found.table
    feasible, members = (table[name].to_numpy(dtype=bool) for name in ("feasible", "front"))
    panels = []
    for other in (*found.outcomes[1:], *state.limits):
        x, y = (table[o.name].to_numpy(dtype=np.float64) for o in (first, other))
        whole = len(found.outcomes) == 2 and other.goal.pursued
        whole &= all(o.goal.kind != "target" for o in found.outcomes)
        ends = [e for e in (other.goal.low, other.goal.high) if e is not None]
        svg = pictures.front(x, y, feasible, members, first.goal.sign * whole, ends)
        title = f"{head(state, first.name)} (across) against {head(state, other.name)} (up)"
        panels.append({"title": title, "svg": svg})
    return panels


def _parallel(state: State, found: Front) -> str:
    """Objectives and limits side by side, where there are three or more."""
    outcomes = [*found.outcomes, *state.limits]
    rows = found.table.dropna(subset=[o.name for o in outcomes])
    if len(outcomes) < 3 or not len(rows):
        return ""
    values = rows[[o.name for o in outcomes]].to_numpy(dtype=np.float64)
    return pictures.parallel(
        values, [o.goal.sign for o in outcomes], rows["front"].to_numpy(dtype=bool)
    )


def outcomes(state: State) -> pd.DataFrame:
    """Suggestions with a prediction, and what was measured.

    Returns:
        Columns run, id, observed, mean, low, high, inside; a repeat has the prediction of the
        suggestion that it repeats.
    """
    rows = []
    for run, measurement in state.measurements.items():
        result = measurement.result
        plan = state.plans.get(run) or state.plans.get(run.split("~")[0])
        observed = result.values.get(state.created.objective)
        if plan is None or plan.suggestion.id != result.id or result.status != "measured":
            continue
        mean, low, high = (getattr(plan.suggestion, key) for key in ("mean", "low", "high"))
        if None not in (observed, mean, low, high):
            rows.append((run, result.id, observed, mean, low, high, low <= observed <= high))
    columns = ["run", "id", "observed", "mean", "low", "high", "inside"]
    return pd.DataFrame(rows, columns=columns)


def describe(event: Event) -> str:
    """What happened, a few words."""
    match event:
        case Created():
            source = f" with candidates of {event.source.name}" if event.source else ""
            return f"begun{source}"
        case Suggested():
            by = event.surrogate or "first design"
            return f"batch {event.batch}: {len(event.suggestions)} suggested ({by})"
        case Recorded():
            source = f" from {event.source.name}" if event.source else ""
            joined = f", {len(event.joined.ids)} new candidates" if event.joined else ""
            return f"{len(event.results)} results{source}{joined}"
        case Avoided():
            what = f"{event.column or 'id'}: {', '.join([*event.values, *map(str, event.spans)])}"
            reason = f" ({event.reason})" if event.reason else ""
            return f"{what} {'allowed again' if event.lifted else 'avoided'}{reason}"
        case Added():
            source = f" from {event.source.name}" if event.source else ""
            new = [f"column {c} ({v} so far)" for c, v in event.columns.items()]
            new += [f"{len(event.joined.ids)} candidates{source}"] if event.joined else []
            return f"added: {', '.join(new)}"
        case Renamed():
            names = ", ".join(f"{old} is {new} now" for old, new in event.names.items())
            return f"{event.column}: {names}"
        case Learned():
            if event.forgotten:
                return f"{event.name} is not learned from any more"
            return f"learns from {len(event.values)} results of {event.name}"
        case Retold():
            return "template replaced"
        case Configured():
            changes = [f"{k} {'as preset' if v is None else v}" for k, v in event.keys.items()]
            if event.failed_as is not None:
                changes.append(f"a failed experiment counts as {cell_text(event.failed_as)}")
            if event.goal is not None:
                changes.append(f"the goal is {event.goal.words()}")
            if event.failed_words is not None:
                words = ", ".join(event.failed_words) or "no words besides the usual ones"
                changes.append(f"failed experiments say {words}")
            for column, order in (event.orders or {}).items():
                changes.append(f"{column} has the order {' < '.join(order)}")
            changes += wanted_lines(event.outcomes)
            return f"from now on: {', '.join(changes)}"
        case _:
            assert_never(event)


def _pictures(
    state: State, table: pd.DataFrame, tested: pd.DataFrame, insights: Insights | None
) -> dict[str, str]:
    svg = {"progress": "", "tested": "", "left_out": "", "calibration": ""}
    if table["value"].notna().any():
        svg["progress"] = pictures.progress(table, state.created.goal.target)
    if len(tested):
        svg["tested"] = pictures.predictions(tested)
    left_out = _left_out(insights, state.scale().inside)
    if len(left_out):
        svg["left_out"] = pictures.predictions(left_out)
    curves = {
        name: _shares(predicted)
        for name, predicted in (("suggestions", tested), ("left out", left_out))
        if len(predicted) >= FEWEST_FOR_CALIBRATION
    }
    if curves:
        svg["calibration"] = pictures.calibration(LEVELS, curves)
    return svg


def _left_out(
    insights: Insights | None, inside: Callable[[NDArray[np.float64]], NDArray[np.float64]]
) -> pd.DataFrame:
    """Predictions of left-out measurements by the language model (else by the first model)."""
    if insights is None:
        return pd.DataFrame()
    trust = insights.trust
    models = [m for m in trust.errors["method"] if m != RANDOM]
    chosen = trust.language or next(iter(models), None)
    rows = trust.predictions[trust.predictions["method"] == chosen]
    half = INTERVAL * rows["deviation"]
    low, high = rows["mean"] - half, rows["mean"] + half
    return rows.assign(low=inside(low.to_numpy()), high=inside(high.to_numpy()))


def _shares(predicted: pd.DataFrame) -> np.ndarray:
    y, mean, low, high = (
        predicted[c].to_numpy(dtype=np.float64) for c in ("observed", "mean", "low", "high")
    )
    return shares_inside(y, mean, ((high - low) / (2 * INTERVAL)) ** 2, LEVELS)


def _sources(state: State) -> list[dict[str, Any]]:
    """What is learned from, and how much each said in the last batch."""
    trust = state.batches[-1].trust if state.batches else {}
    together = [name for name in trust if name not in state.sources]
    found = []
    for name in [*together, *state.sources]:
        source = state.sources.get(name)
        joined = "" if source is None else ", ".join(source.matched) or "words"
        results = None if source is None else len(source.values)
        found.append({"name": name, "results": results, "joined": joined, "trust": trust.get(name)})
    return found


def _weights(insights: Insights | None) -> list[dict[str, Any]]:
    """What tells experiments apart, largest first; what does less than 1 % of it is left out."""
    found = [] if insights is None else sorted(insights.weights.items(), key=lambda w: -w[1][0])
    return [
        {**slot_words(slot), "share": share, "low": low, "high": high}
        for slot, (share, low, high) in found
        if share >= LEAST_SHARE
    ]


def _effects(
    state: State, insights: Insights | None, columns: Sequence[str]
) -> list[dict[str, Any]]:
    """For each column, the strongest first: its values by effect, with bars in percent."""
    if insights is None:
        return []
    effects = insights.effects[insights.effects["column"].isin(columns)]
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


def _cells(state: State, candidate: str, columns: Sequence[str]) -> list[str]:
    row = state.table.loc[candidate]
    return [cell_text(row[column]) for column in columns]


def _results(state: State, columns: Sequence[str]) -> list[dict[str, Any]]:
    """All results, the latest first, with the values they had before a correction."""
    objective = state.created.objective
    often = Counter(m.result.id for m in state.with_status("measured"))
    return [
        {
            "run": run,
            "result": m.result,
            "value": m.result.values.get(objective),
            "said": m.result.said.get(objective),
            "also": [_also(m.result, name) for name in state.created.also],
            "cells": _cells(state, m.result.id, columns),
            "repeated": often[m.result.id] > 1,
            "asked": state.asked(run) if state.otherwise(m.result) else None,
            "earlier": [(e.status, e.values.get(objective)) for e in m.earlier],
            "day": m.time[:10],
        }
        for run, m in reversed(state.measurements.items())
    ]


def _also(result: Result, name: str) -> str:
    """A further result as it is shown."""
    value = result.values.get(name)
    return result.said.get(name) or ("–" if value is None else f"{value:.6g}")


def _repeats(state: State) -> list[dict[Hashable, Any]]:
    """Experiments measured more than once: mean and spread."""
    table = state.measured()
    return table[table["count"] > 1].rename_axis("id").reset_index().to_dict("records")


def _promising(
    state: State, insights: Insights | None, columns: Sequence[str]
) -> list[dict[Hashable, Any]]:
    if insights is None:
        return []
    rows = insights.advice.candidates.to_dict("records")
    return [{**row, "cells": _cells(state, row["id"], columns)} for row in rows]


def _provenance(
    state: State, log: Sequence[Logged], insights: Insights | None
) -> list[tuple[str, str]]:
    """What it takes to tell where the figures come from."""
    created, policy = state.created, state.policy
    last = state.batches[-1] if state.batches else None
    versions = ", ".join(dict.fromkeys(entry.version for entry in log))
    source = created.source
    rows = [
        ("candidates", f"{source.name}, sha256 {source.sha256}" if source else ""),
        ("table of candidates", f"sha256 {created.candidates}"),
        ("surrogate", f"{policy.surrogate}, preset {policy.preset}"),
        ("kernel", policy.kernel or ""),
        ("acquisition", policy.acquisition),
        ("language model", policy.model.name if policy.has_model else ""),
        ("its weights", f"sha256 {last.revision}" if last and last.revision else ""),
        ("text of an experiment", state.template),
        ("a failed experiment", _failed(created)),
        ("outcomes", "; ".join(wanted_lines(created.outcomes))),
        ("seed", str(created.seed)),
        ("events", str(state.sequence)),
        ("written by gollum", versions),
        ("this page", f"gollum {__version__}"),
    ]
    if insights is not None:
        rows += [(f"fitted {k}", f"{v:.4g}") for k, v in insights.hyperparameters.items()]
    return [(name, text) for name, text in rows if text]


def _failed(created: Created) -> str:
    if created.failed_as is None:
        return "is left out of the model"
    return f"counts as {cell_text(created.failed_as)} in the model"
