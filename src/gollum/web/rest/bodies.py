"""What robots send: bodies of JSON, checked before anything is done with them."""

from __future__ import annotations

from typing import Annotated, Literal

import pandas as pd
from fastapi import Header
from pydantic import BaseModel, ConfigDict, Field

from gollum.data.readers import read_table
from gollum.errors import UserError
from gollum.web.folder import upload

MOST = 10_000  # rows of one body or answer
KEYS = ("surrogate", "preset", "acquisition", "kernel", "representations", "model.name")

Cell = str | int | float | None
Version = Annotated[str | None, Header(alias="If-Match", max_length=80)]
Repeated = Annotated[str | None, Header(alias="Idempotency-Key", max_length=200)]


class Body(BaseModel):
    """A body of JSON; an unknown field is refused."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)


class Table(Body):
    """Rows, or the same as the text of a CSV file."""

    rows: list[dict[str, Cell]] | None = Field(None, max_length=MOST)
    csv: str | None = None

    def frame(self) -> pd.DataFrame | None:
        """The table; None where none was sent.

        Raises:
            UserError: there are two, or it can't be read.
        """
        if self.rows is not None and self.csv is not None:
            raise UserError("give either rows or csv.")
        if self.csv is not None:
            with upload("table.csv", self.csv.encode()) as file:
                return read_table(file)
        return None if self.rows is None else pd.DataFrame(self.rows)


Detail = str | float | dict[str, str | float | None] | None


class Options(Body):
    """What may be said of a campaign that begins, as `Campaign.create` takes it."""

    also: list[str] | None = None
    inputs: list[str] | None = None
    category: list[str] | None = None
    number: list[str] | None = None
    remark: list[str] | None = None
    structures: list[str] | None = None
    ordinal: dict[str, list[str]] | None = None
    id_column: str | None = None
    cost: str | None = None
    unit: dict[str, str] | None = None
    prices: dict[str, dict[str, float]] | None = None
    template: str | None = None
    reaction: str | None = None
    failed_as: float | dict[str, float] | None = None
    failed_word: list[str] | None = None
    bounds: Detail = None
    transform: Detail = None
    reference: Detail = None
    weight: Detail = None
    surrogate: str | None = None
    preset: str | None = None
    acquisition: str | None = None
    kernel: str | None = None
    seed: int | None = None


class Beginning(Table):
    """A campaign to begin."""

    name: str
    objective: str | list[str] | None = None
    goal: Literal["maximize", "minimize", "target"] | None = None
    target: float | None = None
    factors: str | None = Field(None, description="Lists of options, as YAML, instead of rows.")
    options: Options = Options()


class Asking(Body):
    """What the next experiments are to be."""

    n: int = 8
    fresh: bool = False
    at_most: dict[str, int] = {}
    same: list[str] = []
    cost_weight: float = 0.0
    apart: int = 0
    repeats: int = 0


class Results(Table):
    """Results, all or part of a sheet, in any order, also twice."""

    correct: bool = False
    new: bool = False
    as_done: bool = False
    check: bool = Field(False, description="Only say what would be understood.")


class More(Table):
    """Candidates, options and factors to add."""

    options: list[dict[str, str]] = []
    columns: dict[str, str] = {}
    new: bool = False


class Avoiding(Body):
    """What to lock, or to free again."""

    ids: list[str] = []
    cells: dict[str, list[Cell]] = {}
    lift: bool = False
    reason: str = ""


class Wanting(Body):
    """What is wanted from now on: 'ee:at-least=90' and the like, or a goal of the first outcome."""

    objectives: list[str] = []
    goal: Literal["maximize", "minimize", "target"] | None = None
    target: float | None = None
    details: dict[Literal["bounds", "transform", "failed_as", "reference", "weight"], Detail] = {}


class Pricing(Body):
    """What options cost, by column; null takes the prices of a column back."""

    prices: dict[str, dict[str, float] | None]


class Placing(Body):
    """Which run stands in which well of a plate."""

    wells: dict[str, str]
    size: int = 96
    controls: list[str] = []
    order: str = "rows"


class Renaming(Body):
    """Other names for options of a column."""

    column: str
    names: dict[str, str]


class Retelling(Body):
    """Another template."""

    template: str


class Configuring(Body):
    """Keys of the policy; null for what the preset says."""

    keys: dict[str, str | list[str] | None] = Field(description=f"Any of {', '.join(KEYS)}.")


class Ordering(Body):
    """The order of names, by column."""

    orders: dict[str, list[str]]


class Failing(Body):
    """Words that say that an experiment failed."""

    words: list[str]
    forget: bool = False


class Learning(Table):
    """What to learn from: another campaign that is served here, or a table."""

    campaign: str | None = None
    name: str | None = None
    objective: str | None = None
    direction: Literal["maximize", "minimize"] | None = None
    match: dict[str, str] = {}


class Forgetting(Body):
    """A source that is not learned from any more."""

    name: str


class Again(Body):
    """Which batch to compute again; all by default."""

    batch: int | None = None
