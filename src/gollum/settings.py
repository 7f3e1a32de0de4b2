"""Every number of a surrogate, with its source, and the presets that choose them together."""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from textwrap import dedent
from typing import Any, Literal, Self, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from gollum.errors import ConfigError, nearest

USUAL_PRESET = "default"


class Frozen(BaseModel):
    """Immutable, finite settings; an unknown key is refused, and docstrings describe the fields."""

    # Pydantic could read the docstrings, for every class each time it is imported; see `described`.
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class LoraSettings(Frozen):
    """Low-rank adapters on the language model."""

    rank: int = Field(4, ge=1)
    """Rank r of the update."""
    alpha: float = Field(16.0, gt=0)
    """Scale α; the update is multiplied by α/√r."""
    dropout: float = Field(0.2, ge=0, lt=1)
    """Probability of dropping an adapter's input while training."""
    fraction: float = Field(0.25, gt=0, le=1)
    """Share of the transformer layers, counted from the top, that get adapters."""
    shared_masks: bool = False
    """Whether inputs of the same shape drop the same elements, which is faster."""
    checkpointing: bool = False
    """Whether adapted layers are computed twice instead of kept: less memory, more time."""


class ProjectionSettings(Frozen):
    """Trainable projection ELU(P·x + b)."""

    size: int = Field(64, ge=1)
    """Number of features after the projection."""
    bias: float = 0.01
    """Starting value of every bias."""


class OptimizerSettings(Frozen):
    """Joint optimisation of features and Gaussian process by AdamW."""

    lr_model: float = Field(0.002, gt=0)
    """Learning rate of adapters and projection."""
    lr_gp: float = Field(0.2, gt=0)
    """Learning rate of the hyperparameters."""
    weight_decay: float = Field(1e-3, ge=0)
    """Decoupled weight decay of all parameters."""
    decay: float = Field(0.95, gt=0, le=1)
    """Factor on the learning rates after every step."""
    max_evaluations: int = Field(10_000, ge=1)
    """Most evaluations of the loss."""
    window: int = Field(10, ge=1)
    """Window of the stopping rule's moving average."""
    eta: float = 1.0
    """Decay of the weights inside that window."""
    rel_tol: float = 1e-5
    """Relative decrease of the average below which the fit stops."""
    fine_tuning: int | None = Field(None, ge=1)
    """If given, evaluations with adapters, after a fit of the rest on pretrained embeddings."""


class LbfgsSettings(Frozen):
    """Fit of a Gaussian process on fixed features."""

    max_iterations: int = Field(2000, ge=1)
    """Most L-BFGS iterations."""
    prior: str = "none"
    """Priors on the hyperparameters: none, or dimension_scaled, those of Hvarfner et al. 2024."""


class AveragingSettings(Frozen):
    """Hyperparameters that are drawn rather than fitted."""

    particles: int = Field(48, ge=8)
    """How many sets of hyperparameters are averaged over."""
    moves: int = Field(5, ge=1)
    """Metropolis moves of each set at every step to the posterior; twice as many at the end."""


class ModelSettings(Frozen):
    """The language model."""

    name: str = "minilm"
    """Short name (`gollum models` lists them), a local folder, or a hub id."""
    pooling: Literal["mean", "cls", "last_token", "weighted_mean"] | None = None
    """How token vectors become one vector; detected from the model when not given."""
    prefix: str | None = None
    """What is put before every text; what the model's authors say when not given."""
    normalize: bool = False
    """Whether the language model's vectors are scaled to length 1."""
    max_tokens: int = Field(512, ge=8)
    """Texts are cut at this length."""
    allow_truncation: bool = False
    """Whether a text may lose whole columns to being cut."""
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    """Precision of the language model; auto is bfloat16 where the hardware has it."""
    bits: Literal[4, 8] | None = None
    """Weights of linear modules in so many bits each (the 'quantized' extra)."""
    trust_remote_code: bool = False
    """Whether code that comes with a model may run."""


class RemoteSettings(Frozen):
    """An OpenAI-compatible server that embeds the texts instead of a local model."""

    url: str | None = None
    """Its address, such as https://api.example.com/v1; for the surrogates static and pllm."""
    model: str | None = None
    """Name of the model there."""
    confirm: bool = False
    """Whether the texts of all candidates may be sent there without being asked again."""
    dimensions: int | None = Field(None, ge=1)
    """Length of the vectors, where the server can shorten them."""
    batch: int = Field(64, ge=1)
    """Texts per request."""
    requests_per_minute: float | None = Field(None, gt=0)
    """Most requests per minute."""
    tokens_per_minute: float | None = Field(None, gt=0)
    """Most tokens per minute."""
    price_per_million: float | None = Field(None, ge=0)
    """Price of a million tokens, for the estimate, in dollars."""
    timeout: float = Field(60.0, gt=0)
    """Seconds until an answer begins or goes on; two of these until it ends."""
    attempts: int = Field(6, ge=1)
    """How often a request is tried."""

    @model_validator(mode="after")
    def _named(self) -> RemoteSettings:
        if (self.url is None) != (self.model is None):
            raise ValueError("remote.url and remote.model belong together; give both")
        return self


