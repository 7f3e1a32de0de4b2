"""What is wanted of outcomes, as a file says it beside the options of a campaign.

    outcomes:
      yield: maximize
      ee: at-least=90
      impurity: {goal: at-most=5, bounds: 0:100, failed_as: 100}

Each line is an outcome with its goal, or with a goal and what else there is to say of it.
"""

from __future__ import annotations

from typing import Any

from yaml.nodes import MappingNode, Node

from gollum.campaign.strict_yaml import YamlFile
from gollum.campaign.wanted import DETAILS, detailed
from gollum.data.outcomes import Goal, Outcome
from gollum.errors import ConfigError

WANTED = "'outcomes' needs lines such as 'yield: maximize' or 'ee: at-least=90'"


def read_outcomes(file: YamlFile, node: Node) -> tuple[Outcome, ...]:
    """The outcomes of a file, in its order.

    Raises:
        ConfigError: a line is no outcome; the message names it.
    """
    found = []
    for name, (_, value) in file.entries(node, WANTED).items():
        if not isinstance(value, MappingNode):
            found.append(_outcome(file, value, name, file.word(value), {}))
            continue
        parts = file.entries(value, WANTED)
        file.refuse_unknown(parts, ("goal", *DETAILS))
        said = {key: file.word(one) for key, (_, one) in parts.items()}
        found.append(_outcome(file, value, name, said.pop("goal", "maximize"), said))
    return tuple(found)


def _outcome(file: YamlFile, node: Node, name: str, goal: str, details: dict[str, Any]) -> Outcome:
    try:
        plain = Outcome(name=name, goal=Goal.of(goal))
        named = {key: {name: value} for key, value in details.items()}
        return detailed([plain], named)[0]
    except ConfigError as error:
        raise file.refusal(node, str(error).removesuffix(".")) from None
