"""What can happen to a campaign: one immutable record per event, as it is kept in the file.

An event says what was decided, never what follows from it; what follows is computed by
`gollum.campaign.state`. Fields may be added with a default; the meaning of one never changes.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

import pandas as pd
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from gollum.data.extents import Extent
from gollum.data.outcomes import Goal, Outcome

Status = Literal["measured", "failed", "not run"]
STATUSES: tuple[Status, ...] = ("measured", "failed", "not run")


class Part(BaseModel):
    """Immutable and checked; an unknown field is refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Happening(Part):
    """What all events have in common."""

    by: str = ""
    """Who did it, where that is known; old files don't say."""


class Source(Part):
    """The file that something was read from."""

    name: str
    sha256: str


class Cells(Part):
    """A small table, by column: column name → one cell per row; None where blank."""

    ids: tuple[str, ...]
    columns: dict[str, tuple[str | int | float | None, ...]]

    @classmethod
    def of(cls, table: pd.DataFrame) -> Self:
        """The cells of a table, whose index holds the ids."""
        columns = {
            str(name): tuple(None if pd.isna(cell) else cell for cell in table[name].tolist())
            for name in table.columns
        }
        return cls(ids=tuple(map(str, table.index)), columns=columns)


class Created(Happening):
    """The campaign begins."""

    kind: Literal["created"] = "created"
    name: str
    objective: str
    goal: Goal = Goal()
    also: tuple[str, ...] = ()
    """Further results that are kept and not optimized."""
    structures: tuple[str, ...] = ()
    """Input columns that hold SMILES."""
    id_column: str | None = None
    """Column of the user's table that names the rows."""
    cost: str | None = None
    """Column of the user's table with the cost of each row, not an input; with `prices` what their
    sum is called."""
    prices: dict[str, dict[str, float]] = {}
    """Input column → option → price; an experiment costs their sum."""
    units: dict[str, str] = {}
    """Column → unit of its cells in the user's table; candidates and results are bare numbers."""
    template: str
    """How an experiment is put into words."""
    surrogate: str
    preset: str
    model: str
    failed_as: float | None = None
    """What a failed experiment counts as; None leaves it out of the model."""
    failed_words: tuple[str, ...] = ()
    """What result cells of failed experiments may say besides 'failed' and the like."""
    seed: int = 0
    source: Source | None = None
    candidates: str
    """sha256 of the table of candidates, which the store keeps."""
    acquisition: str | None = "q_log_ei"
    """None for what the preset says; old files have no such field."""
    keys: dict[str, Any] = {}
    """Further keys of the policy, dotted, that the campaign began with."""
    reaction: str | None = None
    """How an experiment is written as a reaction SMILES, if it can be."""
    orders: dict[str, tuple[str, ...]] = {}
    """Column → its names in order, of columns of names that have one."""
    drawn_from: str = ""
    """The lists of options that the candidates are a sample of, as they were written, if more than
    these may be suggested."""
    outcomes: tuple[Outcome, ...] = ()
    """What is modelled, the objective first, the others also in `also`; old files have none."""


class Retold(Happening):
    """The template is replaced."""

    kind: Literal["retold"] = "retold"
    template: str


class Configured(Happening):
    """Keys of the policy, the goal, or what failed experiments count as are others from now on."""

    kind: Literal["configured"] = "configured"
    keys: dict[str, Any] = {}
    """Dotted key → value; None for what the preset says."""
    failed_as: float | None = None
    """What a failed experiment counts as from now on; None where that stays as it is."""
    goal: Goal | None = None
    """What is wanted from now on; None where that stays as it is."""
    failed_words: tuple[str, ...] | None = None
    """All that may say from now on that an experiment failed; None where that stays as it is."""
    orders: dict[str, tuple[str, ...]] | None = None
    """Column → its names in order, of all that have one; None where that stays as it is."""
    prices: dict[str, dict[str, float]] | None = None
    """As in `Created`, all of them; None where that stays as it is."""
    outcomes: tuple[Outcome, ...] = ()
    """What is modelled from now on, all of it; empty where that stays as it is."""


class Renamed(Happening):
    """Options of a column have other names from now on; old sheets may say the old ones."""

    kind: Literal["renamed"] = "renamed"
    column: str
    names: dict[str, str]
    """Old name → new one."""