class Settings(Frozen):
    """Every number of a surrogate."""

    @classmethod
    def of(cls, keys: Mapping[str, Any]) -> Self:
        """Settings from dotted keys; what is not among them comes from the preset that they name.

        Raises:
            ConfigError: a key is unknown, a value is of the wrong kind, or keys contradict each
                other; one sentence.
        """
        refuse_unknown(keys, dict(leaves(cls)))
        preset = keys.get("preset", USUAL_PRESET)
        if not isinstance(preset, str) or preset not in PRESETS:
            raise ConfigError(
                f"preset '{preset}' is unknown; choose from {', '.join(PRESETS)}."
                + nearest(str(preset), PRESETS)
            )
        merged = {**dict(flatten(PRESETS[preset])), **keys}
        known = dict(leaves(cls))
        try:
            return cls.model_validate(nested({k: v for k, v in merged.items() if k in known}))
        except ValidationError as error:
            raise ConfigError(sentence(error)) from None

    noise_floor: float = Field(1e-4, gt=0)
    """Smallest noise variance of the standardised objective."""
    memory_gb: float = Field(8.0, gt=0)
    """Memory that a run may use; the frozen layers' activations go to a file beyond it."""
    model: ModelSettings = ModelSettings()
    """Language model."""
    remote: RemoteSettings = RemoteSettings()
    """Embeddings from a server."""
    lora: LoraSettings = LoraSettings()
    """Adapters."""
    projection: ProjectionSettings = ProjectionSettings()
    """Projection."""
    optimizer: OptimizerSettings = OptimizerSettings()
    """Joint fit."""
    lbfgs: LbfgsSettings = LbfgsSettings()
    """Fit on fixed features."""
    averaging: AveragingSettings = AveragingSettings()
    """Averaging over hyperparameters."""


# log-EI (Ament et al. 2023), of a batch as a whole, the priors of Hvarfner et al. 2024 on fixed
# features, no steps after the schedule has run out (0.95^90 < 0.01, so what follows moves the
# parameters by less than 1 % of the first 90), and adapters that start from a fit on the pretrained
# embeddings, which costs next to nothing, and are trained for eight evaluations.
FAST: dict[str, Any] = {
    "acquisition": "q_log_ei",
    "lora": {"shared_masks": True},
    "optimizer": {"max_evaluations": 90, "fine_tuning": 8},
    "lbfgs": {"prior": "dimension_scaled"},
}
# What a preset changes from the defaults of the fields, as nested keys of a run.
PRESETS: dict[str, dict[str, Any]] = {
    # Everything that a table can have, weighed and averaged (docs/benchmarks.md); of other
    # surrogates the numbers of `fast`.
    "default": {"surrogate": "combined", **FAST},
    # arXiv 2504.06265 and its public code: all defaults above are its numbers.
    "paper": {"acquisition": "ei"},
    "fast": FAST,
}


def flatten(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Dotted keys and values of nested ones."""
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from flatten(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def nested(flat: Mapping[str, Any]) -> dict[str, Any]:
    """Nested values of dotted keys."""
    values: dict[str, Any] = {}
    for key, value in flat.items():
        *path, leaf = key.split(".")
        level = values
        for part in path:
            level = level.setdefault(part, {})
        level[leaf] = value
    return values


@dataclass(frozen=True)
class Leaf:
    """A dotted key.

    Attributes:
        model: the settings that it belongs to.
        name: its name there.
    """

    model: type[Frozen]
    name: str

    @property
    def default(self) -> Any:
        """What it is by default."""
        return self.model.model_fields[self.name].get_default()

    @property
    def about(self) -> str:
        """Its description, or the docstring below it in the source, and its options; one line."""
        field = self.model.model_fields[self.name]
        kind = field.annotation
        options = get_args(kind) if getattr(kind, "__origin__", None) is Literal else ()
        owners = [c for c in self.model.__mro__ if self.name in vars(c).get("__annotations__", {})]
        written = (_docstrings(c).get(self.name, "") for c in owners)
        told = field.description or next(filter(None, written), "")
        return told + (f" One of {', '.join(map(str, options))}." if options else "")


@cache
def _docstrings(model: type) -> dict[str, str]:
    """The docstrings of a class's own fields, read from its source."""
    body = ast.parse(dedent(inspect.getsource(model))).body[0]
    assert isinstance(body, ast.ClassDef)  # noqa: S101
    found = {}
    for field, below in pairwise(body.body):
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name):
            told = getattr(getattr(below, "value", None), "value", None)
            if isinstance(below, ast.Expr) and isinstance(told, str):
                found[field.target.id] = " ".join(told.split())
    return found


def leaves(model: type[Frozen], prefix: str = "") -> Iterator[tuple[str, Leaf]]:
    """Every dotted key of some settings, in order."""
    for name, field in model.model_fields.items():
        kind = field.annotation
        if isinstance(kind, type) and issubclass(kind, Frozen):
            yield from leaves(kind, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", Leaf(model, name)


def refuse_unknown(keys: Iterable[str], known: Mapping[str, Any]) -> None:
    """Refuse a dotted key that is none of the known ones.

    Raises:
        ConfigError: naming the closest one.
    """
    for key in keys:
        if key not in known:
            leaf = {k.split(".")[-1]: k for k in known}
            close = nearest(key, known) or (
                f" Did you mean '{leaf[key]}'?"
                if key in leaf
                else " `gollum run --help` lists all."
            )
            raise ConfigError(f"there is no key '{key}'.{close}")


def sentence(error: ValidationError) -> str:
    """The first thing that is wrong, with its key."""
    first = error.errors()[0]
    key = ".".join(str(part) for part in first["loc"] if isinstance(part, str))
    message = first["msg"].removeprefix("Value error, ")
    if first["type"] == "value_error":
        return message if message.endswith((".", "?")) else f"{message}."
    shown = first["input"]
    options = re.findall(r"'([^']+)'", first.get("ctx", {}).get("expected", ""))
    close = nearest(str(shown), options)
    return f"key '{key}': {message[0].lower()}{message[1:]}, got {shown!r}.{close}"
