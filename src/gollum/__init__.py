"""Bayesian optimization of experiments with a language-model deep kernel.

What is listed in `__all__` is the public face; everything else may change. Each name is imported
when it is first used.
"""

import os
import sys
from importlib import import_module
from typing import Any

if "torch" not in sys.modules:
    # Threads that wait sleep: spinning, they take the processor from what has work, beside another
    # busy process many times over (benchmarks/beside.py). For GNU's OpenMP, that of every system,
    # and LLVM's and Intel's; read when PyTorch is loaded.
    for _name, _value in (
        ("GOMP_SPINCOUNT", "0"),
        ("OMP_WAIT_POLICY", "PASSIVE"),
        ("KMP_BLOCKTIME", "0"),
    ):
        os.environ.setdefault(_name, _value)

__version__ = "0.2.0"

_PLACES = {
    "gollum.api": ("Campaign", "analyze", "load_task", "run"),
    "gollum.fitting": ("fit", "load_fitted"),
    "gollum.benchmark.config": ("load_config",),
    "gollum.data.outcomes": ("Goal", "Outcome"),
    "gollum.listener": ("Listener",),
    "gollum.features.problem": ("Problem",),
    "gollum.features.layout": ("Blocks", "Layout", "Slot"),
    "gollum.features.representations": ("REPRESENTATIONS", "Representation", "Setup"),
    "gollum.surrogates.kernels": ("KERNELS", "KernelFactory"),
    "gollum.surrogates.base": ("FitReport", "Fitted", "Standardised", "Surrogate"),
    "gollum.surrogates.specs": ("SURROGATES", "SurrogateSpec"),
    "gollum.acquisition.criteria": ("CRITERIA", "Criterion"),
    "gollum.acquisition.strategy": ("STRATEGIES", "BatchRequest", "Selection", "Strategy"),
}
_PLACE_OF = {name: place for place, names in _PLACES.items() for name in names}

__all__ = ["__version__", "errors", *_PLACE_OF]


def __getattr__(name: str) -> Any:
    if name == "errors":
        return import_module("gollum.errors")
    if name not in _PLACE_OF:
        raise AttributeError(f"module 'gollum' has no attribute '{name}'")
    return getattr(import_module(_PLACE_OF[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
