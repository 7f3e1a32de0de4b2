"""What is new and perhaps a slip: of the person who typed it, or of the program that saved it."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterator
from difflib import get_close_matches

import numpy as np
from numpy.typing import NDArray

from gollum.data.naming import loose
from gollum.data.spreadsheets.numbers import is_date

Numbers = NDArray[np.float64]

_LONG, _LEVELS, _NEW = 8, 2000, 100  # letters of a name; known and new names looked at for slips
_NUMBER = re.compile(r"[+-]?[0-9]+(?:\.[0-9]*)?(?:[eE][+-]?[0-9]+)?")
_TIME = re.compile(r"(\d{1,2}):(\d\d)(?::(\d\d))?(?: ?([AP])M)?", re.IGNORECASE)
_TRUTH = {"true": True, "wahr": True, "vrai": True, "verdadero": True, "vero": True,
          "false": False, "falsch": False, "faux": False, "falso": False}  # fmt: skip
_CODE = re.compile(
    r"\d{1,2}[-/.]\d{1,2}(?:[-/.]\d{1,4})?|(?:19|20)\d\d-\d{1,2}|\d{1,2}-(?:19|20)\d\d"
    r"|[^\W\d_]{3,9}[-. ]?\d{1,4}"
)
_MONTHS = {
    "jan": 1, "feb": 2, "fév": 2, "mar": 3, "mär": 3, "apr": 4, "avr": 4, "mai": 5, "may": 5,
    "jun": 6, "juin": 6, "jul": 7, "juil": 7, "aug": 8, "aoû": 8, "sep": 9, "oct": 10, "okt": 10,
    "nov": 11, "dec": 12, "dez": 12, "déc": 12,
}  # fmt: skip
ROUNDING = 1e-14  # of the largest number of a column: as good as 0
_NOISE = 1e-12  # of a number: as good as equal
_SHIFTS = (1e-3, 1e-2, 1e-1, 1e1, 1e2, 1e3)
_WORDS = re.compile(r"\d+|[^\W\d_]+")


class Known:
    """Names of one column, to be found by what may have become of them."""

    def __init__(self, names: Collection[str]) -> None:
        self.names = names
        self._loosely = {loose(name): name for name in names}
        self._traces = {trace: name for name in names for trace in _traces(name)}

    def typed(self, text: str) -> str | None:
        """The name that differs in capitals, spaces or hyphens only, if there is one."""
        return None if text in self.names else self._loosely.get(loose(text))

    def saved(self, text: str) -> str | None:
        """The name of which a spreadsheet program makes this when it saves, if there is one.

        It drops the zeros of 007 and 1.10, computes 1E1, and makes dates of 1-2 and MAR1.
        """
        if text in self.names:
            return None
        found = (self._traces[trace] for trace in _traces(text) if trace in self._traces)
        dates = (name for name in self.names if is_date(text) and _is_code_of(name, text))
        return next(found, None) or next(dates, None)

    def near(self, texts: Collection[str]) -> dict[str, str]:
        """Names that differ from these new ones in capitals, spaces or few letters."""
        few, found = len(self.names) <= _LEVELS, dict[str, str]()
        for text in list(texts)[:_NEW]:
            meant = self._loosely.get(loose(text))
            if meant is None and few and len(text) >= _LONG:
                meant = next(iter(get_close_matches(text, self.names, 1, 0.9)), None)
            if meant is not None:
                found[text] = meant
        return found


def denoised(numbers: Numbers, known: Numbers) -> Numbers:
    """Numbers, with the known one (or 0) in place of what differs from it by rounding errors only.

    Args:
        numbers: N numbers; NaN where blank.
        known: n numbers of the same column.
    """
    levels = np.unique(np.append(known[np.isfinite(known)], 0.0))
    above = np.searchsorted(levels, numbers).clip(1, max(1, len(levels) - 1))
    low, high = levels[above - 1], levels[above.clip(max=len(levels) - 1)]
    nearest = np.where(np.abs(numbers - low) <= np.abs(numbers - high), low, high)
    close = np.isclose(numbers, nearest, _NOISE, ROUNDING * np.abs(levels).max())
    return np.where(close, nearest, numbers)


def slipped(numbers: Numbers, known: Numbers) -> NDArray[np.bool_]:
    """Flags of numbers that are likely slips: outside the known ones, and far from these.

    That is beyond them by more than their span and their size, with another sign than all of
    them, or a known one with the decimal point elsewhere.

    Args:
        numbers: N numbers; NaN where blank.
        known: n numbers of the same column; NaN where blank.
    """
    levels = np.unique(known[np.isfinite(known)])
    if not len(levels):
        return np.zeros(len(numbers), dtype=bool)
    low, high = levels[0], levels[-1]
    margin = max(high - low, abs(low), abs(high))
    outside = (numbers < low) | (numbers > high)
    far = (numbers < low - margin) | (numbers > high + margin)
    other_sign = ((low > 0) & (numbers < 0)) | ((high < 0) & (numbers > 0))
    shifted = np.zeros(len(numbers), dtype=bool)
    for i in np.flatnonzero(outside & (numbers != 0)):
        shifted[i] = any(
            np.isclose(levels, numbers[i] * factor, 1e-9, 0).any() for factor in _SHIFTS
        )
    found: NDArray[np.bool_] = outside & (far | other_sign | shifted)
    return found


def _traces(text: str) -> Iterator[tuple[object, ...]]:
    """What is left of a text when a spreadsheet program takes it for a value."""
    if _NUMBER.fullmatch(text):
        yield "number", float(f"{float(text):.15g}")
        if abs(float(text)) >= 1e11:  # shown as 1.23457E+11
            yield "rounded", float(f"{float(text):.6g}")
    elif time := _TIME.fullmatch(text):
        hour = int(time[1]) % 12 + 12 * (time[4] in "Pp") if time[4] else int(time[1])
        yield "time", hour, int(time[2]), int(time[3] or 0)
    elif text.casefold() in _TRUTH:
        yield "truth", _TRUTH[text.casefold()]


def _is_code_of(name: str, date: str) -> bool:
    """Whether a spreadsheet program may make this date of a name such as 1-2 or MAR1."""
    code = name if _CODE.fullmatch(name) else ""
    numbers = _numbers(code)
    return len(numbers) > 1 and not Counter(numbers) - Counter(_numbers(date.partition(" 00:")[0]))


def _numbers(text: str) -> list[int]:
    """Day, month and year, in the order of the text; none where a word is no month."""
    words = _WORDS.findall(text.casefold())
    found = [
        int(word) % 100 if word.isdigit() else _MONTHS.get(word[:4], _MONTHS.get(word[:3], 0))
        for word in words
    ]
    return found if all(found) else []
