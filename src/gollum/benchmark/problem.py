"""From the data keys of a run to a pool in rows, in words and as reactions."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pandas as pd

from gollum.benchmark.spec import DataConfig
from gollum.data.authors import authors_texts
from gollum.data.catalog import get_task
from gollum.data.pool import Pool, check_table, smiles_columns
from gollum.data.readers import read_table
from gollum.data.roles import Said, assign
from gollum.data.spreadsheets.quantities import without_units
from gollum.data.statuses import meaning
from gollum.data.strays import refuse_fill_down, refuse_strays
from gollum.errors import DataError, nearest
from gollum.features.problem import Problem
from gollum.notes import Note
from gollum.text.template import Template, lint, twins


def load_problem(data: DataConfig) -> Problem:
    """Read the candidates of a run and put each into words.

    Raises:
        DataError: the table can't be used.
        TemplateError: the template can't.
    """
    return _of_task(data) if data.task is not None else _of_table(data)


def _of_task(data: DataConfig) -> Problem:
    task = get_task(data.task or "")
    reaction = data.reaction or task.reaction
    pool = task.load().labelled()
    return _problem(
        pool,
        data,
        default=Template(task.template),
        structures=tuple(task.structures),
        reaction=Template.of(reaction) if reaction else None,
        title=task.title,
        unit=task.unit,
        texts=authors_texts(task, pool) if data.texts == "authors" else None,
    )


def _of_table(data: DataConfig) -> Problem:
    path, objective = Path(data.path or ""), data.objective or ""
    said = Said(
        objective, inputs=data.inputs, categories=data.category or (), numbers=data.number or (),
        remarks=data.remark or (), id_column=data.id_column, keeps=False,
        option="--data.{}",
    )  # fmt: skip
    read = read_table(path, sheet=data.sheet, encoding=data.encoding)
    check_table(read, [objective], path.name)
    refuse_strays(read, path.name)
    roles = assign(read, path.name, said)
    refuse_fill_down(roles.table, path.name, roles.inputs)
    table, notes = _results(roles.table, objective, path.name)
    table, units = without_units(table, roles.inputs, path.name)
    pool = Pool.from_table(
        table,
        objective,
        data.direction or "maximize",
        inputs=roles.inputs,
        id_column=roles.id_column,
        name=path.name,
    ).labelled()
    pool = replace(pool, notes=(*pool.notes, *roles.notes, *notes))
    columns = [str(c) for c in pool.table.columns]
    for column in data.structures or []:
        if column not in columns:
            raise DataError(
                f"{pool.name}: data.structures names a column '{column}' that is not an input."
                + nearest(column, columns)
            )
    structures = data.structures or smiles_columns(pool.table)
    return _problem(
        pool,
        data,
        default=Template.from_columns(pool, units),
        structures=tuple(structures),
        reaction=Template.of(data.reaction) if data.reaction else None,
        title=path.name,
    )


def _results(
    table: pd.DataFrame, objective: str, where: str
) -> tuple[pd.DataFrame, tuple[Note, ...]]:
    """The table, whose objective is blank where a word says that there is no result."""
    if objective not in table or pd.api.types.is_numeric_dtype(table[objective]):
        return table, ()
    said = table[objective].map(lambda text: meaning(str(text)) or "")
    gone = said.isin(["failed", "not run", "pending"])
    blanked = table.assign(**{objective: table[objective].where(~gone, "")})
    counts = ", ".join(f"{n} {word}" for word, n in said[gone].value_counts().items())
    told = (Note("no-results", where, f"rows without a result: {counts}."),) if counts else ()
    return without_units(blanked, [objective], where)[0], told


def _problem(
    pool: Pool,
    data: DataConfig,
    *,
    default: Template,
    structures: tuple[str, ...],
    reaction: Template | None,
    title: str,
    unit: str = "",
    texts: tuple[str, ...] | None = None,
) -> Problem:
    template: Template | None = None
    if texts is not None:
        about = twins(pool, texts)
    else:
        template = _chosen(data, default)
        texts = tuple(template.texts(pool))
        about = lint(template, pool, texts)
    notes = (*pool.notes, *about)
    reactions = None
    if reaction is not None:
        reactions = tuple(reaction.texts(pool, blank=""))
    return Problem(
        pool, texts, template, structures, reactions, title, unit, notes, reaction=reaction
    )


def _chosen(data: DataConfig, default: Template) -> Template:
    if data.text_column is not None:
        return Template.column(data.text_column)
    return default if data.template is None else Template(data.template)