class Request(Part):
    """What a suggestion has to respect besides pending and avoided experiments."""

    at_most: dict[str, int] = {}
    """Column → how often one value of it may occur in a batch."""
    same: tuple[str, ...] = ()
    """Columns with one value across the batch."""
    cost_weight: float = 0.0
    """Power of the cost that the expected improvement is divided by; 0 ignores costs."""
    apart: int = 0
    """In how many columns any two experiments of a batch differ at least."""
    repeats: int = 0
    """How many experiments of a batch may be ones that were measured already."""


class Neighbour(Part):
    """A measured experiment that a suggestion resembles."""

    id: str
    value: float
    similarity: float
    """Correlation under the fitted kernel, 0 to 1."""


class Effect(Part):
    """What one cell of a suggestion does to its prediction."""

    column: str
    value: str
    effect: float
    """In units of the objective; positive raises the prediction."""


class Prediction(Part):
    """What is predicted of a further outcome."""

    mean: float
    """The median of what is predicted, in the outcome's unit."""
    low: float
    """95 % of measurements are predicted to lie from here …"""
    high: float
    """… to here."""


class Suggestion(Part):
    """One experiment to do."""

    run: str
    """Names this experiment in sheets: 'b3-1' is the first of batch 3 (3-1 is a date to Excel)."""
    id: str
    mean: float | None = None
    """Predicted objective, the median inside its bounds; None before there is a model."""
    low: float | None = None
    """95 % of measurements are predicted to lie from here …"""
    high: float | None = None
    """… to here."""
    chance: float | None = None
    """Probability, 0 to 1, that it beats the best so far within all limits; with several
    objectives, that no experiment so far is as good in all of them."""
    limits: float | None = None
    """Probability that all limits hold, 0 to 1; None without limits."""
    others: dict[str, Prediction] = {}
    """Further outcome → what is predicted of it."""
    acquisition: float | None = None
    inherited: float | None = None
    """What earlier campaigns alone let expect; None without any."""
    intent: Literal["start", "chosen", "explore", "balance", "exploit"] = "start"
    neighbours: tuple[Neighbour, ...] = ()
    effects: tuple[Effect, ...] = ()
    """Largest first, by absolute value."""


class Suggested(Happening):
    """Experiments are proposed; they are pending until their results come."""

    kind: Literal["suggested"] = "suggested"
    batch: int
    """1, 2, …; a batch that is extended keeps its number."""
    basis: int
    """Sequence number of the last event that was known."""
    fresh: bool = False
    """Whether all that was pending is withdrawn."""
    request: Request = Request()
    asked: int
    """How many experiments the batch was asked to have."""
    suggestions: tuple[Suggestion, ...]
    surrogate: str | None
    """None for a first design."""
    fit: dict[str, float] = {}
    """Hyperparameters, loss, number of results, and by what intervals were widened."""
    scales: dict[str, str] = {}
    """Outcome → on which scale it was learned, where that is not its own."""
    weights: dict[str, tuple[float, float, float]] = {}
    """Of each column and representation, how much it tells experiments apart, together 1, and from
    where to where 90 % of what the model averages over lies; empty where nothing is weighed."""
    trust: dict[str, tuple[float, float, float]] = {}
    """Of each source, how much what it says beyond the others counts: 1 as it stands, 0 not at
    all; with where 90 % of what the model averages over lies."""
    limited: bool = False
    """Whether no interval was widened beyond that of guessing the mean."""
    together: bool = False
    """Whether several outcomes were learned by one language model, where one is trained, and
    experiments could move between the candidates for all of them."""
    screened: bool = False
    """Whether very many candidates were first screened by a cheaper model."""
    advice: str = ""
    """Whether to go on, as it was told with the batch; empty without a model."""
    revision: str = ""
    """Hash of the language model's weights."""
    provenance: dict[str, Any] = {}
    seconds: float = 0.0
    joined: Cells | None = None
    """Suggested experiments that were no candidates so far; they are from now on."""


