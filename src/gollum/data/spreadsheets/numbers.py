"""What a cell can hold: numbers as laboratories in several countries write them, dates."""

from __future__ import annotations

import math
import re
import unicodedata

Cell = str | int | float


class DateCell(str):
    """Text of a cell that holds a date."""


class PercentCell(float):
    """A number that the spreadsheet shows with a percent sign, as it is shown: 85.5 for 85.5 %."""

    def __str__(self) -> str:
        return f"{float(self):.15g} %"


# str.strip knows all of these but the last three, which have no width.
SPACES = " \t\n\r\f\v\u00a0\u2000\u2001\u2002\u2003\u2007\u2009\u200a\u202f\u3000\u200b\u2060\ufeff"
# A leading zero marks a code such as a catalogue number, so 007 is no number here.
_PLAIN = re.compile(r"[+-]?(?:(?:0|[1-9][0-9]*)(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
_INTEGER = re.compile(r"[+-]?[0-9]+")
_GAPS = " '’\u00a0\u2009\u202f"  # thousands separators besides the point and the comma
_MINUS = str.maketrans("−–", "--")
_NO_GAPS = str.maketrans("", "", _GAPS)
_LITERAL = re.compile(r'"[^"]*"|\\.')  # in a number format: shown as it stands
_CODE_FORMAT = re.compile(r"00+")  # 7 is shown as 007
_OTHER = {".": ",", ",": "."}


def _pattern(mark: str) -> re.Pattern[str]:
    point = re.escape(mark)
    grouped = rf"[1-9][0-9]{{0,2}}(?P<gap>[{_GAPS}{_OTHER[mark]}])[0-9]{{3}}(?:(?P=gap)[0-9]{{3}})*"
    whole = rf"(?:{grouped}|0|[1-9][0-9]*)"
    return re.compile(
        rf"[+\-−–]?(?:{whole}(?:{point}[0-9]*)?|{point}[0-9]+)(?:[eE][+\-−–]?[0-9]+)?"
    )


_PATTERNS = {mark: _pattern(mark) for mark in ".,"}
_EXCEL_ERROR = re.compile(r"#(?:N/[AD]|NV|[¡¿]?[A-ZÀ-Ý]+(?:/0)?[!?]|#{2,})")
_MONTH = (
    r"(?:jan(?:uary?|v)?|feb(?:ruary?)?|févr?|m[aä]r(?:ch|z|s)?|apr(?:il)?|avr(?:il)?|ma[iy]|juin|"
    r"jun[ei]?|jul[iy]?|juil|aug(?:ust)?|août|sept?(?:ember)?|o[ck]t(?:ober)?|nov(?:ember)?|"
    r"de[cz](?:ember)?|déc)\.?"
)
_DATE = re.compile(
    rf"\d{{1,4}}[-. /]{{1,2}}{_MONTH}(?:[-. /]\d+)?|{_MONTH}[-. /]\d+"
    r"|\d{1,2}[./-]\d{1,2}[./-]\d{2,4}|\d{4}-\d\d-\d\d(?:[ T].*)?",
    re.IGNORECASE,
)


def shown(value: int | float, number_format: str) -> Cell:
    """A number as its format in a workbook shows it: with a percent sign, or as 007."""
    if _CODE_FORMAT.fullmatch(number_format) and isinstance(value, int) and value >= 0:
        return f"{value:0{len(number_format)}d}"
    if "%" in _LITERAL.sub("", number_format):
        return PercentCell(f"{100 * value:.15g}")
    return PercentCell(value) if "%" in number_format else value


def is_number_like(cell: str) -> bool:
    """Whether a text is a number, be its mark a point or a comma."""
    bare = cell.strip(SPACES)
    return is_number(bare, ".") or is_number(bare, ",")


def is_number(text: str, mark: str) -> bool:
    """Whether a text is a number that a column can hold; longer integers are codes."""
    if mark == "." and _PLAIN.fullmatch(text):
        value = text
    elif _PATTERNS[mark].fullmatch(text):
        value = plain(text, mark)
    else:
        return False
    if not math.isfinite(float(value)):
        return False
    return not _INTEGER.fullmatch(value) or -(2**63) <= int(value) < 2**63


def plain(text: str, mark: str) -> str:
    """A number with this decimal mark as computers write it."""
    bare = text.translate(_MINUS).translate(_NO_GAPS)
    return bare.replace(_OTHER[mark], "").replace(mark, ".")


def is_integer(text: str) -> bool:
    """Whether a text is digits behind at most a sign."""
    return _INTEGER.fullmatch(text) is not None


def composed(text: str) -> str:
    """A text in the Unicode form in which all are compared; macOS writes ü as u and two dots."""
    return text if text.isascii() else unicodedata.normalize("NFC", text)


def bare(text: str) -> str:
    """A text without the spaces around it, and a whole number without decimals: 80.0 is 80."""
    text = text.strip(SPACES)
    return text.removesuffix(".0") if is_integer(text.removesuffix(".0")) else text


def is_plain(text: str) -> bool:
    """Whether a text is a number as computers write it."""
    return _PLAIN.fullmatch(text) is not None


def is_error(text: str) -> bool:
    """Whether a text is what a spreadsheet shows instead of a value, in its own language."""
    return text[:1] == "#" and _EXCEL_ERROR.fullmatch(text) is not None


def is_date(text: str) -> bool:
    """Whether a text looks like a date, such as 1-Feb or 01.02.2024."""
    return _DATE.fullmatch(text) is not None
