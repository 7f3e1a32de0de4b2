"""Settings: what makes two runs of one surrogate, model, preset and control different methods."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from functools import cache
from typing import Any

from gollum.benchmark.config import flatten
from gollum.benchmark.spec import PROTOCOLS, RunConfig, canonical
from gollum.settings import PRESETS, leaves

# Keys of a run that are no settings.
OTHERS = frozenset({
    # what records have columns for
    "data.task", "data.path", "surrogate", "model.name", "remote.model", "preset", "control",
    "seed", "n_init", "n_iters", "batch_size",
    # what a table of one's own holds
    "data.name", "data.sheet", "data.encoding", "data.objective", "data.direction", "data.inputs",
    "data.id_column", "data.structures",
    # where and how it is run, and whether it is judged
    "output", "logger", "device", "threads", "memory_gb", "quality", "lora.checkpointing",
    "model.trust_remote_code", "remote.url", "remote.confirm", "remote.batch",
    "remote.requests_per_minute", "remote.tokens_per_minute", "remote.price_per_million",
    "remote.timeout", "remote.attempts",
})  # fmt: skip
# Keys that are none either where a table has a name: its entry in a spec gives them.
OF_NAMED = frozenset({"data.reaction", "data.text_column", "data.template"})
_PLAIN = re.compile(r"[\w.:/-]{1,24}")


@cache
def usual_settings(preset: str) -> dict[str, Any]:
    """Every dotted key that is a setting, with what the preset gives it."""
    values = _defaults() | dict(flatten(PRESETS[preset]))
    return {key: value for key, value in values.items() if key not in OTHERS}


def settings_of(run: Mapping[str, Any]) -> str:
    """The settings of a run that differ from its preset's, such as `acquisition=ucb`; or blank.

    Args:
        run: its dotted keys; one that is missing has the default of its field.
    """
    given = canonical({**_defaults(), **run})
    protocol = {"batch_size": given["batch_size"], "protocol": given["protocol"]}
    own = {**usual_settings(str(run["preset"])), **PROTOCOLS[str(given["protocol"])]}
    usual = {key: canonical({**own, **protocol})[key] for key in own if key not in OTHERS}
    usual["protocol"] = _defaults()["protocol"]
    known = [key for key in usual if given["data.name"] is None or key not in OF_NAMED]
    return written({key: given[key] for key in known if given[key] != usual[key]})


def written(settings: Mapping[str, Any]) -> str:
    """Settings as one word without commas; a value that is long or no word is told by a hash."""
    return "+".join(f"{key}={_word(value)}" for key, value in settings.items())


@cache
def _defaults() -> dict[str, Any]:
    return {key: leaf.default for key, leaf in leaves(RunConfig)}


def _word(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value)
    return text if _PLAIN.fullmatch(text) else hashlib.sha256(text.encode()).hexdigest()[:8]
