"""What a run is: its keys, their defaults, and which of them contradict each other."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import yaml
from pydantic import Field, model_validator

from gollum.data.initial import DESIGNS
from gollum.data.pool import Direction
from gollum.errors import nearest
from gollum.surrogates.presets import VARIANTS, Frozen, Settings


class DataConfig(Frozen):
    """Where the candidates come from and how they are put into words."""

    task: str | None = None
    """A benchmark task (`gollum tasks` lists them)."""
    path: str | None = None
    """A table of your own: CSV, TSV, Excel or Parquet."""
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

    @model_validator(mode="after")
    def _one_source(self) -> DataConfig:
        if (self.task is None) == (self.path is None):
            raise ValueError("give either data.task or data.path (and not both)")
        if self.path is not None and self.objective is None:
            raise ValueError("data.path needs data.objective, the column to optimize")
        if self.task is not None:
            for key in ("objective", "direction", "inputs", "id_column", "structures"):
                if getattr(self, key) is not None:
                    raise ValueError(f"data.{key} contradicts data.task, which fixes it")
        if self.text_column is not None and self.template is not None:
            raise ValueError("data.text_column contradicts data.template; give one of them")
        return self


class RunConfig(Settings):
    """One optimization run on a labelled pool."""

    data: DataConfig
    """Candidates."""
    surrogate: str = "pllm_phi"
    """Surrogate: static, pllm, llm_phi, pllm_phi, one_hot, morgan or drfp."""
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
            ("surrogate", self.surrogate, VARIANTS),
            ("initial", self.initial, DESIGNS),
        ):
            if value not in options:
                raise ValueError(
                    f"{key} '{value}' is unknown; choose from {', '.join(options)}."
                    + nearest(value, options)
                )
        return self

    @property
    def folder(self) -> Path:
        """Where the run writes."""
        if self.output is not None:
            return Path(self.output)
        source = self.data.task or Path(self.data.path or "").name.split(".")[0]
        return Path("runs") / f"{source}-{self.surrogate}-{self.preset}-seed{self.seed}"

    def to_yaml(self) -> str:
        """All keys with their values, readable by `load_config`."""
        values = self.model_dump(exclude_none=True)
        text: str = yaml.safe_dump(values, sort_keys=False, allow_unicode=True)
        return text
