"""What is measured of an experiment, what is wanted of it, and the scale on which it is learned."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from gollum.data.naming import loose
from gollum.errors import ConfigError, nearest, quoted

Vector = NDArray[np.float64]
Kind = Literal["maximize", "minimize", "target", "range", "at-least", "at-most", "watch"]
Transform = Literal["auto", "identity", "log", "logit"]
Bounds = tuple[float | None, float | None]

PURSUED = ("maximize", "minimize", "target")  # goals of which more is always wanted
LIMITS = ("range", "at-least", "at-most")  # goals that are met or not
HALF_STEP = 0.005  # of the width of the bounds: results at an end count as so far inside
UNBOUNDED: Bounds = (None, None)
_PERCENT = re.compile(
    r"(?:^|[\W_\d])(?:yields?|conversion|selectivity|(?:im)?purity|ee|percent|pct)(?:$|[\W_\d])|%",
    re.IGNORECASE,
)
_GOAL = re.compile(r"\s*([a-z_-]+)\s*(?:[=\s]\s*(.*))?", re.IGNORECASE)


class _Part(BaseModel):
    """Immutable and checked; an unknown field is refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Goal(_Part):
    """What is wanted of an outcome."""

    kind: Kind = "maximize"
    target: float | None = None
    """The value to come close to, for kind 'target'."""
    low: float | None = None
    """The least that is wanted, for 'at-least' and 'range'."""
    high: float | None = None
    """The most that is wanted, for 'at-most' and 'range'."""

    @classmethod
    def of(cls, text: str) -> Goal:
        """From a text such as 'maximize', 'target=7', 'range=6:8' or 'at-least=90'.

        Raises:
            ConfigError: it is none of these, or its number is none.
        """
        match = _GOAL.fullmatch(text)
        word = match[1].lower().replace("_", "-").replace("ise", "ize") if match else ""
        if match is None or word not in get_args(Kind):
            raise ConfigError(
                f"'{text}' is no goal; write maximize, minimize, target=7, range=6:8, at-least=90, "
                f"at-most=5 or watch.{nearest(word, get_args(Kind))}"
            )
        given = [_number(end) for end in match[2].split(":")] if match[2] else []
        ends = [end for end in given if end is not None]
        wanted = {"target": 1, "at-least": 1, "at-most": 1, "range": 2}.get(word, 0)
        if not len(ends) == len(given) == wanted:
            example = {"target": "=7", "at-least": "=90", "at-most": "=5", "range": "=6:8"}
            raise ConfigError(f"write {word}{example.get(word, '')}, not '{text.strip()}'.")
        if word == "range" and not ends[0] < ends[1]:
            raise ConfigError(f"the range {match[2]} should go up; turn it around.")
        fields = {"target": ("target",), "at-least": ("low",), "at-most": ("high",)}
        names = fields.get(word, ("low", "high"))
        return cls.model_validate({"kind": word, **dict(zip(names, ends, strict=False))})

    @property
    def pursued(self) -> bool:
        """Whether more of it is always wanted."""
        return self.kind in PURSUED

    @property
    def is_limit(self) -> bool:
        """Whether it is met or not."""
        return self.kind in LIMITS

    @property
    def alone(self) -> Goal:
        """What is pursued where there is nothing but this limit."""
        if self.kind == "range":
            return Goal(kind="target", target=0.5 * (float(self.low or 0) + float(self.high or 0)))
        return Goal(kind="minimize" if self.kind == "at-most" else "maximize")

    @property
    def sign(self) -> float:
        """−1 where less is better, otherwise 1."""
        return -1.0 if self.kind in ("minimize", "at-most") else 1.0

    def merit(self, values: Vector) -> Vector:
        """How good values are, larger is better: minus the distance from a target or a range."""
        if self.kind == "target":
            return -np.abs(values - float(self.target or 0.0))
        if self.kind == "range":
            beyond = np.maximum(float(self.low or 0.0) - values, values - float(self.high or 0.0))
            return -np.maximum(beyond, 0.0)
        return self.sign * values

    def holds(self, values: Vector) -> NDArray[np.bool_]:
        """Whether values meet a limit; always where there is none, never where they are missing."""
        held = ~np.isnan(values)
        if self.is_limit and self.low is not None:
            held &= values >= self.low
        if self.is_limit and self.high is not None:
            held &= values <= self.high
        return held

    def words(self) -> str:
        """As in 'maximize', 'come close to 5', 'at least 90' or 'from 6 to 8'."""
        if self.kind == "target":
            return f"come close to {self.target:g}"
        if self.kind == "range":
            return f"from {self.low:g} to {self.high:g}"
        if self.kind == "at-least":
            return f"at least {self.low:g}"
        return f"at most {self.high:g}" if self.kind == "at-most" else self.kind


