"""Surrogates kept between the runs of one process: another seed needs no new embeddings."""

from __future__ import annotations

from collections import OrderedDict
from functools import cache
from typing import Any

from gollum.benchmark.spec import RunConfig
from gollum.features.base import FixedFeatures, Projection
from gollum.runtime import Runtime
from gollum.surrogates.base import Surrogate
from gollum.surrogates.build import Problem, build_surrogate
from gollum.surrogates.presets import Variant

SIZE = 2**29  # bytes of features that are kept


class Shelf:
    """Builds surrogates, and keeps those whose features no fit changes.

    A surrogate depends on the candidates, their texts and all keys of a run but its seed; fits
    start anew whatever was fitted before.
    """

    def __init__(self) -> None:
        self._kept: OrderedDict[tuple[str, str, str], tuple[Surrogate, int]] = OrderedDict()

    def build(
        self, problem: Problem, parts: Variant, config: RunConfig, runtime: Runtime, *told: Any
    ) -> Surrogate:
        """As `gollum.surrogates.build.build_surrogate`."""
        key = problem.fingerprint, _without_seed(config), str(runtime)
        if key not in self._kept:
            surrogate = build_surrogate(problem, parts, config, runtime, *told)
            size = _size(surrogate)
            if not 0 < size <= SIZE:
                return surrogate
            self._kept[key] = surrogate, size
        self._kept.move_to_end(key)
        while sum(size for _, size in self._kept.values()) > SIZE:
            self._kept.popitem(last=False)
        return self._kept[key][0]


@cache
def shelf() -> Shelf:
    """The one of this process."""
    return Shelf()


def _without_seed(config: RunConfig) -> str:
    return config.model_copy(update={"seed": 0, "output": None}).model_dump_json()


def _size(surrogate: Surrogate) -> int:
    """Bytes of its fixed features; 0 where the language model is trained too."""
    featurizer = surrogate.featurizer
    source = featurizer.inner if isinstance(featurizer, Projection) else featurizer
    return source.matrix.nbytes if isinstance(source, FixedFeatures) else 0
