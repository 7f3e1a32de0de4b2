"""What chemists know of a reaction, and whether the results and the model agree with it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gollum.analysis.bootstrap import mean_interval
from gollum.analysis.learned.chemistry import Predicted, components
from gollum.analysis.metrics import INTERVAL
from gollum.data.pool import Pool, cell_text

Mask = NDArray[np.bool_]

FEWEST = 3  # sets of candidates that differ in nothing else
COLUMNS = [
    "claim", "source", "column", "sets", "observed", "observed_low", "observed_high", "holds",
    "predicted", "predicted_low", "predicted_high", "data", "model",
]  # fmt: skip


@dataclass(frozen=True)
class Trend:
    """A claim that candidates with one kind of reagent do better than those with another.

    Attributes:
        claim: in words.
        column: pattern of the column's name.
        better: pattern of a cell, a name or a canonical SMILES.
        worse: likewise.
        source: where the claim comes from.
    """

    claim: str
    column: str
    better: str
    worse: str
    source: str


_IODIDE, _BROMIDE, _CHLORIDE = (
    rf"(?i:{name}[oi])|^{atom}c|\({atom}\)|{atom}$"
    for name, atom in (("iod", "I"), ("brom", "Br"), ("chlor", "Cl"))
)
_RATE = "oxidative addition is faster for Ar–I than Ar–Br than Ar–Cl"
BUCHWALD_HARTWIG = (
    Trend("aryl iodides give more than aryl bromides", "halide", _IODIDE, _BROMIDE, _RATE),
    Trend("aryl bromides give more than aryl chlorides", "halide", _BROMIDE, _CHLORIDE, _RATE),
    Trend("no additive gives more than an isoxazole, which poisons palladium", "additive",
          r"^(?:none|no additive)?$", r"isoxazol", "Ahneman et al., Science 2018, 360, 186"),
    Trend("isoxazoles with a substituent next to nitrogen (C3) give more than those with a "
          "hydrogen there, which bases open", "additive", r"\)no\d|on\d", r"cno|onc",
          "Kemp and Casey, J. Am. Chem. Soc. 1973, 95, 6670"),
)  # fmt: skip


def check_trends(
    predicted: Predicted, pool: Pool, trends: Sequence[Trend] = BUCHWALD_HARTWIG
) -> pd.DataFrame:
    """Compare what results and model say of each claim that the pool can be asked about.

    Candidates are compared in sets that agree in all other components.

    Args:
        predicted: of m candidates.
        pool: their pool; outcomes that are not known play no part.
        trends: the claims.

    Returns:
        Columns `COLUMNS`: observed is the mean over sets of the better kind's mean outcome less the
        worse one's, with its 95 % bootstrap interval; holds is the share of sets in which it is
        for the better; predicted is the same of the model's predictions for all candidates, with
        its posterior interval; data and model are 'agrees', 'disagrees', "can't tell" or 'not in
        this table'. A claim about a column that the table does not have is left out.
    """
    table = pool.table.iloc[predicted.rows]
    truth = pool.sign() * pool.utility[predicted.rows]
    rows = []
    for trend in trends:
        found = _kinds(table, trend)
        if found is None:
            continue
        column, better, worse = found
        sets = _sets(table, column, better | worse)
        judged = _judged(predicted, truth, sets, better, worse, pool.sign())
        rows.append((trend.claim, trend.source, column, *judged))
    return pd.DataFrame(rows, columns=COLUMNS)


def _kinds(table: pd.DataFrame, trend: Trend) -> tuple[str, Mask, Mask] | None:
    """The column that a claim is about, and which rows are of either kind; None without one."""
    for names in components(table):
        if not any(re.search(trend.column, name, re.IGNORECASE) for name in names):
            continue
        better, worse = (
            np.any([_matches(table[name], kind) for name in names], axis=0)
            for kind in (trend.better, trend.worse)
        )
        if worse.any():
            return names[0], better & ~worse, worse & ~better
    return None


def _matches(column: pd.Series, pattern: str) -> Mask:
    cells = column.map(cell_text)
    found: Mask = cells.str.contains(pattern, regex=True).to_numpy(dtype=bool)
    return found


def _sets(table: pd.DataFrame, column: str, told: Mask) -> NDArray[np.int64]:
    """Number of the set that each row belongs to, by its other components; −1 for none."""
    others = [names[0] for names in components(table) if column not in names]
    if not others:
        return np.where(told, 0, -1)
    codes = table.groupby(others, dropna=False, sort=False).ngroup().to_numpy()
    return np.where(told, codes, -1)


def _judged(
    predicted: Predicted,
    truth: NDArray[np.float64],
    sets: NDArray[np.int64],
    better: Mask,
    worse: Mask,
    sign: float,
) -> tuple[object, ...]:
    weights, differences = np.zeros(len(sets)), list[float]()
    compared, known = 0, np.isfinite(truth)
    for number in np.unique(sets[sets >= 0]):
        over, under = (sets == number) & better, (sets == number) & worse
        if over.any() and under.any():
            compared += 1
            weights += over / over.sum() - under / under.sum()
        over, under = over & known, under & known
        if over.any() and under.any():
            differences.append(float(truth[over].mean() - truth[under].mean()))
    nothing = [np.nan] * 4
    if compared == 0:
        return (0, *nothing, *nothing[:3], "not in this table", "not in this table")
    mean, deviation = predicted.contrast(weights / compared)
    model = mean, mean - INTERVAL * deviation, mean + INTERVAL * deviation
    if len(differences) < FEWEST:
        return (len(differences), *nothing, *model, "can't tell", _verdict(*model[1:], sign))
    seen = np.array(differences)
    low, high = mean_interval([seen])
    data = float(seen.mean()), low, high, float((sign * seen > 0).mean())
    return (len(seen), *data, *model, _verdict(low, high, sign), _verdict(*model[1:], sign))


def _verdict(low: float, high: float, sign: float) -> str:
    """What an interval of a difference says of a claim that it is better."""
    low, high = (low, high) if sign > 0 else (-high, -low)
    return "agrees" if low > 0 else "disagrees" if high < 0 else "can't tell"
