"""A surrogate fitted to a table in one call, and kept in a file that holds no code.

A file is safetensors: what the fit found as tensors, and in its head how to make the rest again
(the table, the keys). Loading makes the surrogate as a fit would and puts what was found in its
place: features of a language model are read again, by weights that are named by their hash.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
import safetensors
import safetensors.torch
import torch
from pydantic import BaseModel, ConfigDict, ValidationError
from torch import Tensor

from gollum import __version__
from gollum.acquisition.policy import Policy, adopted
from gollum.campaign.begin import DEFAULT_MODEL
from gollum.data.pool import Direction, Pool, smiles_columns
from gollum.data.readers import read_frame
from gollum.data.spreadsheets.quantities import without_units
from gollum.errors import DataError, UserError
from gollum.features.problem import Problem
from gollum.features.representations import Setup
from gollum.files import write_file
from gollum.listener import SILENT, Listener
from gollum.runtime import Runtime
from gollum.settings import leaves
from gollum.surrogates.base import FitReport, Fitted, Standardised
from gollum.text.template import Template

FORMAT = 1
OBSERVED = ("rows", "utility", "location", "scale")


def fit(
    table: pd.DataFrame,
    objective: str,
    *,
    direction: Direction = "maximize",
    surrogate: Any = "combined",
    template: str | None = None,
    structures: Sequence[str] | None = None,
    seed: int = 0,
    listener: Listener = SILENT,
    **keys: Any,
) -> Fitted:
    """A surrogate fitted to the rows of a table that have a result.

    Args:
        table: N rows, one per experiment, inputs and the objective; blank where there is no result.
        objective: its column.
        direction: 'maximize' or 'minimize', with which the posterior is of minus the objective.
        surrogate: a name, a `SurrogateSpec` with a name, or a class as in docs/extending.md.
        template: how a row is put into words.
        structures: columns with SMILES; by default those that look so.
        seed: of everything random.
        listener: told what it is at.
        keys: further keys of the policy, with '_' instead of '.': kernel, preset, model_name,
            lora_rank …

    Raises:
        UserError: the table or a key can't be used.
        FitError: the fit failed.
    """
    frame = read_frame(table)
    frame, units = without_units(frame, [str(c) for c in frame if c != objective], "table")
    pool = Pool.from_table(frame, objective, direction)
    words = Template.from_columns(pool, units) if template is None else Template(template)
    smiles = smiles_columns(pool.table) if structures is None else structures
    dotted = {key.replace(".", "_"): key for key, _ in leaves(Policy)}
    named = {dotted.get(key, key): value for key, value in keys.items()}
    policy = Policy.of({"model.name": DEFAULT_MODEL} | adopted({"surrogate": surrogate, **named}))
    setup = _setup(pool, words, smiles, policy, listener)
    made = _surrogate(setup, policy)
    fitted: Fitted = made.fit(pool.ids.tolist(), pool.utility, (seed, 0))
    if hasattr(made, "restored"):
        fitted = replace(fitted, recipe=Recipe(setup, policy, made.revision))
    return fitted


def load_fitted(file: str | Path, listener: Listener = SILENT) -> Fitted:
    """A fitted surrogate as `Fitted.save` kept it: it predicts the same, also of other rows.

    Args:
        file: its file.
        listener: told what it is at, as a language model reads the experiments again.

    Raises:
        UserError: it is no such file, one of a later version, or the language model is another.
    """
    kept, found = _read(Path(file))
    pool = kept.pool()
    setup = _setup(pool, Template(kept.template), kept.structures, kept.policy, listener)
    made = _surrogate(setup, kept.policy)
    if made.revision != kept.revision:
        raise UserError(
            f"'{file}': the language model '{kept.policy.model.name}' has other weights than when "
            "it was saved; install the one with which it was fitted."
        )
    observed = {name: found.pop(f"observed.{name}") for name in OBSERVED}
    device = setup.runtime.device
    known = Standardised(
        observed.pop("rows").numpy(), **{name: one.to(device) for name, one in observed.items()}
    )
    try:
        fitted: Fitted = made.restored(known, found, kept.report())
    except DataError as error:
        raise UserError(f"'{file}': {error}") from None
    return replace(fitted, recipe=Recipe(setup, kept.policy, kept.revision))


class Column(BaseModel):
    """A column of the table, exactly."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=True)

    name: str
    dtype: str
    cells: list[Any]

    @classmethod
    def of(cls, name: str, column: pd.Series) -> Column:
        """With Python's own numbers and words, blank cells as None."""
        cells = [None if pd.isna(cell) else cell for cell in column.tolist()]
        return cls(name=name, dtype=str(column.dtype), cells=cells)

    def series(self, index: pd.Index) -> pd.Series:
        """The column again."""
        blank = np.nan if self.dtype.startswith("float") else None
        cells = [blank if cell is None else cell for cell in self.cells]
        return pd.Series(cells, index=index, dtype=self.dtype, name=self.name)


