"""Surrogates and presets: which parts a surrogate has, and every number with its source."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from gollum.errors import ConfigError, nearest


class Frozen(BaseModel):
    """Immutable settings; an unknown key is refused, and docstrings describe the fields."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


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
    prior: Literal["none", "dimension_scaled"] = "none"
    """Priors on the hyperparameters: none, or those of Hvarfner et al. 2024."""


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
    """Seconds that an answer may take."""
    attempts: int = Field(6, ge=1)
    """How often a request is tried."""

    @model_validator(mode="after")
    def _named(self) -> RemoteSettings:
        if (self.url is None) != (self.model is None):
            raise ValueError("remote.url and remote.model belong together; give both")
        return self


class Settings(Frozen):
    """Every number of a surrogate."""

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


@dataclass(frozen=True)
class Variant:
    """The parts that make a surrogate; the Gaussian process is the same for all.

    Attributes:
        features: where features start: a fixed-feature function or the language model.
        lora: whether the language model is adapted.
        projection: whether a projection follows.
        scaling: 'bounds' (while fitting), 'pool' (whole matrix standardised once) or 'none'.
        about: one line for help texts.
        model: name of the language model that it always has; None where that is a choice.
    """

    features: Literal["language", "one_hot", "morgan", "fragments", "descriptors", "drfp"]
    about: str
    lora: bool = False
    projection: bool = False
    scaling: Literal["bounds", "pool", "none"] = "none"
    model: str | None = None

    @property
    def joint(self) -> bool:
        """Whether something besides the Gaussian process is trained."""
        return self.lora or self.projection


# Scaling per variant: METHOD of arXiv 2504.06265 as its public code runs it.
VARIANTS = {
    "static": Variant("language", "frozen embeddings, Gaussian process on top", scaling="pool"),
    "pllm": Variant(
        "language", "trained projection of frozen embeddings", projection=True, scaling="bounds"
    ),
    "llm_phi": Variant(
        "language", "language model fine-tuned with LoRA", lora=True, scaling="bounds"
    ),
    "pllm_phi": Variant(
        "language", "LoRA and projection, the paper's best",
        lora=True, projection=True, scaling="bounds",
    ),
    "one_hot": Variant("one_hot", "one-hot categories and scaled numbers"),
    "morgan": Variant("morgan", "Morgan fingerprints of the structures"),
    "fragments": Variant("fragments", "counts of functional groups in the structures"),
    "descriptors": Variant("descriptors", "RDKit's 2D descriptors of the structures"),
    "drfp": Variant("drfp", "differential reaction fingerprints"),
    "rxnfp": Variant(
        "language", "RXNFP: frozen embeddings of reactions", scaling="pool", model="rxnfp"
    ),
}  # fmt: skip

# What may choose besides a Gaussian process of this package, with one line for help texts.
PEERS = {
    "random": "uniform among the candidates that are left",
    "baybe": "BayBE with its one-hot encodings (the 'peers' extra)",
    "baybe_chem": "BayBE with its chemical encodings of structures (the 'peers' extra)",
}

# What a preset changes from the defaults of the fields, as nested keys of a run.
PRESETS: dict[str, dict[str, Any]] = {
    # arXiv 2504.06265 and its public code: all defaults above are its numbers.
    "paper": {"acquisition": "ei"},
    # log-EI (Ament et al. 2023), the priors of Hvarfner et al. 2024 on fixed features, no steps
    # after the schedule has run out (0.95^90 < 0.01, so what follows moves the parameters by less
    # than 1 % of the first 90), and adapters that start from a fit on the pretrained embeddings,
    # which costs next to nothing, and are trained for eight evaluations.
    "fast": {
        "acquisition": "log_ei",
        "lora": {"shared_masks": True},
        "optimizer": {"max_evaluations": 90, "fine_tuning": 8},
        "lbfgs": {"prior": "dimension_scaled"},
    },
}


def variant(name: str) -> Variant:
    """The variant of that name.

    Raises:
        ConfigError: there is none.
    """
    if name not in VARIANTS:
        raise ConfigError(
            f"surrogate '{name}' is unknown; choose from {', '.join(VARIANTS)}."
            + nearest(name, VARIANTS)
        )
    return VARIANTS[name]
