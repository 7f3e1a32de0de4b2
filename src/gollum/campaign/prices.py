"""Prices of reagents: a number for each option of a column; an experiment costs their sum."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gollum.data.naming import meant
from gollum.data.pool import cell_text
from gollum.data.readers import read_frame, read_table
from gollum.data.spreadsheets.numbers import is_number_like
from gollum.errors import ConfigError, DataError, listed, nearest

COST = "cost"  # what the sum is called
Prices = Mapping[str, Mapping[str, float]]  # column → option → price
_WORDS = ("price", "cost", "preis", "kosten", "prix")
_PRICED = re.compile(
    rf"(.+?)[\s_-]*(?:{'|'.join(_WORDS)})\b.*|(?:{'|'.join(_WORDS)}) of (.+)", re.I
)


def total(prices: Prices, table: pd.DataFrame) -> NDArray[np.float64]:
    """What each of N experiments costs; not a number where an option has no price."""
    costs = np.zeros(len(table))
    for column, known in prices.items():
        costs += table[column].map(cell_text).map(known).to_numpy(dtype=np.float64)
    return costs


def read_prices(column: str, given: Any) -> dict[str, float]:
    """The prices of one column: a mapping, or a table of options and prices.

    Args:
        column: of the campaign.
        given: option → price, or a frame or file with the options in a column of that name, or
            else in the first one, and the prices in the other.

    Raises:
        UserError: it can't be read, or a price is no number from 0 on.
    """
    if isinstance(given, Mapping):
        return {cell_text(option): _price(column, option, one) for option, one in given.items()}
    if isinstance(given, pd.DataFrame):
        table, where = read_frame(given), "the prices"
    else:
        table, where = read_table(Path(str(given))), Path(str(given)).name
    names = list(map(str, table.columns))
    options = meant(column, names, [])
    options = options if options in names else names[0]
    others = [name for name in names if name != options]
    priced = [name for name in others if any(word in name.casefold() for word in _WORDS)]
    found = priced if len(others) > 1 else others
    if len(found) != 1:
        raise DataError(
            f"{where}: prices of '{column}' are a table with two columns, '{column}' and 'price', "
            f"not {listed(names)}."
        )
    prices = dict[str, float]()
    cells = zip(map(cell_text, table[options]), table[found[0]], strict=True)
    said = [(option, price) for option, price in cells if option]
    # A decimal comma is only text because of another cell; that comes first, to be named.
    said.sort(key=lambda one: isinstance(one[1], str) and is_number_like(one[1]))
    for option, price in said:
        one = _price(f"{where}: {column}", option, price)
        if prices.setdefault(option, one) != one:
            raise DataError(f"{where}: '{option}' has two prices; keep one.")
    return prices


def checked(
    prices: Mapping[str, Mapping[str, float]],
    table: pd.DataFrame,
    where: str,
    renamed: Mapping[tuple[str, str], str] | None = None,
) -> dict[str, dict[str, float]]:
    """Prices in the words of a campaign.

    Args:
        prices: column → option → price.
        table: the candidates' inputs.
        where: file or campaign, for messages.
        renamed: (column, former name of an option) → its name.

    Raises:
        ConfigError: there is no such column, or an option has no price.
    """
    found = dict[str, dict[str, float]]()
    columns = list(map(str, table.columns))
    for name, known in prices.items():
        column = meant(name, columns, [])
        if column not in columns:
            close = nearest(name, columns)
            raise ConfigError(f"{where}: there is no input '{name}' to have prices.{close}")
        levels = list(dict.fromkeys(table[column].map(cell_text)))
        said = dict[str, float]()
        for option, price in known.items():
            text = meant(option, levels, [])
            if text not in levels:
                text = (renamed or {}).get((column, text), text)
            if said.setdefault(text, price) != price:
                raise ConfigError(f"{where}: '{text}' of '{column}' has two prices; keep one.")
        if missing := [level for level in levels if level and level not in said]:
            raise ConfigError(
                f"{where}: '{missing[0]}' of '{column}' has no price; add it (0 where it costs "
                "nothing)."
            )
        found[column] = {"": 0.0} | said if "" in levels else said
    return found


def beside(table: pd.DataFrame) -> tuple[pd.DataFrame, dict[str, dict[str, float]]]:
    """Lists of options without the columns that price them, and what those say.

    Args:
        table: a column for each factor, and beside some one called 'ligand price' or the like.
    """
    names, prices = list(map(str, table.columns)), dict[str, dict[str, float]]()
    for name in names:
        match = _PRICED.fullmatch(name)
        column = match and meant((match[1] or match[2]).strip(), names, [])
        if column and column in names and column != name:
            prices[column] = read_prices(column, table[[column, name]])
            table = table.drop(columns=name)
    return table, prices


def _price(where: str, option: object, price: object) -> float:
    try:
        found = float(price)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        found = math.nan
    if not 0 <= found < math.inf:
        shown = cell_text(price) or "blank"
        raise ConfigError(
            f"{where}: the price of '{cell_text(option)}' is a number from 0 on, not {shown}."
        )
    return found
