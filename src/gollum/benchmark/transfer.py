"""Results of other tasks that a run may learn from."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gollum.benchmark.spec import RunConfig, TransferConfig
from gollum.data.catalog import get_task
from gollum.data.pool import Pool, cell_text, check_columns
from gollum.data.source import SourceTask
from gollum.features.fixed.columns import partition
from gollum.features.problem import Problem


def with_sources(problem: Problem, config: RunConfig) -> Problem:
    """The problem with some results of each source task, which the seed draws.

    Raises:
        DataError: a task is unknown, or its table can't be had.
    """
    keys, seed = config.transfer, config.seed
    drawn = [_drawn(problem, name, keys, seed) for name in keys.sources or ()]
    if keys.form == "rankings":
        drawn = [ranking for source in drawn for ranking in _rankings(problem, source)]
    return replace(problem, sources=tuple(drawn)) if drawn else problem


def _rankings(problem: Problem, source: SourceTask) -> Iterator[SourceTask]:
    """Options of each column by their mean result, as a chemist may remember them."""
    seen = set[bytes]()
    for column in problem.pool.table.columns:
        if column not in source.table or column in problem.pool.numeric_columns():
            continue
        cells = source.table[column].map(cell_text)
        parts = partition(cells)
        options = problem.pool.table[column].map(cell_text)
        if parts is None or parts in seen or not cells.isin(options).any():
            continue
        seen.add(parts)
        ranks = pd.Series(source.utility, index=source.table.index).groupby(cells).mean().rank()
        table = pd.DataFrame({column: ranks.index.astype("str")})
        name = f"{source.name} on {column}"
        yield SourceTask(name, table, np.array(ranks, dtype=np.float64), comparable=False)


def _drawn(problem: Problem, name: str, keys: TransferConfig, seed: int) -> SourceTask:
    task, target = get_task(name), problem.pool
    pool = task.load().labelled()
    key = int.from_bytes(hashlib.sha256(name.encode()).digest()[:4], "little")
    rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(0, 6, key)))
    rows = np.flatnonzero(_known(problem, pool, keys.unseen, seed))
    rows = np.sort(rng.permutation(rows)[: keys.results or len(rows)])
    utility = pool.utility[rows]
    control = keys.control if name in (keys.controlled or keys.sources or ()) else "none"
    if control == "permuted_labels":
        utility = rng.permutation(utility)
    if control == "inverted_labels":
        utility = utility.max() + utility.min() - utility
    numbers = {*pool.numeric_columns()} ^ {*target.numeric_columns()}
    unlike = [c for c in pool.table.columns if c in numbers and c in target.table.columns]
    table = pool.table.iloc[rows].drop(columns=unlike)
    same = (pool.objective, pool.direction, task.unit) == (
        target.objective, target.direction, problem.unit,
    )  # fmt: skip
    return SourceTask(name, table, utility.copy(), comparable=same)


def _known(problem: Problem, pool: Pool, column: str | None, seed: int) -> NDArray[np.bool_]:
    """Of each row of a source, whether its level of a column is one that sources may have.

    Raises:
        DataError: the target has no such column.
    """
    if column is None or column not in pool.table.columns:
        return np.ones(len(pool), dtype=bool)
    check_columns(problem.pool.table, [column], problem.pool.name)
    levels = sorted(map(cell_text, problem.pool.table[column].unique()))
    rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(0, 7)))
    unseen = set(rng.permutation(levels)[: len(levels) // 2].tolist())
    found: NDArray[np.bool_] = (~pool.table[column].map(cell_text).isin(unseen)).to_numpy()
    return found
