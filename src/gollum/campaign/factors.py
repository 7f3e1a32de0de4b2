"""Candidates from lists of options: all combinations, less those that can't be run.

    factors:
      ligand: [XPhos, SPhos, dppf]
      temperature_C: {from: 40, to: 100, step: 20}
      catalyst_mol_pct: [1, 2.5, 5]
    exclude:
      - {ligand: dppf, temperature_C: [80, 100]}
      - {ligand: XPhos, temperature_C: {above: 80}}

Each line below `exclude` takes away the combinations to which all of it applies: one option, any
option of a list, or the numbers above or below a limit, which itself stays. An option is what is
written: `NO` and `2024-01-01` are names, `007` is a code, `80.0` is the number 80.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from yaml.nodes import MappingNode, Node, SequenceNode

from gollum.campaign.strict_yaml import YamlFile
from gollum.data.pool import cell_text
from gollum.errors import ConfigError, nearest
from gollum.notes import Notes

MOST_COMBINATIONS = 1_000_000
RANGE = ("from", "to", "step")
LIMITS = ("above", "below")


@dataclass(frozen=True)
class _Factor:
    """A column and its options: numbers only, or texts only."""

    name: str
    options: Sequence[int | float] | Sequence[str]

    @property
    def is_numeric(self) -> bool:
        return not isinstance(self.options[0], str)

    @cached_property
    def number_of(self) -> dict[str, int]:
        """The options as text, by which they are told apart, with their places."""
        return {cell_text(option): i for i, option in enumerate(self.options)}

    def column(self, codes: NDArray[np.int64]) -> pd.Series:
        """The options with these places, in a row each."""
        if self.is_numeric:
            return pd.Series(np.array(self.options)[codes])
        return pd.Series(np.array(self.options, dtype=object)[codes], dtype="str")


def read_factors(path: Path, encoding: str | None = None) -> pd.DataFrame:
    """All combinations of the options in a YAML file, less the excluded ones.

    The first factor varies slowest. `attrs['notes']` says how many combinations there are and how
    many of them are excluded, `attrs['factors']` names the columns.

    Args:
        path: the file.
        encoding: as `read_table` takes it.

    Raises:
        ConfigError: the file is not as this module describes it; the message names the line.
        DataError: the file can't be read.
    """
    file = YamlFile(path, encoding)
    factors, excluded = _parts(file)
    sizes = [len(factor.options) for factor in factors]
    total = math.prod(sizes)
    product = " × ".join(f"{n} {f.name}" for n, f in zip(sizes, factors, strict=True))
    if total > MOST_COMBINATIONS:
        raise ConfigError(
            f"{path}: {product} make {total:,} combinations, and up to {MOST_COMBINATIONS:,} are "
            "taken; give fewer options, or a table of the combinations that you mean."
        )
    codes = dict(
        zip([f.name for f in factors], np.unravel_index(np.arange(total), sizes), strict=True)
    )
    out = np.zeros(total, dtype=bool)
    for node in excluded:
        hit = _hit(file, node, factors, codes)
        if not (hit & ~out).any():
            rest = " that the lines above it leave" if hit.any() else ""
            file.note("excludes-nothing", f"line {file.line(node)} excludes nothing{rest}")
        out |= hit
    if out.all():
        raise ConfigError(f"{path}: every combination is excluded; take a line of 'exclude' away.")
    table = pd.DataFrame(
        {factor.name: factor.column(codes[factor.name][~out]) for factor in factors}
    )
    stay = f", {out.sum()} of them are excluded and {len(table)} stay" if out.any() else ""
    file.note("combinations", f"{product} make {total} combinations{stay}")
    names = tuple(factor.name for factor in factors)
    table.attrs = {"notes": Notes(file.notes), "first_row": 2, "factors": names}
    return table


def _parts(file: YamlFile) -> tuple[list[_Factor], list[Node]]:
    """The factors, and the lines of what is excluded."""
    parts = file.entries(file.root, "the file should begin with 'factors:'")
    file.refuse_unknown(parts, ("factors", "exclude"))
    if "factors" not in parts:
        raise ConfigError(f"{file.path}: there are no 'factors'; list the options of each column.")
    _, below = parts["factors"]
    described = file.entries(below, "'factors' needs lines such as 'ligand: [XPhos, dppf]'")
    factors = [_factor(file, name, node) for name, (_, node) in described.items()]
    if "exclude" not in parts:
        return factors, []
    wanted = "'exclude' needs lines such as '- {ligand: dppf}'; leave it out if there are none"
    return factors, file.items(parts["exclude"][1], wanted)


def _factor(file: YamlFile, name: str, node: Node) -> _Factor:
    if isinstance(node, MappingNode):
        return _Factor(name, _range(file, name, node))
    nodes = file.items(
        node, f"'{name}' needs options such as [a, b], or a range {{from: 40, to: 100, step: 20}}"
    )
    numbers = [number for n in nodes if (number := file.number(n)) is not None]
    words = [file.word(n) for n in nodes]
    factor = _Factor(name, numbers if len(numbers) == len(nodes) else words)
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
    for key, value in parts.values():
        if file.number(value) is None:
            raise file.refusal(key, f"'{file.word(value)}' is not a number; correct it")
    start, end, step = (Fraction(file.word(parts[part][1])) for part in RANGE)
    if step <= 0 or end < start:
        raise file.refusal(node, f"the range of '{name}' should go up, by a step above 0")
    steps = (end - start) / step
    if steps >= MOST_COMBINATIONS:
        count = f"more than {MOST_COMBINATIONS:,}"
        raise file.refusal(node, f"the range of '{name}' has {count} numbers; take a larger step")
    if steps.denominator != 1:
        last = float(start + math.floor(steps) * step)
        raise file.refusal(
            node,
            f"the steps of '{name}' reach {last:g} and miss {float(end):g}; change 'to' or 'step'",
        )
    values = [start + i * step for i in range(int(steps) + 1)]
    whole = start.denominator == step.denominator == 1
    if whole and max(abs(start), abs(end)) < 2**63:
        return [int(value) for value in values]
    return [float(value) for value in values]


def _hit(
    file: YamlFile,
    node: Node,
    factors: Sequence[_Factor],
    codes: dict[str, NDArray[np.int64]],
) -> NDArray[np.bool_]:
    """Flags of the combinations to which all conditions of a line apply."""
    by_name = {factor.name: factor for factor in factors}
    conditions = file.entries(node, "a line of 'exclude' should be such as '- {ligand: dppf}'")
    hit = np.ones(len(next(iter(codes.values()))), dtype=bool)
    for name, (key, condition) in conditions.items():
        if name not in by_name:
            raise file.refusal(key, f"there is no factor '{name}'", nearest(name, by_name))
        hit &= _meant(file, by_name[name], condition)[codes[name]]
    return hit


def _meant(file: YamlFile, factor: _Factor, condition: Node) -> NDArray[np.bool_]:
    """Flags of the options that a condition names."""
    if isinstance(condition, MappingNode):
        return _within(file, factor, condition)
    wanted = f"the list for '{factor.name}' is empty; name some of its options"
    several = isinstance(condition, SequenceNode)
    chosen = np.zeros(len(factor.options), dtype=bool)
    for node in file.items(condition, wanted) if several else [condition]:
        word = file.word(node)
        place = factor.number_of.get(word, factor.number_of.get(cell_text(file.number(node))))
        if place is None:
            close = nearest(word, factor.number_of)
            raise file.refusal(node, f"'{factor.name}' has no option '{word}'", close)
        chosen[place] = True
    return chosen


def _within(file: YamlFile, factor: _Factor, condition: Node) -> NDArray[np.bool_]:
    limits = file.entries(condition, f"'{factor.name}' needs a limit such as {{above: 80}}")
    file.refuse_unknown(limits, LIMITS)
    if not factor.is_numeric:
        problem = f"'{factor.name}' has names for options, and no name is above or below another"
        raise file.refusal(condition, problem)
    chosen = np.ones(len(factor.options), dtype=bool)
    options = np.array(factor.options, dtype=np.float64)
    for side, (_, node) in limits.items():
        limit = file.number(node)
        if limit is None:
            raise file.refusal(node, f"'{file.word(node)}' is not a number; correct it")
        chosen &= options > limit if side == "above" else options < limit
    return chosen
