"""What a run is: its keys, their defaults, and which of them contradict each other."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import Field, model_validator

from gollum.data.initial import DESIGNS
from gollum.data.pool import Direction
from gollum.errors import nearest
from gollum.surrogates.presets import PEERS, PRESETS, VARIANTS, Frozen, Settings

SURROGATES = (*VARIANTS, *PEERS)
# Data keys that go with a table of one's own and never with a task.
OF_TABLES = ("name", "sheet", "objective", "direction", "inputs", "id_column", "structures")


class DataConfig(Frozen):
    """Where the candidates come from and how they are put into words."""

    task: str | None = None
    """A benchmark task (`gollum tasks` lists them)."""
    path: str | None = None
    """A table of your own: CSV, TSV, Excel or Parquet."""
    name: str | None = None
    """With data.path: what records call the table with its texts; the file's name by default."""
    sheet: str | None = None
    """With data.path: sheet of an Excel file; the first visible one by default."""
    objective: str | None = None
    """With data.path: the column to optimize."""
    direction: Direction | None = None
    """With data.path: maximize (the default) or minimize."""
    inputs: list[str] | None = None
    """With data.path: columns that describe an experiment; all but the objective by default."""
    id_column: str | None = None
    """With data.path: column that names the rows."""
    structures: list[str] | None = None
    """With data.path: columns that hold SMILES; those with 'smiles' in their name by default."""
    reaction: str | None = None
    """Column or template of the reaction SMILES (for drfp)."""
    text_column: str | None = None
    """Column that holds the text of each experiment."""
    template: str | None = None
    """Template of the text, with columns in braces."""
    texts: Literal["ours", "authors"] | None = None
    """With data.task: ours (the default), or authors, the texts of the paper's authors."""

    @model_validator(mode="after")
    def _one_source(self) -> DataConfig:
        if (self.task is None) == (self.path is None):
            raise ValueError("give either data.task or data.path (and not both)")
        if self.path is not None and self.objective is None:
            raise ValueError("data.path needs data.objective, the column to optimize")
        if self.task is not None:
            for key in OF_TABLES:
                if getattr(self, key) is not None:
                    raise ValueError(f"data.{key} contradicts data.task, which fixes it")
        if self.name is not None and not re.fullmatch(r"\w[\w-]*", self.name):
            raise ValueError(
                f"data.name '{self.name}' can't name a folder; use letters, digits and '_', "
                "and '-' between them"
            )
        if self.text_column is not None and self.template is not None:
            raise ValueError("data.text_column contradicts data.template; give one of them")
        if self.texts is not None and self.task is None:
            raise ValueError("data.texts needs data.task; name a column by data.text_column")
        if self.texts == "authors":
            for key in ("text_column", "template"):
                if getattr(self, key) is not None:
                    raise ValueError(f"data.{key} contradicts data.texts; give one of them")
        return self


class RunConfig(Settings):
    """One optimization run on a labelled pool."""

    data: DataConfig
    """Candidates."""
    surrogate: str = Field("pllm_phi", description=f"Surrogate: {', '.join(SURROGATES)}.")
    preset: Literal["paper", "fast"] = "paper"
    """Where the numbers below come from when they are not given."""
    acquisition: Literal["log_ei", "ei", "ucb", "q_log_ei"] = "ei"
    """Acquisition function; with q_log_ei a batch is chosen for what it brings as a whole."""
    initial: str = "below_median"
    """First design: below_median, random, k_medoids or farthest_point."""
    n_init: int = Field(10, ge=1)
    """Number of starting points."""
    n_iters: int = Field(50, ge=0)
    """Number of iterations after them."""
    batch_size: int = Field(1, ge=1)
    """Experiments per iteration."""
    seed: int = Field(0, ge=0)
    """Seed of everything random."""
    control: Literal[
        "none", "permuted_labels", "shuffled_columns", "swapped_names", "random_embeddings"
    ] = "none"
    """What is taken away, to see what a surrogate learns from."""
    quality: bool = False
    """Whether a last fit is judged on all candidates that were not measured."""
    device: str = "auto"
    """auto, cpu or cuda."""
    threads: int | None = Field(None, ge=1)
    """Processor threads; all that the process may use by default."""
    output: str | None = None
    """Folder of the run; runs/TASK-SURROGATE-PRESET-SEED by default."""
    logger: Literal["none", "wandb"] = "none"
    """Also log to Weights & Biases (an optional extra)."""

    @model_validator(mode="after")
    def _known_names(self) -> RunConfig:
        for key, value, options in (
            ("surrogate", self.surrogate, SURROGATES),
            ("initial", self.initial, DESIGNS),
        ):
            if value not in options:
                raise ValueError(
                    f"{key} '{value}' is unknown; choose from {', '.join(options)}."
                    + nearest(value, options)
                )
        return self

    @model_validator(mode="before")
    @classmethod
    def _with_its_model(cls, values: Any) -> Any:
        """A surrogate that is named after its language model has that one and no other."""
        parts = VARIANTS.get(values.get("surrogate"))
        if parts is None or parts.model is None:
            return values
        given = dict(values.get("model", {}))
        if given.setdefault("name", parts.model) != parts.model:
            raise ValueError(
                f"surrogate '{values['surrogate']}' is the language model '{parts.model}'; use "
                f"--surrogate static for --model.name {given['name']}"
            )
        if dict(values.get("remote", {})).get("url") is not None:
            raise ValueError(
                f"surrogate '{values['surrogate']}' is a local model; use --surrogate static for "
                "--remote.url"
            )
        return {**values, "model": given}

    @model_validator(mode="after")
    def _control_fits(self) -> RunConfig:
        """A control that would change nothing, or can't, is refused."""
        retold = self.control in ("shuffled_columns", "swapped_names")
        if retold and not self.reads_texts:
            raise ValueError(
                f"control '{self.control}' changes the texts of the candidates, which surrogate "
                f"'{self.surrogate}' with this model does not read"
            )
        if retold and self.data.texts == "authors":
            raise ValueError(
                f"control '{self.control}' needs texts that a template writes from columns; use it "
                "without data.texts authors"
            )
        if self.control == "random_embeddings" and (
            self.surrogate not in ("static", "pllm") or self.remote.url is not None
        ):
            raise ValueError(
                "control 'random_embeddings' takes the place of a local model's embeddings; use "
                "it with --surrogate static or pllm, and without --remote.url"
            )
        return self

    @property
    def reads_texts(self) -> bool:
        """Whether a language model reads the candidates' texts (and not their reactions)."""
        parts = VARIANTS.get(self.surrogate)
        of_reactions = {v.model for v in VARIANTS.values() if v.model is not None}
        return (
            parts is not None
            and parts.features == "language"
            and (self.remote.url is not None or self.model.name not in of_reactions)
        )

    @property
    def folder(self) -> Path:
        """Where the run writes."""
        if self.output is not None:
            return Path(self.output)
        file = Path(self.data.path or "").name.split(".")[0]
        source = self.data.task or self.data.name or file
        control = "" if self.control == "none" else f"-{self.control}"
        name = f"{source}-{self.surrogate}-{self.preset}{control}-seed{self.seed}"
        return Path("runs") / name

    def to_yaml(self) -> str:
        """All keys with their values, readable by `load_config`; blank ones are left out.

        Not so where the preset would fill the blank.
        """
        values = self.model_dump(exclude_none=True)
        for section, given in PRESETS[self.preset].items():
            if isinstance(given, dict):
                values[section] = dict.fromkeys(given) | values[section]
        text: str = yaml.safe_dump(values, sort_keys=False, allow_unicode=True)
        return text
