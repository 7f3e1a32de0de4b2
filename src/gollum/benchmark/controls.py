"""Controls: a problem from which one thing was taken away, to see what a surrogate learns from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from gollum.errors import ConfigError
from gollum.surrogates.build import Problem


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
    if problem.template is None:
        raise ConfigError(
            f"{problem.pool.name}: control 'shuffled_columns' needs texts that a template writes "
            "from columns."
        )
    pool, stream = problem.pool, _stream(seed, 2)
    table = pool.table.copy()
    for column in table.columns:
        table[column] = table[column].array.take(stream.permutation(len(table)))
    texts = problem.template.render_pool(replace(pool, table=table))
    # Without the template: where a text is cut can't be traced to the columns of its row.
    return replace(problem, texts=tuple(text.text for text in texts), template=None)


def random_embeddings(problem: Problem, seed: int) -> Problem:
    """Each distinct text gets a standard normal vector in place of its embedding."""
    return replace(problem, noise=seed)


CONTROLS: dict[str, Callable[[Problem, int], Problem]] = {
    "permuted_labels": permuted_labels,
    "shuffled_columns": shuffled_columns,
    "random_embeddings": random_embeddings,
}


def _stream(seed: int, number: int) -> np.random.Generator:
    """Draws of its own: the first design's key is empty, and an iteration's starts above 0."""
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(0, number)))
