"""The options of each column as they are listed: names, numbers, ranges, and parts of a mixture."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from yaml.nodes import MappingNode, Node

from gollum.campaign.grid import Bound
from gollum.campaign.strict_yaml import YamlFile
from gollum.data.pool import cell_text

MOST_OPTIONS = 1_000_000  # of a factor
RANGE = ("from", "to", "step")
MIXTURE = ("parts", "total", "step", "at_most")


@dataclass(frozen=True)
class Factor:
    """A column and its options: numbers only, or texts only.

    Attributes:
        name: of the column.
        options: in the order in which they were listed.
        continuous: whether they are a quantity in steps, from the smallest to the largest.
    """

    name: str
    options: Sequence[int | float] | Sequence[str]
    continuous: bool = False

    @property
    def is_numeric(self) -> bool:
        """Whether the options are numbers."""
        return not isinstance(self.options[0], str)

    @cached_property
    def number_of(self) -> dict[str, int]:
        """The options as text, by which they are told apart, with their places."""
        return {cell_text(option): i for i, option in enumerate(self.options)}

    @cached_property
    def array(self) -> NDArray[Any]:
        """The options as an array, of text as of objects."""
        return np.array(self.options, dtype=None if self.is_numeric else object)

    def column(self, codes: NDArray[np.int32]) -> pd.Series:
        """The options with these places, in a row each."""
        return pd.Series(self.array[codes], dtype=None if self.is_numeric else "str")


def read_factor(file: YamlFile, name: str, node: Node) -> Factor:
    """The options of a column.

    Raises:
        ConfigError: they can't be understood; the message names the line.
    """
    if isinstance(node, MappingNode):
        return Factor(name, _range(file, name, node), continuous=True)
    nodes = file.items(
        node, f"'{name}' needs options such as [a, b], or a range {{from: 40, to: 100, step: 20}}"
    )
    numbers = [number for n in nodes if (number := file.number(n)) is not None]
    words = [file.word(n) for n in nodes]
    factor = Factor(name, numbers if len(numbers) == len(nodes) else words)
    seen = set[str]()
    for option, n in zip(factor.options, nodes, strict=True):
        if cell_text(option) in seen:
            raise file.refusal(n, f"'{name}' has the option '{cell_text(option)}' twice; keep one")
        seen.add(cell_text(option))
    if numbers and not factor.is_numeric:
        word = next(w for w, n in zip(words, nodes, strict=True) if file.number(n) is None)
        what = f"'{word}' among the numbers of '{name}' makes all of its options names"
        file.note("word-among-numbers", what)
    return factor


def _range(file: YamlFile, name: str, node: Node) -> list[int | float]:
    """from, from + step, … to, without the error of adding decimals in binary."""
    parts = file.entries(node, f"the range of '{name}' needs from, to and step")
    file.refuse_unknown(parts, RANGE)
    if missing := [part for part in RANGE if part not in parts]:
        raise file.refusal(node, f"the range of '{name}' has no '{missing[0]}'; add it")
    start, end, step = (_exact(file, parts[part][1]) for part in RANGE)
    if step <= 0 or end < start:
        raise file.refusal(node, f"the range of '{name}' should go up, by a step above 0")
    steps = (end - start) / step
    if steps >= MOST_OPTIONS:
        count = f"more than {MOST_OPTIONS:,}"
        raise file.refusal(node, f"the range of '{name}' has {count} numbers; take a larger step")
    if steps.denominator != 1:
        last = float(start + math.floor(steps) * step)
        raise file.refusal(
            node,
            f"the steps of '{name}' reach {last:g} and miss {float(end):g}; change 'to' or 'step'",
        )
    return numbers(start, step, int(steps))


def read_mixture(file: YamlFile, node: Node) -> tuple[list[Factor], list[Bound]]:
    """The parts of a mixture, each with all amounts in steps, and that they add up to the total.

    Raises:
        ConfigError: it can't be understood; the message names the line.
    """
    wanted = "a mixture is such as {parts: [water, THF, DMF], total: 100, step: 10, at_most: 2}"
    described = file.entries(node, wanted)
    file.refuse_unknown(described, MIXTURE)
    if missing := [part for part in MIXTURE[:3] if part not in described]:
        raise file.refusal(node, f"the mixture has no '{missing[0]}'; {wanted}")
    nodes = file.items(described["parts"][1], wanted)
    names = [file.word(each) for each in nodes]
    if len(names) < 2 or len(set(names)) < len(names):
        raise file.refusal(nodes[0], "a mixture has two parts or more, each named once")
    total, step = (_exact(file, described[part][1]) for part in ("total", "step"))
    if total <= 0 or step <= 0 or (total / step).denominator != 1:
        problem = f"steps of {float(step):g} do not make {float(total):g}"
        raise file.refusal(node, f"{problem}; change 'total' or 'step'")
    count = int(total / step)
    if count >= MOST_OPTIONS:
        raise file.refusal(node, f"the mixture has over {MOST_OPTIONS:,} steps; take larger ones")
    amounts = numbers(Fraction(), step, count)
    factors = [Factor(name, amounts, continuous=True) for name in names]
    steps = np.arange(count + 1)
    bounds = [Bound.of(dict.fromkeys(range(len(names)), steps), low=count, high=count)]
    if "at_most" in described:
        most = file.number(described["at_most"][1])
        if not isinstance(most, int) or most < 1:
            raise file.refusal(described["at_most"][0], "'at_most' is how many parts: 1, 2, 3 …")
        there = (steps > 0).astype(np.int64)
        bounds.append(Bound.of(dict.fromkeys(range(len(names)), there), high=most))
    return factors, bounds


def _exact(file: YamlFile, node: Node) -> Fraction:
    """The number that is written in one place."""
    number = file.number(node)
    if number is None or not math.isfinite(number):
        raise file.refusal(node, f"'{file.word(node)}' is not a number; correct it")
    return Fraction(repr(number))


def numbers(start: Fraction, step: Fraction, steps: int) -> list[int | float]:
    """From start on, so many steps: whole numbers where all are, and those that one would type."""
    values = [start + i * step for i in range(steps + 1)]
    whole = start.denominator == step.denominator == 1
    if whole and max(abs(values[0]), abs(values[-1])) < 2**63:
        return [int(value) for value in values]
    return [float(value) for value in values]