class Outcome(_Part):
    """A number that is measured of experiments."""

    name: str
    unit: str = ""
    goal: Goal = Goal()
    bounds: Bounds = UNBOUNDED
    """Between which every value lies; None for an open end."""
    found: bool = False
    """Whether the bounds were found by unit or name, so that a result beyond one opens that end."""
    transform: Transform = "identity"
    """The scale on which it is learned; 'auto' takes that of the best predictive density."""
    failed_as: float | None = None
    """What a failed experiment counts as; None leaves it out of the model."""
    reference: float | None = None
    """Value that an experiment has to be better than to count among several objectives."""
    weight: float | None = None
    """Share in the weighted desirability; None where the objectives are weighed by their front."""

    @property
    def least_merit(self) -> float | None:
        """Merit of the reference, where there is one."""
        if self.reference is None:
            return None
        return float(self.goal.merit(np.array([self.reference]))[0])

    def check(self) -> None:
        """Refuse what contradicts itself.

        Raises:
            ConfigError: bounds, transform, goal and what a failure counts as don't go together.
        """
        low, high = self.bounds
        if low is not None and high is not None and not low < high:
            raise ConfigError(f"'{self.name}': the bounds {low:g}:{high:g} should go up.")
        said = "bounds" in self.model_fields_set  # otherwise they may be found yet
        if self.transform == "logit" and None in self.bounds and said:
            raise ConfigError(
                f"'{self.name}': logit needs both bounds; give them as --bounds "
                f"{quoted(f'{self.name}=0:100')}."
            )
        wanted = (self.goal.target, self.goal.low, self.goal.high, self.reference)
        for what, value in zip(("target", "limit", "limit", "reference"), wanted, strict=True):
            if value is not None and not self.within(value):
                raise ConfigError(
                    f"'{self.name}': the {what} {value:g} is outside of the bounds "
                    f"({spelt(self.bounds)}); change one of them."
                )
        if self.weight is not None and not (self.weight > 0 and math.isfinite(self.weight)):
            raise ConfigError(f"'{self.name}': a weight is a number above 0, not {self.weight:g}.")
        self._check_failure()

    def _check_failure(self) -> None:
        failed, name = self.failed_as, self.name
        if failed is None:
            return
        if not math.isfinite(failed):
            raise ConfigError(f"a failed experiment can't count as {failed}; give a finite number.")
        if not self.within(failed) and not self.found:
            raise ConfigError(
                f"a failed experiment would count as {name} {failed:g}, outside of the bounds "
                f"({spelt(self.bounds)}); give a value within them."
            )
        if failed == self.goal.target:
            raise ConfigError(
                f"a failed experiment would count as {failed:g}, which is the target; give a value "
                "far from it."
            )
        if self.goal.is_limit and self.goal.holds(np.array([failed]))[0]:
            raise ConfigError(
                f"a failed experiment would count as {name} {failed:g}, which is what is wanted "
                f"({self.goal.words()}); give a value that is not."
            )
        best = {"maximize": self.bounds[1], "minimize": self.bounds[0]}.get(self.goal.kind)
        if best is not None and failed == best:
            raise ConfigError(
                f"a failed experiment would count as {name} {failed:g}, the best that there can "
                "be; give a worse value."
            )

    def within(self, value: float) -> bool:
        """Whether a value lies inside the bounds."""
        low, high = self.bounds
        return (low is None or value >= low) and (high is None or value <= high)

    def scale(self, values: Vector, transform: Transform | None = None) -> Scale:
        """The scale on which it is learned.

        Args:
            values: known ones; where they go beyond found bounds, that end is open, and a logit
                is none.
            transform: instead of the outcome's; 'auto' stands for the identity.
        """
        low, high = self.bounds
        if self.found and len(values):
            low = None if low is None or np.min(values) < low else low
            high = None if high is None or np.max(values) > high else high
        chosen = transform or self.transform
        if chosen == "auto" or (chosen == "logit" and self.found and None in (low, high)):
            chosen = "identity"
        return Scale(chosen, (low, high), self.goal.sign)


