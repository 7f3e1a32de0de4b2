"""What turns experiments into features: the protocol, what it is made from, and the registry.

Nothing here needs PyTorch, so that names can be checked without loading it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gollum.errors import ConfigError
from gollum.features.layout import Blocks, Layout
from gollum.features.problem import Problem
from gollum.listener import SILENT, Listener
from gollum.registry import Registry
from gollum.settings import Settings

if TYPE_CHECKING:
    from torch import Tensor, nn

    from gollum.runtime import Runtime

Needs = tuple[str, ...]  # of 'structures', 'reactions' and 'texts'


class Representation(Protocol):
    """Features of the rows of one pool, and of other rows with the same columns.

    Attributes:
        layout: which features belong to which column; `layout.size` is d.
        notes: what a user should know, one sentence each.
        revision: hash of the language model's weights; empty without one.
    """

    layout: Layout
    notes: tuple[str, ...]
    revision: str

    def __call__(self, rows: NDArray[np.int64]) -> Tensor:
        """Features n x d, float64, of n rows; differentiable where there is something to train."""
        ...

    def encode(self, table: pd.DataFrame) -> Tensor:
        """Features m x d, float64, of m rows that need not be in the pool.

        Raises:
            DataError: a column is missing, or a cell can't be read.
        """
        ...

    def reset(self) -> None:
        """Draw fresh starting values of what is trained, from PyTorch's current random stream."""
        ...

    def parameters(self) -> Iterator[nn.Parameter]:
        """What the marginal likelihood may train; empty for fixed features."""
        ...

    def train(self, mode: bool = True) -> Any:
        """Switch what differs between fitting and predicting (dropout)."""
        ...

    def freeze(self, frozen: bool) -> bool:
        """Switch to the language model as it was before adapting; whether that differs."""
        ...


@dataclass(frozen=True, eq=False)
class Setup:
    """What a representation or a surrogate is made from.

    Attributes:
        problem: the candidates in all their forms.
        settings: every number.
        runtime: device and precision.
        listener: told what takes long, and asked before texts are sent anywhere.
        keep: whether embeddings of a frozen model are kept on disk for later processes.
    """

    problem: Problem
    settings: Settings
    runtime: Runtime
    listener: Listener = SILENT
    keep: bool = False


Builder = Callable[[Setup], "Representation | Blocks"]


@dataclass(frozen=True)
class Entry:
    """A built-in representation that is imported when it is first made.

    Attributes:
        build: 'module:function' of a `Builder`.
        about: one line for help texts.
        needs: what of 'structures', 'reactions' and 'texts' it is made from.
        trained: whether the marginal likelihood trains it.
        adapted: whether that includes the language model.
        alone: whether its name is that of a surrogate, too.
    """

    build: str
    about: str
    needs: Needs = ("texts",)
    trained: bool = False
    adapted: bool = False
    alone: bool = False

    def __call__(self, setup: Setup) -> Representation | Blocks:
        """Make it."""
        module, _, function = self.build.partition(":")
        made: Representation | Blocks = getattr(import_module(module), function)(setup)
        return made


TEXTS = "gollum.features.texts"
REPRESENTATIONS: Registry[Builder] = Registry(
    "representation",
    "representations",
    {
        "text": Entry(f"{TEXTS}:embedded", "frozen embeddings of each experiment's text"),
        "text_levels": Entry(
            f"{TEXTS}:embedded_levels", "frozen embeddings of each level of a column, by itself",
            alone=True,
        ),
        "projection": Entry(
            f"{TEXTS}:projected", "a trained projection of frozen embeddings", trained=True
        ),
        "adapters": Entry(
            f"{TEXTS}:adapted", "embeddings of a model fine-tuned with LoRA",
            trained=True, adapted=True,
        ),
        "projected_adapters": Entry(
            f"{TEXTS}:projected_adapters", "a trained projection of those",
            trained=True, adapted=True,
        ),
        "adapted_levels": Entry(
            f"{TEXTS}:adapted_levels",
            "levels of each column by a model fine-tuned with LoRA, and numbers",
            trained=True, adapted=True,
        ),
        "projected_adapted_levels": Entry(
            f"{TEXTS}:projected_adapted_levels", "a trained projection of those",
            trained=True, adapted=True,
        ),
        "everything": Entry(
            "gollum.features.everything:everything",
            "all that a table can have: levels, numbers, structures and words",
        ),
        "wordless": Entry(
            "gollum.features.everything:wordless", "the same without words", needs=()
        ),
        "rxnfp": Entry(
            f"{TEXTS}:reaction_fingerprints", "RXNFP: frozen embeddings of reactions",
            needs=("reactions",),
        ),
    },
    package="gollum.features.fixed",
)  # fmt: skip


def builder_of(representation: str | Builder) -> Builder:
    """What makes a representation, by its name or as it stands.

    Raises:
        ConfigError: no representation has that name, or the object can't be called.
    """
    if isinstance(representation, str):
        return REPRESENTATIONS[representation]
    if not callable(representation):
        raise ConfigError(
            f"{representation!r} is no representation; give a name or a function of a Setup that "
            "returns Blocks or a Representation."
        )
    return representation


def needs_of(representations: Sequence[str | Builder]) -> frozenset[str]:
    """What they are made from: of 'structures', 'reactions' and 'texts'."""
    builders = map(builder_of, representations)
    return frozenset(need for b in builders for need in getattr(b, "needs", ()))
