"""What a run is: its keys, their defaults, and which of them contradict each other."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import Field, model_validator

from gollum.acquisition.policy import Policy
from gollum.data.initial import DESIGNS
from gollum.data.pool import Direction
from gollum.errors import nearest
from gollum.settings import PRESETS, Frozen, Settings

REPRESENTATIVE = "representative"  # the first design that a strategy makes itself
# What a protocol changes from the defaults of the fields.
PROTOCOLS: dict[str, dict[str, Any]] = {
    "replay": {},
    "transfer": {},
    "campaign": {"initial": REPRESENTATIVE, "n_init": 8, "batch_size": 8, "n_iters": 6},
}
# Data keys that go with a table of one's own and never with a task.
OF_TABLES = (
    "name", "sheet", "encoding", "objective", "direction", "inputs", "category", "number", "remark",
    "id_column", "structures",
)  # fmt: skip


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
    encoding: str | None = None
    """With data.path: encoding of a text file, such as mac_roman; UTF-8 by default."""
    objective: str | None = None
    """With data.path: the column to optimize."""
    direction: Direction | None = None
    """With data.path: maximize (the default) or minimize."""
    inputs: list[str] | None = None
    """With data.path: columns that describe an experiment; by default all that seem to."""
    category: list[str] | None = None
    """With data.path: inputs whose cells are names, also where they look like numbers."""
    number: list[str] | None = None
    """With data.path: inputs that are quantities."""
    remark: list[str] | None = None
    """With data.path: columns that say nothing about the experiment."""
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


class CampaignProtocol(Frozen):
    """What happens to experiments in the protocol 'campaign'."""

    failed: float = Field(0.1, ge=0, lt=1)
    """Share of experiments that fail and give no result."""
    late: float = Field(0.25, ge=0, le=1)
    """Share of results that arrive only after the next batch is chosen."""


class TransferConfig(Frozen):
    """What a run learns from besides its own results."""

    sources: list[str] | None = None
    """Benchmark tasks whose results are known beforehand."""
    results: int = Field(60, ge=0)
    """How many results of each, drawn at random by the seed; 0 for all."""
    unseen: str | None = None
    """Column of which the sources lack half of the levels."""
    control: Literal["none", "permuted_labels", "inverted_labels"] = "none"
    """What is done to these results, to see what a source that misleads costs."""
    controlled: list[str] | None = None
    """The sources to which it is done; all by default."""
    form: Literal["results", "rankings"] = "results"
    """Whether results are known, or only which options of each column did better on average."""


class OnData(Settings):
    """Settings with what they are for; keys keep the order that names of methods had before."""

    data: DataConfig
    """Candidates."""


class RunConfig(Policy, OnData):
    """One optimization run on a labelled pool."""

    protocol: Literal["replay", "campaign", "transfer"] = "replay"
    """replay gives each result at once; campaign has batches, failed runs and late results;
    transfer is replay with results of other tasks."""
    campaign: CampaignProtocol = CampaignProtocol()
    """Of the protocol campaign."""
    transfer: TransferConfig = TransferConfig()
    """Results of other tasks."""
    initial: str = "below_median"
    """First design: below_median, random, k_medoids, farthest_point, or representative, with which
    a campaign begins."""
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

    @model_validator(mode="before")
    @classmethod
    def _of_the_protocol(cls, values: Any) -> Any:
        return {**PROTOCOLS.get(str(values.get("protocol")), {}), **values}

    @model_validator(mode="after")
    def _known_design(self) -> RunConfig:
        designs = (*DESIGNS, REPRESENTATIVE)
        if self.initial not in designs:
            raise ValueError(
                f"initial '{self.initial}' is unknown; choose from {', '.join(designs)}."
                + nearest(self.initial, designs)
            )
        return self

    @model_validator(mode="after")
    def _sources_fit(self) -> RunConfig:
        if self.protocol == "transfer" and not self.transfer.sources:
            raise ValueError("protocol 'transfer' needs transfer.sources, tasks to learn from")
        if self.data.task in (self.transfer.sources or ()):
            raise ValueError(f"transfer.sources names '{self.data.task}', which is the task itself")
        for name in self.transfer.controlled or ():
            if self.protocol == "transfer" and name not in (self.transfer.sources or ()):
                raise ValueError(f"transfer.controlled names '{name}', which is no source")
        return self

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
        frozen = "texts" in self.needs and not getattr(self.factory, "adapted", False)
        if self.control == "random_embeddings" and (not frozen or self.remote.url is not None):
            raise ValueError(
                "control 'random_embeddings' takes the place of a local model's embeddings; use "
                "it with --surrogate static or pllm, and without --remote.url"
            )
        return self

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


def canonical(keys: Mapping[str, Any]) -> dict[str, Any]:
    """Dotted keys of a run, where those that choose the same experiments are the same.

    One experiment after the other, all results at once, the joint log-EI is the plain one.
    """
    single = keys.get("batch_size", 1) == 1 and keys.get("protocol") != "campaign"
    same = single and keys.get("acquisition") == "q_log_ei"
    return {**keys, **({"acquisition": "log_ei"} if same else {})}
