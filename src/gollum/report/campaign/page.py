"""A campaign as one HTML file: pictures inside, no network and no script needed to read it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Hashable, Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any, assert_never

import numpy as np

from gollum import __version__
from gollum.campaign.advice import best, progress
from gollum.campaign.events import (
    Added,
    Avoided,
    Configured,
    Created,
    Event,
    Learned,
    Placed,
    Prediction,
    Recorded,
    Renamed,
    Result,
    Retold,
    Suggested,
    Suggestion,
)
from gollum.campaign.front import Front, front_of
from gollum.campaign.sheets import head, sheet_names
from gollum.campaign.state import Logged, Measurement, State
from gollum.campaign.trust import named
from gollum.data.outcomes import spelt, wanted_lines
from gollum.data.pool import cell_text
from gollum.report import html
from gollum.report.campaign import pictures
from gollum.report.campaign.learned import views
from gollum.report.campaign.status import (
    all_limit_words,
    conditions,
    counts,
    foreseen,
    telling,
    volume_words,
    wanted,
    written_like,
)
from gollum.report.drawing import shortened

if TYPE_CHECKING:
    from gollum.campaign.insights import Insights

SHORT = 24  # letters of a cell that is not wrapped


def render(state: State, log: Sequence[Logged], insights: Insights | None) -> str:
    """The page; whatever comes from the campaign is escaped."""
    environment = html.environment("gollum.report.campaign")
    environment.filters |= filters(state)
    return environment.get_template("campaign.html").render(content(state, log, insights))


def filters(state: State) -> dict[str, Callable[..., str]]:
    """How the numbers of a campaign are written on its pages."""
    return {
        "value": written_like(progress(state)["value"]),
        "named": named,
        "percent": lambda share: "–" if np.isnan(share) else f"{100 * share:.0f} %",
        "share": lambda share: "< 1 %" if 0 < share < 0.005 else f"{100 * share:.0f} %",
        "figure": lambda number: "–" if np.isnan(number) else f"{number:.2f}",
        "gain": _gains(state),
        "shortened": shortened,
        "kind": lambda text: "short" if len(text) <= SHORT else "",
    }


def content(
    state: State,
    log: Sequence[Logged],
    insights: Insights | None,
    wanted_parts: Collection[str] | None = None,
) -> dict[str, Any]:
    """What there is to show of a campaign, by the names of the template.

    Args:
        state: the campaign.
        log: all events.
        insights: what a model has learned.
        wanted_parts: the names that a page needs; all by default.
    """
    columns, top = telling(state), best(state)
    writers = cache(lambda: writers_of(state))
    parts: dict[str, Callable[[], Any]] = {
        "state": lambda: state,
        "insights": lambda: insights,
        "goal": lambda: wanted(state),
        "counts": lambda: counts(state),
        "best": lambda: top,
        "best_conditions": lambda: conditions(state, top.id, columns) if top else [],
        "views": lambda: views(state, insights, columns),
        "columns": lambda: [head(state, column) for column in columns],
        "pending": lambda: _pending(state, writers(), columns),
        "further": lambda: [n for n in sheet_names(state).others if _predicted(state, n)],
        "results": lambda: _results(state, columns),
        "repeats": lambda: _repeats(state),
        "promising": lambda: _promising(state, insights, writers(), columns),
        "sources": lambda: _sources(state),
        "foreseen": lambda: foreseen(state),
        "provenance": lambda: _provenance(state, log, insights),
        "several": lambda: _several(state, writers(), columns),
        "limits": lambda: all_limit_words(state, written_like(progress(state)["value"])),
        "front_sought": lambda: state.seeks_front,
        "events": lambda: [(entry, describe(entry.event)) for entry in log],
        "version": lambda: __version__,
    }
    return {name: parts[name]() for name in (parts if wanted_parts is None else wanted_parts)}


def writers_of(state: State) -> dict[str, Callable[[float | None], str]]:
    """How values of each outcome and further result are written."""
    results = [m.result.values for m in state.with_status("measured")]
    names = dict.fromkeys((*(o.name for o in state.outcomes), *state.created.also))
    return {
        name: written_like(
            [values[name] for values in results if name in values]
            or state.means_of_all.get(name, [])
        )
        for name in names
    }


def _gains(state: State) -> Callable[[float], str]:
    """How gains are written: with a digit more than results, and what is smaller as such."""
    write = written_like(progress(state)["value"] / 10)

    def gain(value: float) -> str:
        text, zero = write(value), write(0.0)
        return f"< {zero[:-1]}1" if text == zero and value > 0 else text

    return gain


def _between(write: Callable[[float | None], str], low: float | None, high: float | None) -> str:
    """An interval, or a value that is certain."""
    ends = dict.fromkeys((write(low), write(high)))
    return " to ".join(ends)


def _predicted(state: State, outcome: str) -> bool:
    """Whether anything pending has a prediction of a further outcome."""
    return any(outcome in p.suggestion.others for p in state.pending())


def _several(
    state: State, writers: Mapping[str, Callable[[float | None], str]], columns: Sequence[str]
) -> dict[str, Any]:
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
            "low": writers[one.name](means[one.name].min()),
            "high": writers[one.name](means[one.name].max()),
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
            "values": [writers[name](row[name]) for name in names],
            "cells": _cells(state, str(candidate), columns),
        }
        for candidate, row in found.members.iterrows()
    ]
    return told | empty | {
        "words": volume_words(found),
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
            what = ", ".join(map(str, event.together)) or what
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
        case Placed():
            return f"{len(event.wells)} experiments placed on a plate of {event.size} wells"
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
            if event.prices is not None:
                changes.append(f"prices of {', '.join(event.prices) or 'nothing'}")
            changes += wanted_lines(event.outcomes)
            return f"from now on: {', '.join(changes)}"
        case _:
            assert_never(event)


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


def _cells(state: State, candidate: str, columns: Sequence[str]) -> list[str]:
    row = state.table.loc[candidate]
    return [cell_text(row[column]) for column in columns]


def _pending(
    state: State, writers: Mapping[str, Callable[[float | None], str]], columns: Sequence[str]
) -> list[dict[str, Any]]:
    """What is in the laboratory, with what is predicted of each outcome."""
    rows = []
    for plan in state.pending():
        s = plan.suggestion
        said: dict[str, Suggestion | Prediction] = {state.objective.name: s, **s.others}
        intervals = {name: _between(writers[name], one.low, one.high) for name, one in said.items()}
        rows.append({"s": s, "intervals": intervals, "cells": _cells(state, s.id, columns)})
    return rows


def _results(state: State, columns: Sequence[str]) -> list[dict[str, Any]]:
    """All results, the latest first, with the values they had before a correction."""
    objective, also, writers = state.created.objective, state.created.also, writers_of(state)
    often = Counter(m.result.id for m in state.with_status("measured"))
    return [
        {
            "run": run,
            "result": m.result,
            "values": [
                with_earlier(m, name, objective, writers[name]) for name in (objective, *also)
            ],
            "cells": _cells(state, m.result.id, columns),
            "repeated": often[m.result.id] > 1,
            "asked": state.asked(run) if state.otherwise(m.result) else None,
            "day": m.time[:10],
        }
        for run, m in reversed(state.measurements.items())
    ]


def with_earlier(
    measurement: Measurement, name: str, objective: str, write: Callable[[float | None], str]
) -> tuple[list[str], str]:
    """What was said of an outcome before it was corrected, and what is said now.

    Args:
        measurement: the results of a run.
        name: of the outcome.
        objective: the outcome at which it is also told that there was no result.
        write: how its values are written, and none.
    """

    def told(result: Result) -> str:
        return result.said.get(name) or write(result.values.get(name))

    had = list[str]()
    for earlier in measurement.earlier:
        if name in earlier.values or name in earlier.said:
            had.append(told(earlier))
        elif name == objective and earlier.status != "measured":
            had.append(earlier.status)
    now = told(measurement.result)
    return [old for old, new in zip(had, [*had, now][1:], strict=True) if old != new], now


def _repeats(state: State) -> list[dict[Hashable, Any]]:
    """Experiments measured more than once: mean and spread."""
    table = state.measured()
    return table[table["count"] > 1].rename_axis("id").reset_index().to_dict("records")


def _promising(
    state: State,
    insights: Insights | None,
    writers: Mapping[str, Callable[[float | None], str]],
    columns: Sequence[str],
) -> list[dict[Hashable, Any]]:
    """The open candidates of the largest gain, with what is predicted of each outcome."""
    if insights is None:
        return []
    advice = insights.advice
    rows = advice.candidates.to_dict("records")
    return [
        {
            **row,
            "others": [
                _between(writers[name], *table.loc[i, ["low", "high"]])
                for name, table in advice.further.items()
            ],
            "limits": None if advice.limits is None else float(advice.limits[i]),
            "cells": _cells(state, row["id"], columns),
        }
        for i, row in enumerate(rows)
    ]


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
