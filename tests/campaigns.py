"""Campaigns that never took place."""

import numpy as np
import pandas as pd

from gollum.campaign.events import Created, Recorded, Result, Suggested, Suggestion
from gollum.campaign.state import Logged, State


def candidates(count=12):
    """A category, a number and a structure; ids r1, r2, …"""
    return pd.DataFrame(
        {
            "ligand": [("XPhos", "SPhos", "dppf")[i % 3] for i in range(count)],
            "hours": np.arange(count, dtype=float),
            "substrate": ["C" * (1 + i % 4) + "O" for i in range(count)],
        },
        index=pd.Index([f"r{i + 1}" for i in range(count)], name="id"),
    )


def campaign(table, *events, **created):
    """The state after some events, and their log."""
    first = Created(
        **{
            "name": "demo",
            "objective": "yield",
            "template": "{ligand} for {hours} h",
            "surrogate": "pllm",
            "preset": "fast",
            "model": "minilm",
            "candidates": "0" * 64,
        }
        | created
    )
    log = [
        Logged(number, f"2026-03-{1 + number % 28:02}T09:30:00+00:00", "0.1.0", event)
        for number, event in enumerate((first, *events), start=1)
    ]
    return State.of(log, lambda sha256: table), log


def recorded(*results):
    """Results as (run, id, value or status)."""
    found = []
    for run, candidate, what in results:
        if isinstance(what, str):
            found.append(Result(run=run, id=candidate, status=what))
        else:
            values = {} if what is None else {"yield": float(what)}
            found.append(Result(run=run, id=candidate, status="measured", values=values))
    return Recorded(results=tuple(found))


def measured(values):
    """One result for each id of a mapping."""
    return recorded(*((candidate, candidate, value) for candidate, value in values.items()))


def suggested(*rows, batch=1, surrogate="pllm"):
    """Suggestions as (run, id, mean, low, high), or (run, id) without a prediction."""
    found = []
    for run, candidate, *predicted in rows:
        mean, low, high = predicted or (None, None, None)
        found.append(Suggestion(run=run, id=candidate, mean=mean, low=low, high=high))
    return Suggested(
        batch=batch, basis=1, asked=len(rows), suggestions=tuple(found), surrogate=surrogate
    )
