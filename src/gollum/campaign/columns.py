"""What the columns of a table are, as a file says it beside the options of a campaign."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd
from yaml.nodes import Node

from gollum.campaign.strict_yaml import YamlFile
from gollum.errors import ConfigError, nearest

# What a column is → the option that says so.
SEVERAL = {
    "also": "also", "category": "category", "number": "number", "remark": "remark",
    "structure": "structures",
}  # fmt: skip
SINGLE = {"id": "id_column", "cost": "cost"}
MEANINGS = SEVERAL | SINGLE


def read_columns(file: YamlFile, node: Node, table: pd.DataFrame) -> dict[str, str]:
    """Column → what it is: one of `MEANINGS`.

    Raises:
        ConfigError: it is something else, or the table has no such column.
    """
    found = dict[str, str]()
    entries = file.entries(node, "'columns' needs lines such as 'purity: also'")
    for column, (key, value) in entries.items():
        meaning = file.word(value)
        if meaning not in MEANINGS:
            problem = f"a column is {', '.join(MEANINGS)}, not '{meaning}'"
            raise file.refusal(value, problem, nearest(meaning, MEANINGS))
        if column not in table and meaning != "also":
            close = nearest(column, map(str, table.columns))
            raise file.refusal(key, f"there is no column '{column}'", close)
        if meaning in SINGLE and meaning in found.values():
            raise file.refusal(key, f"two columns are {meaning}; keep one")
        found[column] = meaning
    return found


def with_columns(options: Mapping[str, Any], columns: Mapping[str, str]) -> dict[str, Any]:
    """Options of a campaign together with what a file says of columns.

    Raises:
        ConfigError: the two say different things.
    """
    together = dict(options)
    for meaning, option in MEANINGS.items():
        given = options.get(option) or ()
        given = [given] if isinstance(given, str) else list(given)
        for column in given:
            if columns.get(column, meaning) != meaning:
                raise ConfigError(
                    f"'{column}' is {columns[column]} in the file and {meaning} by an option; say "
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
