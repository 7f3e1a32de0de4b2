"""Controls: a problem from which one thing was taken away, to see what a surrogate learns from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pandas.api.extensions import ExtensionArray

from gollum.errors import ConfigError
from gollum.features.fixed.columns import partition
from gollum.features.problem import Problem


def controlled(problem: Problem, control: str, seed: int) -> Problem:
    """The problem as it stands, or what a control makes of it.

    Args:
        problem: candidates, texts and the rest.
        control: 'none' or a key of `CONTROLS`.
        seed: of the run; it draws the permutations.

    Raises:
        ConfigError: the texts can't be written anew from shuffled columns.
    """
    return problem if control == "none" else CONTROLS[control](problem, seed)


def permuted_labels(problem: Problem, seed: int) -> Problem:
    """The same objective values, handed out to the candidates anew: nothing can be learned."""
    pool = problem.pool
    values = pool.values[_stream(seed, 1).permutation(len(pool))]
    return replace(problem, pool=replace(pool, values=values))


def shuffled_columns(problem: Problem, seed: int) -> Problem:
    """Texts that say of each column what another row holds, drawn for each column by itself.

    Ids, objective, table, structures and reactions stay.

    Raises:
        ConfigError: the texts don't come from a template.
    """
    stream = _stream(seed, 2)
    return _retold(
        problem,
        "shuffled_columns",
        lambda column: column.array.take(stream.permutation(len(column))),
    )


def swapped_names(problem: Problem, seed: int) -> Problem:
    """Texts in which every level of a column stands for another one, everywhere the same.

    What is equal stays equal, so texts tell the experiments apart as well as before; what the
    words mean, and which numbers lie close together, is lost. Columns that rename each other's
    levels (`ligand` and `ligand_smiles`) are swapped alike; a blank cell is a level.

    Raises:
        ConfigError: the texts don't come from a template.
    """
    stream = _stream(seed, 3)
    instead: dict[bytes, NDArray[np.int64]] = {}

    def swapped(column: pd.Series) -> pd.Series | ExtensionArray:
        key = partition(column)
        if key is None:
            return column
        codes = np.frombuffer(key, dtype=np.int64)
        first = np.unique(codes, return_index=True)[1]
        if key not in instead:
            circle = stream.permutation(len(first))  # each gives its place to the next one
            instead[key] = np.empty_like(circle)
            instead[key][circle] = np.roll(circle, 1)
        cells: ExtensionArray = column.array.take(first[instead[key][codes]])
        return cells

    return _retold(problem, "swapped_names", swapped)


def random_embeddings(problem: Problem, seed: int) -> Problem:
    """Each distinct text gets a standard normal vector in place of its embedding."""
    return replace(problem, noise=seed)


CONTROLS: dict[str, Callable[[Problem, int], Problem]] = {
    "permuted_labels": permuted_labels,
    "shuffled_columns": shuffled_columns,
    "swapped_names": swapped_names,
    "random_embeddings": random_embeddings,
}


def _retold(
    problem: Problem, control: str, change: Callable[[pd.Series], pd.Series | ExtensionArray]
) -> Problem:
    """The problem with texts of a changed table."""
    if problem.template is None:
        raise ConfigError(
            f"{problem.pool.name}: control '{control}' needs texts that a template writes from "
            "columns."
        )
    table = problem.pool.table.copy()
    for column in table.columns:
        table[column] = change(table[column])
    texts = problem.template.texts(replace(problem.pool, table=table))
    # Without the template: where a text is cut can't be traced to the columns of its row.
    return replace(problem, texts=tuple(texts), template=None)


def _stream(seed: int, number: int) -> np.random.Generator:
    """Draws of its own: the first design's key is empty, and an iteration's starts above 0."""
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(0, number)))
