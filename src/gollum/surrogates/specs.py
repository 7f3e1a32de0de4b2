"""Surrogates by name: specs of Gaussian processes, and whatever else can be fitted.

A spec says what is combined; `gollum.settings` has the numbers. Nothing here needs PyTorch before a
surrogate is made.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

from gollum.errors import ConfigError, DataError, nearest
from gollum.features.layout import Blocks
from gollum.features.representations import REPRESENTATIONS, Builder, Setup, builder_of, needs_of
from gollum.protocols import running
from gollum.registry import Registry

if TYPE_CHECKING:
    from gollum.surrogates.averaged import Averaged
    from gollum.surrogates.base import Surrogate
    from gollum.surrogates.ensembles import Pooled, Ranked


@dataclass(frozen=True)
class SurrogateSpec:
    """A Gaussian process: what it sees, and how its kernel weighs that.

    Attributes:
        representations: names or builders, side by side.
        kernel: name or factory of the kernel.
        about: one line for help texts.
        title: what it is called in sentences; its name by default.
        model: name of the language model that it always has; None where that is a choice.
        name: by which it is recorded, where it is not one of this package's.
        averaged: whether hyperparameters are drawn and averaged over, with a kernel of its own.
        learning: how an averaged one learns from source tasks.
    """

    representations: tuple[str | Builder, ...]
    kernel: str | Callable[..., Any] = "isotropic"
    about: str = ""
    title: str = ""
    model: str | None = None
    name: str = ""
    averaged: bool = False
    learning: Literal["expected", "pooled", "ranked"] = "expected"

    def __post_init__(self) -> None:
        if self.averaged and self.kernel != "isotropic":
            raise ConfigError("hyperparameters are averaged over in a kernel of its own; leave "
                              "key 'kernel' out.")  # fmt: skip

    def __call__(self, setup: Setup) -> Surrogate:
        """Make it: everything that no fit changes is computed.

        Raises:
            ConfigError: a representation or the kernel is unknown, or is none.
            DataError: the pool lacks what the features need, or does not fit into memory.
            ModelError: the language model can't be loaded.
        """
        from torch import nn

        from gollum.features.base import represented
        from gollum.surrogates.gaussian_process import GaussianProcess
        from gollum.surrogates.kernels import make_kernel

        builders = [builder_of(representation) for representation in self.representations]

        def read(setup: Setup) -> Any:
            return represented([_made(build, setup) for build in builders])

        representation = read(setup)
        if isinstance(representation, nn.Module):
            representation.to(setup.runtime.device)
        if self.averaged:
            made: Averaged | Pooled | Ranked | GaussianProcess = self._averaged(
                setup, representation, read
            )
        elif setup.problem.sources:
            raise ConfigError(
                "earlier results are learned from by surrogates that average over their "
                "hyperparameters; take --surrogate combined, wordless or averaged."
            )
        else:
            make_kernel(self.kernel, representation.layout)  # refused before anything is fitted
            made = GaussianProcess(
                setup.problem.pool, representation, setup.settings, setup.runtime, self.kernel
            )
        made.refuse_not_finite()
        return made

    def _averaged(self, setup: Setup, representation: Any, read: Any) -> Averaged | Pooled | Ranked:
        """Hyperparameters drawn rather than fitted."""
        from gollum.features.base import FixedFeatures
        from gollum.surrogates.averaged import Averaged
        from gollum.surrogates.ensembles import Pooled, Ranked
        from gollum.surrogates.sources import sources_of

        if not isinstance(representation, FixedFeatures):
            raise ConfigError(
                "hyperparameters can't be averaged over representations that are trained; take "
                "text or text_levels."
            )
        parts = (setup.problem.pool, representation, setup.settings, setup.runtime)
        if not setup.problem.sources:
            return Averaged(*parts)
        if self.learning == "pooled":
            return Pooled.of(setup, read)
        if self.learning == "ranked":
            return Ranked(*parts, Averaged(*parts), setup, read)
        return Averaged(*parts, partial(sources_of, setup, read))

    @property
    def needs(self) -> frozenset[str]:
        """What it is made from: of 'structures', 'reactions' and 'texts'."""
        return needs_of(self.representations)

    @property
    def trained(self) -> bool:
        """Whether something besides the process is trained."""
        return any(getattr(builder_of(r), "trained", False) for r in self.representations)

    @property
    def adapted(self) -> bool:
        """Whether the language model is fine-tuned."""
        return any(getattr(builder_of(r), "adapted", False) for r in self.representations)

    @property
    def has_model(self) -> bool:
        """Whether a language model is part of it."""
        return self.model is not None or "texts" in self.needs


def _made(build: Builder, setup: Setup) -> Any:
    """What a builder makes, if the candidates have what it needs and it has their number.

    Raises:
        ConfigError: its code failed, or it needs what nobody has.
        DataError: the candidates lack what it needs.
    """
    problem, name = setup.problem, getattr(build, "__name__", type(build).__name__)
    have = {"structures": problem.structures, "reactions": problem.reactions, "texts": True}
    for need in getattr(build, "needs", ()):
        if need not in have:
            raise ConfigError(
                f"representation '{name}' needs '{need}'; it can be {', '.join(have)}."
                + nearest(need, have)
            )
        if not have[need] and not getattr(build, "__module__", "").startswith("gollum."):
            raise DataError(f"{problem.pool.name}: representation '{name}' needs {need}.")
    with running(build, f"representation '{name}'"):
        made = build(setup)
    count = len(made) if isinstance(made, Blocks) else len(problem.pool)
    if count != len(problem.pool):
        raise ConfigError(
            f"representation '{name}' has features of {count} rows, but there are "
            f"{len(problem.pool)} candidates."
        )
    return made


# Representations and scaling as in METHOD of arXiv 2504.06265, as its public code runs it.
SURROGATES: Registry[Callable[[Setup], Surrogate]] = Registry(
    "surrogate",
    "surrogates",
    {
        "static": SurrogateSpec(("text",), about="frozen embeddings, Gaussian process on top"),
        "pllm": SurrogateSpec(("projection",), about="trained projection of frozen embeddings"),
        "llm_phi": SurrogateSpec(("adapters",), about="language model fine-tuned with LoRA"),
        "pllm_phi": SurrogateSpec(
            ("projected_adapters",), about="LoRA and projection, the paper's best"
        ),
        "pllm_phi_levels": SurrogateSpec(
            ("projected_adapted_levels",),
            about="the same on each level of a column by itself: dozens of texts, not thousands",
        ),
        "averaged": SurrogateSpec(
            ("one_hot",),
            about="a weight for each column, averaged over hyperparameters",
            title="one-hot encoding, averaged",
            averaged=True,
        ),
        "combined": SurrogateSpec(
            ("everything",),
            about="all that a table can have, with a weight for each column and representation, "
            "averaged over hyperparameters",
            title="everything, weighed",
            averaged=True,
        ),
        "wordless": SurrogateSpec(
            ("wordless",),
            about="the same without words, to see what language adds",
            title="everything but words, weighed",
            averaged=True,
        ),
        "pooled": SurrogateSpec(
            ("everything",),
            about="as combined; results of source tasks count as the candidates' own",
            title="everything, weighed; sources pooled",
            averaged=True,
            learning="pooled",
        ),
        "ranked": SurrogateSpec(
            ("everything",),
            about="as combined; models of source tasks are weighed by how they rank the results",
            title="everything, weighed; sources ranked",
            averaged=True,
            learning="ranked",
        ),
        "rxnfp": SurrogateSpec(
            ("rxnfp",), about="RXNFP: frozen embeddings of reactions", model="rxnfp"
        ),
    },
)


def surrogate_names() -> list[str]:
    """Names of all surrogates; a representation is one by itself, in an isotropic kernel."""
    alone = [name for name in REPRESENTATIONS if REPRESENTATIONS.fact(name, "alone", True)]
    return [*dict.fromkeys((*SURROGATES, *alone))]


def surrogate_factory(surrogate: str | Callable[[Setup], Surrogate]) -> Callable[[Setup], Any]:
    """What makes a surrogate, by its name or as it stands.

    Raises:
        ConfigError: no surrogate has that name, or the object can't be called.
    """
    if not isinstance(surrogate, str):
        if callable(surrogate):
            return surrogate
        raise ConfigError(
            f"{surrogate!r} is no surrogate; give a name, a SurrogateSpec or a function of a Setup."
        )
    if surrogate in SURROGATES:
        return SURROGATES[surrogate]
    if surrogate not in surrogate_names():
        raise ConfigError(SURROGATES.unknown(surrogate, surrogate_names()))
    entry = REPRESENTATIONS[surrogate]
    about, title = (str(getattr(entry, fact, "")) for fact in ("about", "title"))
    return SurrogateSpec((surrogate,), about=about, title=title)


def with_parts(
    factory: Callable[[Setup], Any],
    representations: Sequence[str | Builder] | None,
    kernel: str | Callable[..., Any] | None,
) -> Callable[[Setup], Any]:
    """A spec with other representations or another kernel, where they are given.

    Raises:
        ConfigError: what is given is unknown, or the surrogate is no spec of a Gaussian process.
    """
    if not representations and kernel is None:
        return factory
    if not isinstance(factory, SurrogateSpec):
        raise ConfigError(
            "keys 'representations' and 'kernel' go with surrogates that are Gaussian processes of "
            "this package; leave them out."
        )
    if representations:
        for representation in representations:
            builder_of(representation)
        factory = replace(factory, representations=tuple(representations), model=None)
    return factory if kernel is None else replace(factory, kernel=kernel)


def named(surrogate: str) -> str:
    """What a surrogate is called in sentences."""
    known = surrogate_factory(surrogate) if surrogate in surrogate_names() else None
    return getattr(known, "title", "") or surrogate
