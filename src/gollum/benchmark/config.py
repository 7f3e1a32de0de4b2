"""Reading the configuration of a run: presets, files, command-line values, and their refusal."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from gollum import settings
from gollum.benchmark.spec import RunConfig
from gollum.errors import ConfigError, nearest
from gollum.settings import PRESETS, USUAL_PRESET

ALIASES = {"benchmark": "data.task"}
LISTS = ("data.inputs", "data.structures", "transfer.sources")
# New key for each key of the reference implementation's class_path configurations.
REFERENCE_KEYS = {
    "benchmark": "data.task",
    "group": "output",
    "bo.init_args.batch_size": "batch_size",
    "bo.init_args.batch_strategy": "batch_size",
    "acquisition.class_path": "acquisition",
    "data.init_args.data_path": "data.path",
    "data.init_args.input_column": "data.text_column",
    "data.init_args.target_column": "data.objective",
    "data.init_args.maximize": "data.direction",
    "data.init_args.init_sample_size": "n_init",
    "data.init_args.initializer": "initial",
    "data.init_args.exclude_top": "initial",
    "data.init_args.normalize_input": "surrogate",
    "data.init_args.featurizer.init_args.representation": "surrogate",
    "data.init_args.featurizer.init_args.model_name": "model.name",
    "data.init_args.featurizer.init_args.pooling_method": "model.pooling",
    "surrogate_model.class_path": "surrogate",
    "surrogate_model.init_args.ft_lr": "optimizer.lr_model",
    "surrogate_model.init_args.gp_lr": "optimizer.lr_gp",
    "surrogate_model.init_args.gp_step_lr": "optimizer.decay",
    "surrogate_model.init_args.wd": "optimizer.weight_decay",
    "surrogate_model.init_args.wd_llm": "optimizer.weight_decay",
    "surrogate_model.init_args.noise_constraint": "noise_floor",
    "surrogate_model.init_args.finetuning_model": "surrogate",
}


def keys() -> dict[str, tuple[str, Any]]:
    """Every dotted key of a run with its description and default, in order."""
    usual = dict(flatten(PRESETS[USUAL_PRESET]))
    known = settings.leaves(RunConfig)
    return {key: (leaf.about, usual.get(key, leaf.default)) for key, leaf in known}


def load_config(
    file: str | Path | None = None,
    overrides: Iterable[tuple[str, Any]] = (),
    base: Iterable[tuple[str, Any]] = (),
) -> RunConfig:
    """Preset, then base, then file, then command-line values; the later wins.

    Args:
        file: YAML file, or None.
        overrides: (dotted key, value) pairs; a value may be text as typed on a command line.
        base: (dotted key, value) pairs that file and overrides may replace.

    Raises:
        ConfigError: a key is unknown, a value is of the wrong kind, or keys contradict each
            other; one sentence.
    """
    given = read_yaml(Path(file)) if file is not None else {}
    _refuse_reference_style(given, file)
    below = {**dict(base), **dict(flatten(given))}
    typed = {ALIASES.get(k, k): _from_text(ALIASES.get(k, k), v) for k, v in overrides}
    kept = {
        earlier: value
        for earlier, value in below.items()
        if not any(_overrides(key, earlier, new) for key, new in typed.items())
    }
    values = {**kept, **typed}
    return RunConfig.of({"data.task": None, **values})


def _from_text(key: str, value: Any) -> Any:
    """What was typed: `null` is no value, and columns may be listed as a,b or [a, b]."""
    if value == "null":
        return None
    if isinstance(value, str) and key in LISTS:
        return _listed(key, value)
    return value


def _listed(key: str, text: str) -> list[str]:
    if not text.startswith("["):
        return [item.strip() for item in text.split(",")]
    try:
        items = yaml.load(text, yaml.BaseLoader)  # noqa: S506 (builds nothing but text and lists)
    except yaml.YAMLError:
        items = None
    if not isinstance(items, list) or not all(isinstance(item, str) for item in items):
        raise ConfigError(f"key '{key}': '{text}' is not a list of names; write a,b or [a, b].")
    return items


def _overrides(key: str, earlier: str, value: Any) -> bool:
    """Whether a key of the command line replaces one of the file.

    A task replaces the file's table with all that belongs to it, and the other way round; so do a
    text column, a template and a choice of texts with each other.
    """
    if value is None:
        return earlier == key
    words = {"data.text_column", "data.template", "data.texts"}
    if key in ("data.task", "data.path") and earlier.startswith("data."):
        return earlier != key
    return key in words and earlier in words and earlier != key


def read_yaml(file: Path, what: str = "config file", line: str = "seed: 0") -> dict[str, Any]:
    """Keys and values of a YAML file.

    Args:
        file: the file.
        what: what messages call it.
        line: an example of what could be in it.

    Raises:
        ConfigError: there is no such file, or it holds something else.
    """
    if not file.is_file():
        folder = file.parent if file.parent.is_dir() else Path()
        options = [p.name for p in folder.glob("*.yaml")]
        raise ConfigError(f"{what} '{file}' does not exist.{nearest(file.name, options)}")
    try:
        values = yaml.safe_load(file.read_text("utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        reason = " ".join(str(error).split())
        raise ConfigError(f"{what} '{file}' is not valid YAML: {reason}.") from None
    if not isinstance(values, dict):
        raise ConfigError(f"{what} '{file}' holds no keys; write lines such as '{line}'.")
    return values


def _refuse_reference_style(values: Mapping[str, Any], file: str | Path | None) -> None:
    flat = dict(flatten(values))
    if not any(key.endswith("class_path") or ".init_args" in key for key in flat):
        return
    found = dict.fromkeys(
        f"{old} → {new}"
        for old, new in REFERENCE_KEYS.items()
        if any(key == old or key.startswith(old + ".") for key in flat)
    )
    raise ConfigError(
        f"config file '{file}' is in the class_path style of the reference implementation; "
        f"write the new keys instead ({'; '.join(found) or 'see gollum run --help'})."
    )


def flatten(values: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Dotted keys and values of nested ones, aliases replaced."""
    return ((ALIASES.get(key, key), value) for key, value in settings.flatten(values))
