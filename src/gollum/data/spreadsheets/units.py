"""Units as laboratories write them: one unit in several spellings, and one unit in another.

Pint knows them. It is imported when the first text looks like a quantity.
"""

from __future__ import annotations

import re
from fractions import Fraction
from functools import lru_cache
from typing import Any

from gollum.data.spreadsheets.numbers import SPACES, is_number_like

# How the end of a column name is read as a unit.
ENDINGS = {
    "_mol_pct": "mol%", "_mL_min": "mL/min", "_mol_L": "mol/L", "_equiv": "equivalents",
    "_pct": "%", "_min": "min", "_mM": "mM", "_uM": "µM", "_nM": "nM", "_mL": "mL", "_nm": "nm",
    "_mm": "mm", "_bar": "bar", "_C": "°C", "_K": "K", "_M": "M", "_s": "s", "_h": "h",
    "_g": "g", "_V": "V",
}  # fmt: skip
_QUANTITY = re.compile(
    r"([+\-−–]?[0-9.,'’\u00a0\u2009\u202f ]*?[0-9.,](?:[eE][+\-−–]?[0-9]+)?)"
    r"\s*([^\W\d_].*|[%‰°].*|)",
    re.DOTALL,
)
_GLYPHS = str.maketrans(
    {"º": "°", "˚": "°", "∘": "°", "℃": "°C", "℉": "°F", "μ": "µ", "\u2126": "Ω", "\u212b": "Å"}
)
_LETTERS = frozenset("%‰CFKsdhgLlMmVAWÅ")  # alone; 1B and 3a are names
_CLOCK_TIME = re.compile(
    r"(?:(?P<d>\d+) days?, )?(?P<h>\d{1,4}):(?P<m>[0-5]\d)(?::(?P<s>[0-5]\d)(?:\.0+)?)?"
)
_CLOCK = frozenset(("am", "pm"))
_ALSO = {
    "C": "°C", "F": "°F", "pct": "%", "Eq": "eq", "EQ": "eq", "Äq": "eq", "Äquiv": "eq",
    "Std": "h", "Stunde": "h", "Stunden": "h", "Minuten": "min", "Tag": "d", "Tage": "d",
}  # fmt: skip
_PREFIXES = frozenset(
    ("", "pico", "nano", "micro", "milli", "centi", "deci", "hecto", "kilo", "mega", "giga")
)
_LABORATORY = """
    second minute hour day week month kelvin degree_Celsius degree_Fahrenheit gram meter liter mole
    molar equivalent percent permille ppm ppb bar pascal standard_atmosphere torr meter_Hg
    pound_force_per_square_inch joule calorie electron_volt volt ampere watt hertz
    revolutions_per_minute newton ohm siemens coulomb tesla poise dalton enzyme_unit angstrom
    mol_percent wt_percent vol_percent wv_percent
"""  # pint knows many more
_KNOWN = frozenset(_LABORATORY.split())
_DEFINITIONS = (
    "equivalent = [equivalent] = eq = equiv = eqs = equivs",
    "ppb = 1e-9",
    *(f"{kind}_percent = [{kind}_percent]" for kind in ("mol", "wt", "vol", "wv")),
)
_SHARE = re.compile(
    r"(?P<of>mole?|wt|gew|weight|mass|vol|volume|w/w|v/v|w/v)[.\s-]*(?:%|percent|pct)"
    r"|(?:%|percent|pct)[.\s-]*\(?(?P<in>mole?|wt|weight|mass|vol|volume|w/w|v/v|w/v)\.?\)?",
    re.IGNORECASE,
)
_KINDS = {
    "mole": "mol", "weight": "wt", "gew": "wt", "mass": "wt", "w/w": "wt", "volume": "vol",
    "v/v": "vol", "w/v": "wv",
}  # fmt: skip
_FACTOR = re.compile(
    r"(?P<by>^|\s*[/·⋅]\s*|\s)(?P<name>[%‰°]?[^\W\d_]+|[%‰°])(?:(?:\^|\*\*)?(?P<power>-?[1-9]))?"
)
_POWERS = str.maketrans("⁻−¹²³⁴", "--1234")
_IN_NAME = re.compile(
    r"[(\[]([^()\[\]]+)[)\]]|(?:,\s*|\s/\s*|/(?=°)|\sin\s+)([^,/()\[\]]+(?:/[^,/]+)?)$"
)


def quantity(text: str) -> tuple[str, str] | None:
    """The number in front and the unit behind it ('' if there is none); None for other texts."""
    match = _QUANTITY.fullmatch(neat(text))
    if match is None or not is_number_like(match[1]):
        return None
    return (match[1], match[2]) if not match[2] or is_unit(match[2]) else None


