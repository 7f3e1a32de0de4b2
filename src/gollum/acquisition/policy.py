"""The policy: how experiments are chosen, which runs and campaigns say by the same keys."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from pydantic import Field, field_validator, model_validator

from gollum.acquisition.criteria import CRITERIA
from gollum.acquisition.strategy import STRATEGIES
from gollum.errors import ConfigError
from gollum.features.representations import REPRESENTATIONS
from gollum.language.catalog import CATALOG
from gollum.registry import Registry
from gollum.settings import USUAL_PRESET, Settings, flatten
from gollum.surrogates.specs import (
    SURROGATES,
    SurrogateSpec,
    surrogate_factory,
    surrogate_names,
    with_parts,
)


def _names() -> list[str]:
    return [*surrogate_names(), *STRATEGIES]


class Policy(Settings):
    """How experiments are chosen."""

    surrogate: str = Field(
        "pllm_phi", description=f"Surrogate, or another strategy: {', '.join(_names())}."
    )
    preset: str = USUAL_PRESET
    """Where the numbers come from when they are not given: default, fast or paper."""
    representations: list[str] | None = None
    """Representations side by side instead of the surrogate's own, such as one_hot,text_levels."""
    kernel: str | None = None
    """Kernel instead of the surrogate's own: isotropic, ard, slot_ard, additive, product or
    tanimoto, of all slots or of some, as in additive(SLOT, SLOT)."""
    acquisition: str = Field("ei", description=f"Acquisition function: {', '.join(CRITERIA)}.")

    @field_validator("representations", mode="before")
    @classmethod
    def _listed(cls, value: Any) -> Any:
        """Names between commas are a list."""
        if not isinstance(value, str):
            return value
        return [name.strip() for name in value.strip("[] ").split(",")]

    @model_validator(mode="after")
    def _known_names(self) -> Policy:
        names = _names()
        if self.surrogate not in names:
            raise ValueError(SURROGATES.unknown(self.surrogate, names))
        if self.acquisition not in CRITERIA:
            raise ValueError(CRITERIA.unknown(self.acquisition))
        try:
            factory = self.factory
            if self.kernel is not None or self.lbfgs.prior not in ("none", "dimension_scaled"):
                from gollum.surrogates.kernels import PRIORS, kernel_factory  # PyTorch is large

                kernel_factory(self.kernel or "isotropic")
                PRIORS[self.lbfgs.prior]
        except ConfigError as error:
            raise ValueError(str(error)) from None
        if factory is None and (self.kernel is not None or self.representations):
            raise ValueError(
                f"surrogate '{self.surrogate}' has neither kernel nor representations of ours; "
                "leave these keys out"
            )
        return self

    @model_validator(mode="before")
    @classmethod
    def _with_its_model(cls, values: Any) -> Any:
        """A surrogate that is named after its language model has that one and no other."""
        name = values.get("surrogate")
        known = surrogate_factory(name) if name in surrogate_names() else None
        own = getattr(known, "model", None)
        if own is None or values.get("representations"):
            return values
        given = dict(values.get("model", {}))
        if given.setdefault("name", own) != own:
            raise ValueError(
                f"surrogate '{name}' is the language model '{own}'; use "
                f"--surrogate static for --model.name {given['name']}"
            )
        if dict(values.get("remote", {})).get("url") is not None:
            raise ValueError(
                f"surrogate '{name}' is a local model; use --surrogate static for --remote.url"
            )
        return {**values, "model": given}

    def typed(self, keys: Iterable[str]) -> dict[str, Any]:
        """The values of some dotted keys, as what they are; those of objects stay names."""
        values = dict(flatten(self.model_dump(mode="json")))
        return {key: values[key] for key in keys}

    @property
    def factory(self) -> Any:
        """What makes the surrogate; None where another strategy chooses."""
        if self.surrogate in STRATEGIES:
            return None
        return with_parts(surrogate_factory(self.surrogate), self.representations, self.kernel)

    @property
    def needs(self) -> frozenset[str]:
        """What it is made from: of 'structures', 'reactions' and 'texts'."""
        needs = getattr(self.factory, "needs", ())
        return frozenset(needs)

    @property
    def has_model(self) -> bool:
        """Whether a language model is part of it."""
        return isinstance(self.factory, SurrogateSpec) and self.factory.has_model

    @property
    def reads_texts(self) -> bool:
        """Whether a language model reads the candidates' texts (and not their reactions)."""
        card = CATALOG.get(self.model.name)
        of_reactions = self.remote.url is None and card is not None and card.reads != "text"
        return "texts" in self.needs and not of_reactions


def adopted(keys: Mapping[str, Any]) -> dict[str, Any]:
    """Keys of a policy with names in place of objects, which are known by them from now on.

    Raises:
        ConfigError: an object has no name, or that of another one.
    """
    registries: dict[str, Callable[[], Registry[Any]]] = {
        "surrogate": lambda: SURROGATES,
        "acquisition": lambda: CRITERIA,
        "representations": lambda: REPRESENTATIONS,
        "kernel": _kernels,
    }
    values = dict(keys)
    for key in registries.keys() & values.keys():
        given = values[key]
        if key == "representations" and isinstance(given, Sequence) and not isinstance(given, str):
            values[key] = [REPRESENTATIONS.adopt(one) for one in given]
        elif given is not None and not isinstance(given, str):
            taken = {*STRATEGIES, *REPRESENTATIONS} if key == "surrogate" else ()
            values[key] = registries[key]().adopt(given, taken)
    return values


def _kernels() -> Registry[Any]:
    from gollum.surrogates.kernels import KERNELS  # PyTorch: only where needed

    return KERNELS
