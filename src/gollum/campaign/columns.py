"""What the columns of a table are, as a file says it beside the options of a campaign."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd
from pandas.api.types import is_numeric_dtype
from yaml.nodes import MappingNode, Node

from gollum.campaign.state import State
from gollum.campaign.strict_yaml import YamlFile
from gollum.errors import ConfigError, nearest

Meaning = str | tuple[str, ...]  # of a column: one of `MEANINGS`, or its names in order

# What a column is → the option that says so.
SEVERAL = {
    "also": "also", "category": "category", "number": "number", "remark": "remark",
    "structure": "structures",
}  # fmt: skip
SINGLE = {"id": "id_column", "cost": "cost"}
MEANINGS = SEVERAL | SINGLE
ORDINAL = "ordinal"


def read_columns(file: YamlFile, node: Node, table: pd.DataFrame) -> dict[str, Meaning]:
    """Column → what it is.

    Args:
        file: that says so.
        node: where it does.
        table: with the columns; `attrs['options']` holds those of factors, in order.

    Raises:
        ConfigError: it is something else, or the table has no such column.
    """
    found = dict[str, Meaning]()
    entries = file.entries(node, "'columns' needs lines such as 'purity: also'")
    for column, (key, value) in entries.items():
        meaning = _meaning(file, column, value, table.attrs.get("options", {}))
        if column not in table and meaning != "also":
            close = nearest(column, map(str, table.columns))
            raise file.refusal(key, f"there is no column '{column}'", close)
        if meaning in SINGLE and meaning in found.values():
            raise file.refusal(key, f"two columns are {meaning}; keep one")
        found[column] = meaning
    return found


def _meaning(
    file: YamlFile, column: str, node: Node, options: Mapping[str, tuple[str, ...]]
) -> Meaning:
    """What one column is."""
    how = f"such as '{column}: {{ordinal: [low, medium, high]}}'"
    if isinstance(node, MappingNode):
        parts = file.entries(node, f"say the order of its names, {how}")
        file.refuse_unknown(parts, (ORDINAL,))
        names = file.items(parts[ORDINAL][1], f"say the order of its names, {how}")
        return tuple(file.word(name) for name in names)
    word = file.word(node)
    if word == ORDINAL:
        if column not in options:
            raise file.refusal(node, f"no list gives '{column}' an order; say it, {how}")
        return options[column]
    if word not in MEANINGS:
        problem = f"a column is {', '.join((*MEANINGS, ORDINAL))}, not '{word}'"
        raise file.refusal(node, problem, nearest(word, (*MEANINGS, ORDINAL)))
    return word


def check_columns_of(state: State, columns: Mapping[str, Meaning], name: str) -> None:
    """Refuse that a file says something else of columns than a campaign that runs knows.

    Args:
        state: the campaign.
        columns: column → what the file says.
        name: of the file.

    Raises:
        ConfigError: it does.
    """
    created, kinds = state.created, state.table.dtypes
    for column, what in columns.items():
        numeric = column in kinds and is_numeric_dtype(kinds[column])
        agrees = {
            "also": column in created.also,
            "category": column in kinds and not numeric,
            "number": numeric,
            "remark": column not in kinds,
            "structure": column in created.structures,
            "id": column == (created.id_column or "id"),
            "cost": column == created.cost,
        }
        if not (created.orders.get(column) == what if isinstance(what, tuple) else agrees[what]):
            said = f"has the order {' < '.join(what)}" if isinstance(what, tuple) else f"is {what}"
            raise ConfigError(
                f"{name}: '{column}' {said} there and something else in the campaign, and what is "
                "added has the campaign's columns; take it out of 'columns'."
            )


def with_columns(options: Mapping[str, Any], columns: Mapping[str, Meaning]) -> dict[str, Any]:
    """Options of a campaign together with what a file says of columns.

    Raises:
        ConfigError: the two say different things.
    """
    together = dict(options)
    orders = {column: what for column, what in columns.items() if isinstance(what, tuple)}
    by_option = dict(options.get(ORDINAL) or {})
    for column, order in by_option.items():
        if tuple(order) != orders.get(column, tuple(order)):
            raise ConfigError(
                f"'{column}' has another order in the file than by an option; say one of them."
            )
    if orders:
        together[ORDINAL] = orders | by_option
    for meaning, option in MEANINGS.items():
        given = options.get(option) or ()
        given = [given] if isinstance(given, str) else list(given)
        for column in given:
            if columns.get(column, meaning) != meaning:
                said_so = ORDINAL if column in orders else columns[column]
                raise ConfigError(
                    f"'{column}' is {said_so} in the file and {meaning} by an option; say "
                    "one of them."
                )
        said = [column for column, what in columns.items() if what == meaning]
        every = list(dict.fromkeys([*given, *said]))
        if meaning in SINGLE and len(every) > 1:
            raise ConfigError(
                f"'{every[1]}' is {meaning} in the file and '{every[0]}' by an option; say one of "
                "them."
            )
        if said:
            together[option] = every[0] if meaning in SINGLE else every
    return together
