"""What lines of a list of options rule out, as bounds on sums."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property, reduce

import numpy as np
from numpy.typing import NDArray
from yaml.nodes import MappingNode, Node, SequenceNode

from gollum.campaign.grid import SMALL, Bound, Together
from gollum.campaign.options import Factor
from gollum.campaign.relations import Relation, RelationError, relations
from gollum.campaign.strict_yaml import YamlFile
from gollum.data.pool import cell_text
from gollum.errors import listed, nearest

LIMITS = ("above", "below")
ABSENT = ("0", "none")  # options that say that a component is not there
BACKQUOTES = "; a name with other characters than letters, digits and _ stands in backquotes"
FORMS = (
    "'a + b <= 10'",
    "{only: {additive: LiCl}, with: {solvent: water}}",
    "{at_most: 2, of: [a, b, c]}",
)
PAIR = "'- {catalyst: Pd(OAc)2, ligand: [XPhos, SPhos]}'"
LARGEST = 2**60  # sum of a bound

Flags = NDArray[np.bool_]


@dataclass(frozen=True)
class Rules:
    """Reads lines about some factors.

    Attributes:
        file: with the lines.
        factors: in their order.
    """

    file: YamlFile
    factors: Sequence[Factor]

    @cached_property
    def _place(self) -> dict[str, int]:
        return {factor.name: place for place, factor in enumerate(self.factors)}

    def exclusion(self, node: Node) -> list[Bound]:
        """A line of 'exclude': not all of its conditions are met.

        Raises:
            ConfigError: it can't be understood; so do the others.
        """
        wanted = "a line of 'exclude' should be such as '- {ligand: dppf}'"
        return [_not_all(self._conditions(node, wanted))]

    def relation(self, node: Node) -> list[Bound]:
        """A line of 'relations': a comparison, `only … with`, or `at_most … of`."""
        if not isinstance(node, MappingNode):
            return self._comparison(node)
        parts = self.file.entries(node, f"a line of 'relations' is such as {FORMS[0]}")
        self.file.refuse_unknown(parts, ("only", "with", "at_most", "of"))
        for pair, read in ((("only", "with"), self._only), (("at_most", "of"), self._at_most)):
            if parts.keys() == set(pair):
                one, other = (parts[part][1] for part in pair)
                return read(one, other)
        raise self.file.refusal(node, f"a line of 'relations' is such as {' or '.join(FORMS)}")

    def together(self, nodes: Sequence[Node]) -> list[tuple[Node, Together]]:
        """Lines of 'together': of the factors that lines name alike, only what one of them says.

        Returns:
            For each set of factors, its first line and what goes together.
        """
        found = dict[tuple[int, ...], tuple[Node, Flags]]()
        for node in nodes:
            met = self._conditions(node, f"a line of 'together' is such as {PAIR}")
            places = tuple(sorted(met))
            if len(places) < 2:
                raise self.file.refusal(node, "a line of 'together' names two factors or more")
            if math.prod(len(self.factors[place].options) for place in places) > SMALL:
                names = listed(self.factors[place].name for place in places)
                problem = f"{names} have more than {SMALL:,} combinations; name fewer factors"
                raise self.file.refusal(node, problem)
            flags = reduce(np.logical_and.outer, (met[place] for place in places))
            first, before = found.get(places, (node, np.zeros_like(flags)))
            found[places] = first, before | flags
        for places, (node, flags) in found.items():
            self._refuse_lonely(node, places, flags)
        return [(node, Together(places, flags)) for places, (node, flags) in found.items()]

    def _refuse_lonely(self, node: Node, places: tuple[int, ...], flags: Flags) -> None:
        """Refuse listed options that no line has, which may have been forgotten."""
        for axis, place in enumerate(places):
            factor = self.factors[place]
            others = tuple(other for other in range(len(places)) if other != axis)
            lonely = np.flatnonzero(~flags.any(axis=others))
            if len(lonely) and not factor.continuous:
                option = cell_text(factor.options[lonely[0]])
                names = listed(self.factors[other].name for other in places if other != place)
                problem = f"'{option}' of '{factor.name}' goes together with no {names}"
                advice = f"add a line with it, or take it out of '{factor.name}'"
                raise self.file.refusal(node, f"{problem}; {advice}")

    def _comparison(self, node: Node) -> list[Bound]:
        text = self.file.word(node)
        try:
            return [self._bound(node, relation) for relation in relations(text)]
        except RelationError as problem:
            raise self.file.refusal(node, f"'{text}' is refused; {problem}") from None

    def _bound(self, node: Node, relation: Relation) -> Bound:
        """A weighted sum of numbers as one of whole numbers: over their common denominator."""
        sums = dict[int, list[Fraction]]()
        for name, weight in relation.weights.items():
            place = self._known(node, name, BACKQUOTES)
            if not self.factors[place].is_numeric:
                problem = f"'{name}' has names for options, and a relation needs numbers"
                raise self.file.refusal(node, problem)
            numbers = self.factors[place].options
            sums[place] = [weight * Fraction(repr(number)) for number in numbers]
        scale = math.lcm(*(number.denominator for part in sums.values() for number in part))
        whole = {place: [int(number * scale) for number in part] for place, part in sums.items()}
        if sum(max(map(abs, part)) for part in whole.values()) > LARGEST:
            problem = "the numbers that it relates have too many digits together; round them"
            raise self.file.refusal(node, problem)
        adds = {place: np.array(part, dtype=np.int64) for place, part in whole.items()}
        limit = relation.limit * scale
        low = math.floor(limit) + 1 if relation.sign == ">" else math.ceil(limit)
        high = math.ceil(limit) - 1 if relation.sign == "<" else math.floor(limit)
        return Bound.of(
            adds,
            low if relation.sign in ("==", ">=", ">") else None,
            high if relation.sign in ("==", "<=", "<") else None,
        )

    def _only(self, one: Node, other: Node) -> list[Bound]:
        """What meets all of one set of conditions meets all of the other."""
        wanted = "conditions are such as {additive: [LiCl, NaCl]}"
        met, needed = self._conditions(one, wanted), self._conditions(other, wanted)
        broken = [{place: ~flags} for place, flags in needed.items()]
        return [
            _not_all(met | {place: flags & met.get(place, True) for place, flags in each.items()})
            for each in broken
        ]

    def _at_most(self, most: Node, names: Node) -> list[Bound]:
        """Of these factors, at most so many have another option than 0 or none."""
        number = self.file.number(most)
        if not isinstance(number, int) or number < 0:
            raise self.file.refusal(most, "'at_most' is how many: 0, 1, 2 …")
        adds = dict[int, NDArray[np.int64]]()
        for node in self.file.items(names, "'of' needs a list of factors, such as [a, b, c]"):
            name = self.file.word(node)
            place = self._known(node, name)
            options = map(cell_text, self.factors[place].options)
            present = np.array([o.casefold() not in ABSENT for o in options], dtype=np.int64)
            if present.all():
                problem = f"'{name}' has no option 0 or none, so it is always there"
                raise self.file.refusal(node, f"{problem}; add one, or leave it out of the list")
            adds[place] = present
        return [Bound.of(adds, high=number)]

    def _conditions(self, node: Node, wanted: str) -> dict[int, Flags]:
        """Place of a factor → which of its options are meant."""
        return {
            (place := self._known(key, name)): self._meant(self.factors[place], condition)
            for name, (key, condition) in self.file.entries(node, wanted).items()
        }

    def _known(self, node: Node, name: str, advice: str = "") -> int:
        if name not in self._place:
            close = nearest(name, self._place)
            raise self.file.refusal(node, f"there is no factor '{name}'{advice}", close)
        return self._place[name]

    def _meant(self, factor: Factor, condition: Node) -> Flags:
        """Flags of the options that a condition names."""
        if isinstance(condition, MappingNode):
            return self._within(factor, condition)
        wanted = f"the list for '{factor.name}' is empty; name some of its options"
        several = isinstance(condition, SequenceNode)
        chosen = np.zeros(len(factor.options), dtype=bool)
        for node in self.file.items(condition, wanted) if several else [condition]:
            word, number = self.file.word(node), self.file.number(node)
            place = factor.number_of.get(word, factor.number_of.get(cell_text(number)))
            if place is None:
                close = nearest(word, factor.number_of)
                raise self.file.refusal(node, f"'{factor.name}' has no option '{word}'", close)
            chosen[place] = True
        return chosen

    def _within(self, factor: Factor, condition: Node) -> Flags:
        file = self.file
        limits = file.entries(condition, f"'{factor.name}' needs a limit such as {{above: 80}}")
        file.refuse_unknown(limits, LIMITS)
        if not factor.is_numeric:
            problem = (
                f"'{factor.name}' has names for options, and no name is above or below another"
            )
            raise file.refusal(condition, problem)
        chosen = np.ones(len(factor.options), dtype=bool)
        options = np.array(factor.options, dtype=np.float64)
        for side, (_, node) in limits.items():
            limit = file.number(node)
            if limit is None:
                raise file.refusal(node, f"'{file.word(node)}' is not a number; correct it")
            chosen &= options > limit if side == "above" else options < limit
        return chosen


def _not_all(met: Mapping[int, Flags]) -> Bound:
    """Of these conditions, at least one is not met."""
    adds = {place: flags.astype(np.int64) for place, flags in met.items()}
    return Bound.of(adds, high=len(adds) - 1)
