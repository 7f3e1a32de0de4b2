"""What somebody expects of the options of a factor: a chemist's ranking, or a chat model's scores.

Each counts as a source by itself, so that a wrong one loses its say without the others.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from gollum.campaign.events import Cells, Learned
from gollum.campaign.learning import refuse_unless_free
from gollum.campaign.requests import cell_meant
from gollum.campaign.state import State
from gollum.data.naming import meant
from gollum.data.pool import cell_text
from gollum.errors import ConfigError, DataError, nearest
from gollum.features.fixed.columns import partition
from gollum.language.remote import Endpoint, Prompt, Store, chat

MOST_OPTIONS = 60  # of a factor, that a chat model is asked about
MOST_NUMBERS = 7  # values of a quantity
TOLD = 12  # options of each other factor that it is told
SYSTEM = (
    "You advise experimenters on which option of a factor to try first. Say what you expect from "
    "what is known of the chemistry or the material. Answer with a JSON object and nothing else."
)


@dataclass(frozen=True)
class Opinion:
    """How good the options of a column are thought to be.

    Attributes:
        column: of the campaign.
        scores: option → score, larger is better; only their order and distances count.
        name: whose opinion it is, as sources are called.
    """

    column: str
    scores: Mapping[str | float, float]
    name: str

    def event(self, state: State) -> Learned:
        """What happens to a campaign that takes it over.

        Raises:
            ConfigError: its surrogate learns from no sources, or comes close to a value.
            DataError: it has it already, or nothing is told apart.
        """
        refuse_unless_free(state, self.name)
        if state.goal.kind == "target":
            raise ConfigError(
                "a value to come close to can't be learned from opinions on what is good."
            )
        if len(set(self.scores.values())) < 2:
            raise DataError(
                f"{self.name}: all options are as good as each other; nothing to learn."
            )
        options = [*self.scores]
        table = pd.DataFrame(
            {self.column: options}, index=[f"o{i + 1}" for i in range(len(options))]
        )
        return Learned(
            name=self.name,
            matched={self.column: self.column},
            comparable=False,
            opinion=True,
            results=Cells.of(table),
            values=tuple(state.goal.sign * float(score) for score in self.scores.values()),
        )


def ranking(state: State, text: str) -> Opinion:
    """A ranking such as 'ligand=XPhos > SPhos, dppf > PPh3'; between commas is a tie.

    Raises:
        ConfigError: it is none, or names a column or option that is not there, or one twice.
    """
    name, equals, order = text.partition("=")
    if not equals or ">" not in order:
        raise ConfigError(
            f"'{text}' is no ranking; write one as in --rank \"ligand=XPhos > SPhos\"."
        )
    known = [*map(str, state.table.columns)]
    column = meant(name.strip(), known, [])
    if column not in known:
        raise ConfigError(f"there is no column '{name.strip()}' to rank.{nearest(name, known)}")
    places = [[one.strip() for one in place.split(",")] for place in order.split(">")]
    scores: dict[str | float, float] = {}
    for score, place in enumerate(reversed(places)):
        for given in place:
            option = _option(state, column, given)
            if option in scores:
                raise ConfigError(f"the ranking of '{column}' names '{given}' twice; give it once.")
            scores[option] = float(score)
    return Opinion(column, scores, f"ranking of {column}")


def asked(
    state: State,
    endpoint: Endpoint,
    *,
    confirm: Callable[[str], bool],
    columns: Sequence[str] | None = None,
    store: Store | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> list[Opinion]:
    """A chat model's scores of the options of each factor.

    Args:
        state: the campaign.
        endpoint: the model.
        confirm: asked before anything is sent.
        columns: about which; by default one of each factor that varies.
        store: answers that were paid for earlier.
        progress: called with (answers, questions) after each.

    Raises:
        ConfigError: there is no such column, or nothing to ask about.
        ModelError: the endpoint gives no answer.
    """
    known = [*map(str, state.table.columns)]
    chosen = [meant(column, known, []) for column in columns or ()]
    for column in chosen:
        if column not in known:
            raise ConfigError(
                f"there is no column '{column}' to ask about.{nearest(column, known)}"
            )
    factors = _factors(state, chosen)
    if not factors:
        raise ConfigError(
            "no column differs between the candidates; there is nothing to ask about."
        )
    prompts = [_prompt(state, column, options) for column, options in factors.items()]
    answers = chat(endpoint, prompts, store or Store(), confirm=confirm, progress=progress)
    return [
        Opinion(column, dict(zip(options, _scores(answer, len(options)), strict=True)),
                f"{endpoint.model} on {column}")
        for (column, options), answer in zip(factors.items(), answers, strict=True)
    ]  # fmt: skip


def _option(state: State, column: str, given: str) -> str | float:
    """The cell that is meant.

    Raises:
        ConfigError: no candidate has it.
    """
    if pd.api.types.is_numeric_dtype(state.table[column]):
        try:
            value = float(given)
        except ValueError:
            raise ConfigError(f"'{column}' holds numbers, and '{given}' is none.") from None
        if not math.isfinite(value):
            raise ConfigError(f"'{column}' holds numbers, and '{given}' is none.")
        return value
    option = cell_meant(state, column, given, [])
    known = [cell_text(cell) for cell in pd.unique(state.table[column].dropna())]
    if option not in known:
        raise ConfigError(f"'{column}' has no option '{given}'.{nearest(given, known)}")
    return option


def _factors(state: State, chosen: Sequence[str]) -> dict[str, list[str | float]]:
    """Options by column; of columns that rename each other, the first stands for all."""
    found: dict[str, list[str | float]] = {}
    seen = set[bytes]()
    for column in chosen or [*map(str, state.table.columns)]:
        cells = state.table[column].dropna()
        parts = partition(cells)
        if parts is None or (parts in seen and not chosen):
            continue
        seen.add(parts)
        if pd.api.types.is_numeric_dtype(cells):
            values = np.unique(cells.to_numpy(dtype=np.float64))
            places = np.linspace(0, len(values) - 1, min(len(values), MOST_NUMBERS)).round()
            found[column] = [float(values[int(place)]) for place in places]
            continue
        options = [cell_text(cell) for cell in pd.unique(cells)]
        if len(options) > MOST_OPTIONS:
            drawn = np.random.default_rng(0).permutation(len(options))[:MOST_OPTIONS]
            options = [options[i] for i in sorted(drawn)]
        found[column] = [*options]
    return found


def _prompt(state: State, column: str, options: Sequence[str | float]) -> Prompt:
    """How good each option of a column is expected to be."""
    table = state.table
    others = []
    for other in map(str, table.columns):
        if other != column:
            cells = [cell_text(cell) for cell in pd.unique(table[other].dropna())]
            more = f" … ({len(cells)} in all)" if len(cells) > TOLD else ""
            others.append(f"- {other}: {', '.join(cells[:TOLD])}{more}")
    unit = state.created.units.get(column, "")
    own = partition(table[column])
    renamed = [c for c in map(str, table.columns) if c != column and partition(table[c]) == own]
    lines = []
    for number, option in enumerate(options, start=1):
        same = table.loc[table[column] == option] if renamed else table.iloc[:0]
        also = "".join(f" = {cell_text(same[c].iloc[0])}" for c in renamed) if len(same) else ""
        lines.append(f"{number}. {cell_text(option)}{also}")
    user = "\n".join(
        (
            f"An experiment is judged by: {state.created.objective} ({state.goal.words()}).",
            *(("The other factors are:", *others) if others else ()),
            f"The options of the factor '{column}'{f' in {unit}' if unit else ''} are:",
            *lines,
            "How good do you expect results with each option to be, whatever the other factors "
            "are? Give each number of an option a score from 0 (hopeless) to 100 (best), as in "
            '{"1": 40, "2": 75}.',
        )
    )
    return Prompt(SYSTEM, user, lambda text: _scores(text, len(options)))


def _scores(text: str, count: int) -> list[float]:
    """The scores in an answer, by number of the option.

    Raises:
        ValueError: it is not one score for each.
    """
    match = re.search(r"\{[^{}]*\}", text, re.DOTALL)
    found = json.loads(match[0]) if match else None
    if not isinstance(found, dict) or {*found} != {str(i + 1) for i in range(count)}:
        raise ValueError("not one score for each option")
    scores = [found[str(i + 1)] for i in range(count)]
    if not all(type(s) in (int, float) and math.isfinite(s) and 0 <= s <= 100 for s in scores):
        raise ValueError("scores are numbers from 0 to 100")
    return [float(score) for score in scores]