def measure(text: str, unit: str) -> tuple[str, str] | None:
    """As `quantity`, and seconds of 2:30:00 where the unit is one of time, or of 2:30 in hours."""
    found = quantity(text)
    clock = None if found or not unit else _CLOCK_TIME.fullmatch(text.strip(SPACES))
    if clock is None or not (alike(unit, "h") if clock["s"] is None else converted(1.0, "s", unit)):
        return found
    days, hours, minutes, seconds = (int(clock[part] or 0) for part in "dhms")
    return str(((24 * days + hours) * 60 + minutes) * 60 + seconds), "s"


def is_clock(text: str) -> bool:
    """Whether a text is a time or duration such as 2:30 or 02:30:00."""
    return _CLOCK_TIME.fullmatch(text.strip(SPACES)) is not None


def unit_of(text: str) -> str | None:
    """The unit behind a number ('' if there is none); None for other texts."""
    found = quantity(text)
    return None if found is None else found[1]


def unknown_unit(text: str) -> str | None:
    """What stands behind a number and is no unit, in the singular; None for other texts."""
    match = _QUANTITY.fullmatch(neat(text))
    if match is None or not match[2] or not is_number_like(match[1]) or is_unit(match[2]):
        return None
    return match[2].removesuffix("s")


def unit_in(name: str) -> tuple[str, bool] | None:
    """The unit that a column's name says, and whether it stands apart: time (h), but not vitamin_C.

    Names that merely end like a unit may mean something else.
    """
    if unit := split_name(name)[1]:
        return unit, True
    for ending, unit in ENDINGS.items():
        if name.endswith(ending) and len(name) > len(ending):
            return unit, False
    return None


def split_name(name: str) -> tuple[str, str]:
    """A column's name without the unit that stands apart in it, and that ('' if there is none)."""
    text = neat(name)
    for found in reversed(list(_IN_NAME.finditer(text))):
        if is_unit(unit := (found[1] or found[2]).strip()):
            return (text[: found.start()] + text[found.end() :]).strip(), unit
    return text, ""


def bare_name(name: str) -> str:
    """A column's name in words, without its unit: 'yield' of 'yield_pct' and of 'yield (%)'."""
    bare = split_name(name)[0]
    ending = next((e for e in ENDINGS if bare.endswith(e) and len(bare) > len(e)), "")
    return bare.removesuffix(ending).replace("_", " ")


def says_unit(name: str, unit: str) -> bool:
    """Whether a column's name says this unit."""
    named = unit_in(name)
    return named is not None and alike(named[0], unit)


def is_unit(text: str) -> bool:
    """Whether a text is a unit."""
    return text == "%" or _unit(text) is not None


@lru_cache(maxsize=4096)
def alike(one: str, other: str) -> bool:
    """Whether two units are one, such as h and hours."""
    return one == other or (converted(1.0, one, other) == 1.0 == converted(1.0, other, one))


@lru_cache(maxsize=4096)
def converted(value: float, unit: str, wanted: str) -> float | None:
    """A value in another unit; None if there is no way from one to the other."""
    one, other = _unit(unit), _unit(wanted)
    if one is None or other is None:
        return None
    from pint.errors import DimensionalityError

    try:
        return float(_registry().Quantity(Fraction(repr(float(value))), one).to(other).magnitude)
    except (DimensionalityError, OverflowError):
        return None


def neat(text: str) -> str:
    """A text with the usual signs for degrees and micro, without the spaces around it."""
    return text.strip(SPACES).translate(_GLYPHS)


@lru_cache(maxsize=1)
def _registry() -> Any:
    import pint

    registry: Any = pint.UnitRegistry(non_int_type=Fraction)
    for line in _DEFINITIONS:
        registry.define(line)
    return registry


@lru_cache(maxsize=4096)
def _unit(text: str) -> Any:
    """Pint's unit; None for other texts."""
    bare = text.rstrip(".").translate(_POWERS)
    bare = _ALSO.get(bare, bare)
    if share := _SHARE.fullmatch(bare):
        kind = (share["of"] or share["in"]).lower()
        return _registry().Unit(f"{_KINDS.get(kind, kind)}_percent")
    if (len(bare) == 1 and bare not in _LETTERS) or bare in _CLOCK:
        return None
    factors = list(_FACTOR.finditer(bare))
    joined = all(f["by"].strip() or not f["by"] or "-" in (f["power"] or "") for f in factors)
    if not factors or factors[0]["by"] or not joined or "".join(f[0] for f in factors) != bare:
        return None
    unit = _registry().Unit("")
    for f in factors:
        name = _named(f["name"], alone=bare == f["name"])
        if name is None:
            return None
        power = int(f["power"] or 1)
        unit *= _registry().Unit(name) ** (-power if "/" in f["by"] else power)
    return unit


def _named(text: str, alone: bool) -> str | None:
    """Pint's name of a unit of laboratories; None for others."""
    for spelt in (text, text.lower()) if len(text) > 2 else (text,):
        for prefix, unit, _ in _registry().parse_unit_name(spelt)[:1]:
            if prefix in _PREFIXES and unit in _KNOWN:
                step = "" if alone or not unit.startswith("degree_") else "delta_"
                return f"{step}{prefix}{unit}"
    return None
