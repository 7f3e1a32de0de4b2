"""Which words of an experiment's text a prediction comes from: the text without each in turn."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gollum.analysis.learned.chemistry import Predicted
from gollum.features.problem import Problem
from gollum.surrogates.base import Surrogate
from gollum.text.template import Text

_WORDS = re.compile(r"\w")


def spans_of(text: Text) -> list[tuple[str, int, int]]:
    """The phrases of a text: what columns wrote, and the words around, as (column or '', from, to).

    What holds no letter or digit is no phrase.
    """
    found, end = list[tuple[str, int, int]](), 0
    for span in text.spans:
        found += [("", end, span.start), (span.column, span.start, span.end)]
        end = span.end
    found.append(("", end, len(text.text)))
    return [part for part in found if _WORDS.search(text.text[part[1] : part[2]])]


def attributions(
    build: Callable[[Problem], Surrogate],
    problem: Problem,
    ids: Sequence[str],
    utility: NDArray[np.float64],
    stream: Sequence[int],
    explained: Sequence[str],
    sign: float,
) -> pd.DataFrame:
    """By how much a prediction falls when a phrase is left out of the text.

    The model is fitted anew to the same measurements, with further rows whose texts lack a phrase
    each; they stand behind the candidates and are never measured.

    Args:
        build: makes the surrogate on a problem.
        problem: candidates whose texts a template wrote.
        ids: n measured candidates.
        utility: their n values.
        stream: names the random stream of the fit.
        explained: candidates to explain.
        sign: −1 where less is better.

    Returns:
        Columns id, position, phrase, column ('' for words around), prediction, effect (what the
        phrase adds to it) and deviation (of the effect).
    """
    if problem.template is None:
        raise ValueError("texts without a template have no phrases")
    pool, rows, texts = problem.pool, list[int](), list[str]()
    told = list[tuple[str, int, str, str]]()
    for position in pool.positions(explained):
        text = problem.template.render_row(pool, int(position))
        for number, (column, start, end) in enumerate(spans_of(text)):
            rows.append(int(position))
            texts.append(" ".join((text.text[:start] + text.text[end:]).split()))
            told.append((str(pool.ids[position]), number, text.text[start:end].strip(), column))
    fitted = build(extended(problem, rows, texts)).fit(ids, utility, stream)
    found = []
    for i, (candidate, number, phrase, column) in enumerate(told):
        both = Predicted(fitted, sign, np.array([rows[i], len(pool) + i], dtype=np.int64))
        effect, deviation = both.contrast(np.array([1.0, -1.0]))
        found.append((candidate, number, phrase, column, both.mean[0], effect, deviation))
    columns = ["id", "position", "phrase", "column", "prediction", "effect", "deviation"]
    return pd.DataFrame(found, columns=columns)


def extended(problem: Problem, rows: Sequence[int], texts: Sequence[str]) -> Problem:
    """The problem with copies of some rows behind it, which have other texts and no outcome."""
    pool = problem.pool
    taken, names = set(pool.ids.tolist()), list[str]()
    for number in range(len(pool) + len(rows)):
        if len(names) < len(rows) and (name := f"~{number}") not in taken:
            names.append(name)
    copies = pool.table.iloc[list(rows)].set_axis(pd.Index(names, name=pool.table.index.name))
    values = np.concatenate([pool.values, np.full(len(rows), np.nan)])
    grown = replace(pool, table=pd.concat([pool.table, copies]), values=values)
    reactions = problem.reactions
    if reactions is not None:
        reactions = (*reactions, *(reactions[row] for row in rows))
    return replace(problem, pool=grown, texts=(*problem.texts, *texts), reactions=reactions)
