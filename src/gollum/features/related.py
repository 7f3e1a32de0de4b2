"""Candidates and rows of source tasks in features that they have in common.

Where tasks differ in the levels of a column (each product has aryl halides of its own), absolute
features say mostly which task a row is from. What varies within a task is what another task can
tell about it, so such levels are described by how they differ from the others of their task: an
iodide from its chloride and bromide, whatever the rest of the molecule. Words do the same (the
analogies of Mikolov, Yih and Zweig, NAACL 2013).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gollum.data.pool import Pool
from gollum.data.source import SourceTask
from gollum.errors import DataError
from gollum.features.base import FixedFeatures
from gollum.features.fixed.columns import partition
from gollum.features.layout import Blocks, Encoders, Layout, Levels, Slot
from gollum.features.problem import Problem
from gollum.features.representations import Setup
from gollum.text.template import Template

Rows = NDArray[np.int64]


def together(problem: Problem, sources: Sequence[SourceTask]) -> tuple[Problem, Rows]:
    """Candidates, and after them the rows of source tasks, in the columns that all have.

    Columns that tell nothing apart within any task only say which task it is, and are left out.
    Texts are those of the candidates, and of each source in words of its own where it lacks a
    column of the template.

    Returns:
        The problem, and of each of its rows which task it is from: 0 for candidates, then 1, 2 …
    """
    tables = [problem.pool.table, *(source.table for source in sources)]
    columns = [
        column
        for column in problem.pool.table.columns
        if all(column in table for table in tables)
        and any(partition(table[column]) is not None for table in tables)
    ]
    task = np.repeat(np.arange(len(tables)), [len(table) for table in tables])
    rows = pd.concat([table[columns] for table in tables], ignore_index=True)
    rows.index = pd.Index([f"r{i + 1}" for i in range(len(rows))], name="id")
    pool = replace(problem.pool, table=rows, values=np.full(len(rows), np.nan), notes=())
    texts = problem.texts
    if texts:
        texts = (*texts, *(text for source in sources for text in _texts(problem, source)))
    structures = tuple(c for c in problem.structures if c in columns)
    joined = replace(
        problem, pool=pool, texts=texts, structures=structures, reactions=None, reaction=None,
        notes=(), sources=(),
    )  # fmt: skip
    return joined, task


def related(
    setup: Setup, sources: Sequence[SourceTask], make: Callable[[Setup], FixedFeatures]
) -> tuple[Pool, FixedFeatures, Rows]:
    """Features of candidates and of the rows of source tasks.

    Args:
        setup: of the target.
        sources: with the same columns in common.
        make: fixed features of a setup's candidates.

    Returns:
        All rows as one pool, their features, and of each row which task it is from.

    Raises:
        DataError: nothing joins them.
    """
    problem, task = together(setup.problem, sources)
    if len(problem.pool.table.columns) == 0 and not problem.texts:
        raise DataError(f"{sources[0].name}: it has no column in common with the candidates.")
    found = make(replace(setup, problem=problem))
    blocks = centred(found.blocks, task)
    return problem.pool, FixedFeatures(blocks, found.notes, found.revision), task


def centred(blocks: Blocks, task: Rows) -> Blocks:
    """Features in which levels of a column that a task has for itself count by differences.

    A task that shares no level of a column with task 0 is moved so that the means over levels
    agree; its identity tells nothing then and is left out. Numbers stay, as do columns in which
    most rows of a task have a level of their own, such as pools of molecules.

    Args:
        blocks: features of N rows.
        task: of each row which task it is from; 0 is the target.
    """
    slots, parts, kept = list[Slot](), list[Levels](), list[int]()
    end = 0
    for slot, levels in zip(blocks.layout, blocks.parts, strict=True):
        dims, end = range(end, end + slot.size), end + slot.size
        moved = None if slot.form == "number" else _moved(levels, task)
        if moved is not None:
            if slot.form == "indicators":
                continue
            levels, slot = moved, replace(slot, form="vector", spread=None)
        slots.append(slot)
        parts.append(levels)
        kept += dims
    if len(kept) == end and all(a is b for a, b in zip(parts, blocks.parts, strict=True)):
        return blocks
    if not parts:
        raise DataError(
            "levels of the candidates and of earlier results have nothing in common but names; add "
            "structures or words."
        )
    encode = Encoders(((blocks.encode, blocks.layout),), kept)
    return Blocks.of(parts, Layout(tuple(slots)), encode)


def _moved(levels: Levels, task: Rows) -> Levels | None:
    """Levels with those of foreign tasks moved onto the target's; None where nothing is foreign."""
    if levels.codes is None:
        return None
    codes, count = levels.codes, len(levels.values)
    present = [np.unique(codes[task == t]) for t in range(int(task.max()) + 1)]
    rows = np.bincount(task)
    foreign = [
        t
        for t in range(1, len(present))
        if not np.isin(present[t], present[0]).any()
        and all(2 * len(present[k]) <= rows[k] for k in (0, t))
    ]
    if not foreign:
        return None
    values = [levels.values.astype(np.float64)]
    places = codes.copy()
    middle = values[0][present[0]].mean(0)
    for number, t in enumerate(foreign, start=1):
        places[task == t] += number * count
        values.append(values[0] + (middle - values[0][present[t]].mean(0)))
    held, back = np.unique(places, return_inverse=True)
    return Levels(np.concatenate(values)[held], back.astype(np.int64))


def _texts(problem: Problem, source: SourceTask) -> tuple[str, ...]:
    template = problem.template
    if template is not None and all(c in source.table for c in template.columns):
        return problem.texts_of(source.table)
    blank = np.full(len(source), np.nan)
    pool = Pool(source.name, source.table, problem.pool.objective, "maximize", blank)
    return tuple(Template.from_columns(pool).texts(pool))
