"""Numbers such as -999 that stand for a missing value."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_NINES = [10.0**digits - 1 for digits in (3, 4, 5, 6)]
_USUAL = (-99.0, *_NINES, *(-number for number in _NINES))  # 99 is a yield
_FEWEST = 3  # different other values, from which on one is far
_FAR = 10  # times the largest other value


def sentinel(numbers: NDArray[np.float64]) -> str:
    """'-999 in 3 rows' where this may mean that a value is missing, else ''.

    It is repeated, in at most half of the rows, and either the only negative number or ten times
    as large as all others.

    Args:
        numbers: N cells of a column; NaN where blank.
    """
    given = numbers[~np.isnan(numbers)]
    for value in _USUAL:
        count, others = int((given == value).sum()), given[given != value]
        if not 2 <= count <= len(others) or len(np.unique(others)) < _FEWEST:
            continue
        alone = value < 0 <= others.min()
        if alone or abs(value) > _FAR * np.abs(others).max():
            return f"{value:.0f} in {count} rows"
    return ""
