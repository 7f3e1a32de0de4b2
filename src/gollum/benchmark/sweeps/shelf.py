"""Surrogates kept between the runs of one process: another seed needs no new embeddings."""

from __future__ import annotations

from collections import OrderedDict
from functools import cache
from typing import Any

from gollum.features.base import FixedFeatures, OnTop
from gollum.features.representations import Setup
from gollum.settings import Settings
from gollum.surrogates.base import Surrogate, SurrogateFactory

SIZE = 2**29  # bytes of features that are kept


class Shelf:
    """Builds surrogates, and keeps those whose features no fit changes.

    A surrogate depends on the candidates, their texts and all keys of a run but its seed; fits
    start anew whatever was fitted before.
    """

    def __init__(self) -> None:
        self._kept: OrderedDict[tuple[str, str, str], Surrogate] = OrderedDict()

    def build(self, factory: SurrogateFactory, setup: Setup) -> Surrogate:
        """What the factory makes of a setup, or has made of the same one."""
        key = setup.problem.fingerprint, _without_seed(setup.settings), str(setup.runtime)
        if key not in self._kept:
            surrogate = factory(setup)
            if not 0 < _size(surrogate) <= SIZE:
                return surrogate
            self._kept[key] = surrogate
        self._kept.move_to_end(key)
        while len(self._kept) > 1 and sum(map(_size, self._kept.values())) > SIZE:
            self._kept.popitem(last=False)
        return self._kept[key]


@cache
def shelf() -> Shelf:
    """The one of this process."""
    return Shelf()


def _without_seed(settings: Settings) -> str:
    return settings.model_copy(update={"seed": 0, "output": None}).model_dump_json()


def _size(surrogate: Surrogate) -> int:
    """Bytes of its fixed features; 0 where the language model is trained too, or nothing is."""
    source: Any = getattr(surrogate, "representation", None)
    while isinstance(source, OnTop):
        source = source.inner
    return source.nbytes if isinstance(source, FixedFeatures) else 0