class Result(Part):
    """What came of one experiment."""

    run: str
    """The suggestion's name; another name for an experiment that was never suggested."""
    id: str
    status: Status
    values: dict[str, float] = {}
    """Objective and further results, by column; empty unless measured."""
    said: dict[str, str] = {}
    """What the sheet said of results that are no plain number, such as '<5', by column."""
    extents: dict[str, Extent] = {}
    """What is known of these; results of older files count as their numbers alone."""
    note: str = ""
    row: int | None = None
    """Row of the sheet."""


class Recorded(Happening):
    """Results come in; a run that has a result already is corrected."""

    kind: Literal["recorded"] = "recorded"
    source: Source | None = None
    results: tuple[Result, ...]
    joined: Cells | None = None
    """Experiments that no table had so far; they are candidates from now on."""


class Span(Part):
    """The numbers between two ends, or beyond one."""

    low: float | None = None
    high: float | None = None
    closed: bool = True
    """Whether the ends belong to it."""

    def __str__(self) -> str:
        """'90:120', '>= 90', '> 90', '<= 120' or '< 120', as it is typed."""
        if self.low is not None and self.high is not None:
            return f"{self.low:.15g}:{self.high:.15g}"
        sign, end = (">", self.low) if self.low is not None else ("<", self.high)
        return f"{sign}{'=' * self.closed} {end:.15g}"


class Met(Part):
    """A cell, or numbers, of a column."""

    column: str
    value: str | Span


class Together(Part):
    """Cells of several columns that one candidate has."""

    cells: tuple[Met, ...]

    def __str__(self) -> str:
        """'ligand=XPhos and temperature_C > 80', as it is typed."""
        parts = [
            f"{m.column} {m.value}" if isinstance(m.value, Span) and str(m.value)[0] in "<>"
            else f"{m.column}={m.value}"
            for m in self.cells
        ]  # fmt: skip
        return " and ".join(parts)


class Avoided(Happening):
    """Candidates are locked, or free again."""

    kind: Literal["avoided"] = "avoided"
    column: str | None = None
    """An input column, or None for ids."""
    values: tuple[str, ...]
    """Cells of the column as text, or ids."""
    spans: tuple[Span, ...] = ()
    """Numbers of the column, likewise."""
    together: tuple[Together, ...] = ()
    """What is avoided only where it meets; then there is no column."""
    lifted: bool = False
    reason: str = ""


class Added(Happening):
    """Candidates or factors are added."""

    kind: Literal["added"] = "added"
    source: Source | None = None
    columns: dict[str, str | int | float] = {}
    """New input column → what all experiments so far had there."""
    joined: Cells | None = None
    """Experiments that are candidates from now on."""
    drawn_from: str = ""
    """As in `Created`, of those that join."""


class Placed(Happening):
    """Experiments have their wells on a plate; the last layout holds."""

    kind: Literal["placed"] = "placed"
    size: int
    """Number of wells."""
    order: str = "rows"
    """In which they are read."""
    controls: tuple[str, ...] = ()
    """Wells that are kept free for controls."""
    wells: dict[str, str]
    """Well → run."""


class Learned(Happening):
    """Results of an earlier campaign or table are learned from, or no longer."""

    kind: Literal["learned"] = "learned"
    name: str
    """What the source is called."""
    source: Source | None = None
    beginning: str = ""
    """sha256 of the first event, where the source is a campaign."""
    matched: dict[str, str] = {}
    """Column of this campaign → the source's own name of it."""
    comparable: bool = True
    """Whether its values are those of this campaign's objective, in its unit."""
    results: Cells = Cells(ids=(), columns={})
    """Its experiments, in this campaign's columns, options and units where they are matched."""
    values: tuple[float, ...] = ()
    """What came of them; if not comparable, with the sign that makes more of both better."""
    opinion: bool = False
    """Whether it is what somebody expects, with an option for each of its experiments."""
    forgotten: bool = False
    """The source of that name is not learned from any more."""


Event = Annotated[
    Created
    | Retold
    | Configured
    | Suggested
    | Recorded
    | Avoided
    | Added
    | Renamed
    | Learned
    | Placed,
    Field(discriminator="kind"),
]
_EVENT: TypeAdapter[Event] = TypeAdapter(Event)


def parse(text: str) -> Event:
    """An event from its JSON.

    Raises:
        pydantic.ValidationError: it is not one.
    """
    return _EVENT.validate_json(text)