@dataclass(frozen=True)
class Scale:
    """From an outcome's values to what a model learns, and back.

    A model learns sign · T(value). For the logit, T(y) = log(p / (1 − p)) with
    p = (y − low + h) / (high − low + 2h) and h = `HALF_STEP` (high − low): the ends stay finite,
    and all values keep their order. What comes back is clipped to the bounds: of a normal variable
    that is censored there, as a result is that can't be below 0 %, quantiles are clipped quantiles.
    Medians and intervals are told therefore, which any monotone T carries over as they are.

    Attributes:
        transform: 'identity', 'log' or 'logit'.
        bounds: between which values lie.
        sign: −1 where less is better.
    """

    transform: Transform = "identity"
    bounds: Bounds = UNBOUNDED
    sign: float = 1.0

    def utility(self, values: Vector) -> Vector:
        """What a model learns of n values; n."""
        if self.transform == "log":
            return self.sign * np.log(values)
        if self.transform == "logit":
            low, high, step = self._ends()
            share = (np.clip(values, low, high) - low + step) / (high - low + 2 * step)
            return self.sign * (np.log(share) - np.log1p(-share))
        return self.sign * values

    def values(self, utility: Vector) -> Vector:
        """Values of n numbers of the model, inside the bounds; n."""
        back = self.sign * utility
        if self.transform == "log":
            back = np.exp(np.clip(back, -700.0, 700.0))
        elif self.transform == "logit":
            low, high, step = self._ends()
            back = low - step + (high - low + 2 * step) / (1.0 + np.exp(-np.clip(back, -700, 700)))
        return self.inside(back)

    def inside(self, values: Vector) -> Vector:
        """Values clipped to the bounds."""
        low, high = self.bounds
        if low is None and high is None:
            return values
        clipped: Vector = np.clip(values, low, high)
        return clipped

    def interval(self, mean: Vector, reach: Vector) -> tuple[Vector, Vector]:
        """Lowest and highest values of mean ± reach, both of the model."""
        ends = self.values(mean - reach), self.values(mean + reach)
        return ends if self.sign > 0 else (ends[1], ends[0])

    def deviation(self, mean: Vector, deviation: Vector) -> Vector:
        """Standard deviation in the outcome's unit: half of what holds 68 %, if it is not linear.

        Args:
            mean: n means of the model.
            deviation: n standard deviations of the model.
        """
        if self.transform == "identity":
            return deviation
        low, high = self.interval(mean, deviation)
        return 0.5 * (high - low)

    def can_hold(self, values: Vector) -> bool:
        """Whether all values have a place on it."""
        return self.transform != "log" or bool((values > 0).all())

    def log_probability(self, values: Vector, mean: Vector, deviation: Vector) -> Vector:
        """Log probability that a prediction gives each of n results to the accuracy of its digits.

        A result stands for what would be rounded to it, so that scales are compared by the same
        events, and results at a bound for all that lies beyond it.

        Args:
            values: n results.
            mean: n means of the model.
            deviation: n standard deviations of a measurement, of the model.
        """
        from scipy.special import log_ndtr

        half = 0.5 * _resolution(values)
        low, high = self.bounds
        ends = []
        for shift, end in ((-half, low), (half, high)):
            shifted = values + shift
            if self.transform == "log":
                shifted = np.maximum(shifted, 0.5 * values)
            z = (self.utility(shifted) - mean) / deviation
            if end is not None:
                beyond = np.sign(shift) * self.sign * np.inf
                z = np.where(np.isclose(values, end, rtol=0, atol=half), beyond, z)
            ends.append(z)
        below, above = np.minimum(*ends), np.maximum(*ends)
        # By symmetry, to the left of 0, where the logarithm keeps all its digits.
        flip = below > 0
        below, above = np.where(flip, -above, below), np.where(flip, -below, above)
        upper, lower = log_ndtr(above), log_ndtr(below)
        gap = np.minimum(lower - upper, -1e-12)
        found: Vector = upper + np.log1p(-np.exp(gap))
        return np.maximum(found, -1e3)

    def _ends(self) -> tuple[float, float, float]:
        low, high = float(self.bounds[0] or 0.0), float(self.bounds[1] or 0.0)
        return low, high, HALF_STEP * (high - low)


