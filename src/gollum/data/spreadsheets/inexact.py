"""Results that are no plain number: below, above or between numbers, or with an error."""

from __future__ import annotations

import re
from typing import NamedTuple

from gollum.data.extents import Extent
from gollum.data.outcomes import HALF_STEP, Bounds
from gollum.data.spreadsheets.numbers import SPACES, is_number_like, plain
from gollum.data.spreadsheets.units import converted, quantity

TRACES = ("trace", "traces", "tr", "spur", "spuren")
_SIDE = re.compile(r"(<=?|≤|⩽|>=?|≥|⩾)\s*(.+)")
_BETWEEN = re.compile(r"([^-–—]+?)\s*(?:-|–|—|\.\.|…|\bto\b|\bbis\b)\s*([^-–—]+)")
_ERROR = re.compile(r"(.+?)\s*(?:±|\+/-|\+-)\s*(.+)")


class Inexact(NamedTuple):
    """What a cell says, and the number that it counts as.

    Attributes:
        value: the number.
        reason: why: 'the middle of 0 to 5'.
        extent: what is known of the result.
    """

    value: float
    reason: str
    extent: Extent


def inexact(text: str, unit: str, bounds: Bounds) -> Inexact | None:
    """A result such as '<5', '>99', '2–4', '12 ± 1' or 'trace'; None for other texts.

    '<5' and '>99' count as the middle between the number and the bound behind it, or as the number
    itself where there is none; '2–4' as its middle; '12 ± 1' as 12; a trace as half a step above
    the lower bound (`HALF_STEP`).

    Args:
        text: of a cell.
        unit: of the column; numbers in another one are converted.
        bounds: of the outcome.
    """
    bare = text.strip(SPACES)
    low, high = bounds
    if bare.casefold().strip(".") in TRACES:
        if low is None or high is None:
            return None
        value = low + HALF_STEP * (high - low)
        return Inexact(value, f"just above {low:g}", Extent(low=low, high=2 * value - low))
    if (side := _SIDE.fullmatch(bare)) and (edge := _number(side[2], unit)) is not None:
        below = side[1][0] in "<≤⩽"
        end = low if below else high
        if end is None or (edge < end if below else edge > end):
            open_ended = Extent(high=edge) if below else Extent(low=edge)
            return Inexact(edge, "as there is no bound behind it", open_ended)
        return _middle(min(edge, end), max(edge, end))
    if around := _ERROR.fullmatch(bare):
        middle, error = _number(_shared_unit(around[1], around[2]), unit), _number(around[2], unit)
        if middle is not None and error is not None:
            return Inexact(middle, f"with an error of {abs(error):g}", Extent(error=abs(error)))
    if between := _BETWEEN.fullmatch(bare):
        first, last = _number(_shared_unit(between[1], between[2]), unit), _number(between[2], unit)
        if first is not None and last is not None and first < last:
            return _middle(first, last)
    return None


def _middle(low: float, high: float) -> Inexact:
    return Inexact(
        0.5 * (low + high), f"the middle of {low:g} to {high:g}", Extent(low=low, high=high)
    )


def _shared_unit(first: str, last: str) -> str:
    """The first of two numbers with the unit that stands behind the second: 2–4 %."""
    given, other = quantity(first), quantity(last)
    if given is None or other is None or given[1] or not other[1]:
        return first
    return f"{first.strip(SPACES)} {other[1]}"


def _number(text: str, unit: str) -> float | None:
    """A number in the unit of its column; None where it is none, or there is no way to that."""
    found = quantity(text)
    if found is None or not is_number_like(found[0]):
        return None
    bare, given = found
    value = float(plain(bare, "," if "," in bare and "." not in bare else "."))
    return value if given in ("", unit) else converted(value, given, unit)