class Kept(BaseModel):
    """The head of a file: how all that was not found by the fit is made again."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal[1]
    version: str
    name: str
    objective: str
    direction: Direction
    ids: list[str]
    columns: list[Column]
    values: list[float | None]
    orders: dict[str, list[str]]
    template: str
    structures: list[str]
    policy: Policy
    revision: str
    fit: dict[str, Any]

    def pool(self) -> Pool:
        """The candidates."""
        index = pd.Index(self.ids, name="id", dtype=object)
        table = pd.DataFrame({column.name: column.series(index) for column in self.columns})
        values = np.array([np.nan if value is None else value for value in self.values])
        orders = {column: tuple(names) for column, names in self.orders.items()}
        return Pool(self.name, table, self.objective, self.direction, values, orders=orders)

    def report(self) -> FitReport:
        """What the fit did."""
        known = dict(self.fit)
        known |= {key: tuple(known[key]) for key in ("losses", "notes")}
        return FitReport(**known)


@dataclass(frozen=True, eq=False)
class Recipe:
    """How a fitted surrogate was made.

    Attributes:
        setup: of what.
        policy: by which keys.
        revision: hash of the language model's weights.
    """

    setup: Setup
    policy: Policy
    revision: str

    def save(self, fitted: Fitted, found: dict[str, Tensor], file: Path) -> Path:
        """Write what was found, and the rest as head of the file; see `Fitted.save`."""
        problem, pool = self.setup.problem, self.setup.problem.pool
        if fitted.pool is not pool:
            raise UserError("save the surrogate itself, not what it is over other rows.")
        kept = Kept(
            format=FORMAT,
            version=__version__,
            name=pool.name,
            objective=pool.objective,
            direction=pool.direction,
            ids=pool.ids.tolist(),
            columns=[Column.of(str(name), pool.table[name]) for name in pool.table],
            values=[None if np.isnan(value) else value for value in pool.values.tolist()],
            orders={column: list(names) for column, names in pool.orders.items()},
            template=problem.template.source if problem.template else "",
            structures=list(problem.structures),
            policy=self.policy,
            revision=self.revision,
            fit=asdict(fitted.report),
        )
        known = {"rows": torch.from_numpy(fitted.rows)}
        known |= {name: getattr(fitted, name).cpu() for name in OBSERVED if name != "rows"}
        tensors = found | {f"observed.{name}": one.contiguous() for name, one in known.items()}
        content = safetensors.torch.save(tensors, {"gollum": kept.model_dump_json()})
        try:
            write_file(file, content)
        except OSError as error:
            raise UserError(
                f"'{file}' can't be written ({error.strerror or error}); save to another place."
            ) from None
        return file


def _setup(
    pool: Pool, words: Template, smiles: Sequence[str], policy: Policy, listener: Listener
) -> Setup:
    problem = Problem(pool, tuple(words.texts(pool)), words, tuple(smiles))
    return Setup(problem, policy, Runtime.resolve("auto", policy.model.precision), listener)


def _surrogate(setup: Setup, policy: Policy) -> Any:
    """The surrogate of a policy.

    Raises:
        UserError: it is a strategy without any.
    """
    if policy.factory is None:
        raise UserError(f"strategy '{policy.surrogate}' has no model that could be fitted.")
    return policy.factory(setup)


def _read(file: Path) -> tuple[Kept, dict[str, Tensor]]:
    """Head and tensors of a file; raises as `load_fitted`."""
    head = ""
    try:
        with safetensors.safe_open(file, framework="pt") as opened:
            head = (opened.metadata() or {}).get("gollum", "")
            found = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118
        return Kept.model_validate_json(head), found
    except FileNotFoundError:
        raise UserError(f"there is no file '{file}'; check the path.") from None
    except (OSError, safetensors.SafetensorError, ValidationError):
        if _format_of(head) > FORMAT:
            raise UserError(
                f"'{file}' was saved by a later version of gollum (format {_format_of(head)}, this "
                f"one reads {FORMAT}); update gollum."
            ) from None
        raise UserError(f"'{file}' is no fitted surrogate that was saved by gollum.") from None


def _format_of(head: str) -> int:
    """The format that the head of a file says, or 0."""
    try:
        return int(json.loads(head)["format"])
    except (ValueError, TypeError, KeyError):
        return 0