def _resolution(values: Vector) -> float:
    """The smallest difference that results have, but a thousandth of their range at least."""
    distinct = np.unique(values)
    if len(distinct) < 2:
        return 1e-3
    return float(max(np.diff(distinct).min(), 1e-3 * np.ptp(distinct)))


def found_bounds(name: str, unit: str, values: Vector) -> Bounds:
    """Bounds that an outcome has by its unit: 0 to 100 of a percentage, 0 to 1 of a fraction.

    Args:
        name: of the outcome, which may say that it is a percentage.
        unit: '' where none is known.
        values: known ones; bounds that they go beyond are none.
    """
    if unit != "%" and (unit or not _PERCENT.search(name)):
        return UNBOUNDED
    top = 1.0 if len(values) > 1 and 0 < np.max(values) <= 1 else 100.0
    inside = not len(values) or (np.min(values) >= 0 and np.max(values) <= top)
    return (0.0, top) if inside else UNBOUNDED


def spelt(bounds: Bounds) -> str:
    """'0 to 100', 'from 0 on', 'up to 100' or 'none'."""
    low, high = bounds
    if low is None and high is None:
        return "none"
    if low is None or high is None:
        return f"up to {high:g}" if low is None else f"from {low:g} on"
    return f"{low:g} to {high:g}"


def bounds_of(text: str) -> Bounds:
    """From '0:100', '0:', ':100' or 'none'.

    Raises:
        ConfigError: it is none of these.
    """
    if text.strip().lower() == "none":
        return UNBOUNDED
    ends = text.split(":")
    if len(ends) != 2 or not any(end.strip() for end in ends):
        raise ConfigError(f"write bounds as 0:100, 0:, :100 or none, not '{text}'.")
    numbers = [_number(end) if end.strip() else None for end in ends]
    if any(n is None and end.strip() for n, end in zip(numbers, ends, strict=True)):
        raise ConfigError(f"write bounds as 0:100, 0:, :100 or none, not '{text}'.")
    return numbers[0], numbers[1]


def _number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def wanted_words(outcomes: Iterable[Outcome]) -> str:
    """As in 'maximize yield; ee at least 90; minimize cost'."""
    found = []
    for one in outcomes:
        goal, name = one.goal, one.name
        if goal.kind == "target":
            found.append(f"bring {name} to {goal.target:.15g}")
        elif goal.is_limit:
            found.append(f"{name} {goal.words()}")
        else:
            found.append(f"{goal.kind} {name}")
    return "; ".join(found)


def alone_words(outcomes: Sequence[Outcome]) -> str:
    """What is pursued where there are only limits, as in 'maximize yield'; '' with objectives."""
    if not outcomes or any(one.goal.pursued for one in outcomes):
        return ""
    first = outcomes[0]
    return wanted_words([first.model_copy(update={"goal": first.goal.alone})])


def wanted_lines(outcomes: Sequence[Outcome]) -> list[str]:
    """What is wanted of each outcome, with what else was said of it."""
    found = []
    for one in outcomes:
        parts = [wanted_words([one])]
        if one.bounds != UNBOUNDED:
            parts.append(f"bounds {spelt(one.bounds)}")
        if one.transform != "identity":
            parts.append(f"scale {one.transform}")
        if one.failed_as is not None:
            parts.append(f"a failed experiment counts as {one.failed_as:g}")
        if one.reference is not None:
            parts.append(f"reference {one.reference:g}")
        if one.weight is not None:
            parts.append(f"weight {one.weight:g}")
        found.append(", ".join(parts))
    if alone := alone_words(outcomes):
        found.append(f"{alone}, as there is no objective beside the limit")
    return found


def refuse_twice(names: Iterable[str]) -> None:
    """Refuse an outcome that is named twice, however it is spelt.

    Raises:
        ConfigError: one is.
    """
    seen = dict[str, str]()
    for name in names:
        before = seen.get(loose(name))
        if before == name:
            raise ConfigError(f"the objective '{name}' is given twice; say once what is wanted.")
        if before is not None:
            raise ConfigError(
                f"the objectives '{before}' and '{name}' differ in spelling alone; say once what "
                "is wanted, or rename one of them."
            )
        seen[loose(name)] = name
