"""Specs of sweeps: tasks × surrogates × models × presets × controls × seeds, as cells."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from itertools import product
from pathlib import Path
from typing import Annotated, Any

import yaml
from pydantic import BeforeValidator, Field, ValidationError, ValidationInfo

from gollum.benchmark.config import ALIASES, flatten, keys, load_config, read_yaml
from gollum.benchmark.spec import DataConfig, RunConfig
from gollum.benchmark.sweeps.cells import Cell, has_choice_of_model, model_of
from gollum.benchmark.sweeps.settings import usual_settings, written
from gollum.data.catalog import all_tasks, get_task, task_names
from gollum.errors import ConfigError, nearest
from gollum.settings import USUAL_PRESET, Frozen, sentence

# The tasks of arXiv 2504.06265.
PAPER19 = (
    "bh-cf3", "bh-methoxy", "bh-ethyl", "bh-2-pyridyl", "bh-3-pyridyl", "suzuki-perera",
    "additives-1", "additives-2", "additives-3", "additives-4", "hplc", "ocm-c2", "oer", "vapdiff",
    "redox-ered", "redox-gsol", "kinase-docking", "photovoltaics-pce", "photoswitch",
)  # fmt: skip
# Keys of a run that a spec says in another way, and where.
ELSEWHERE = {
    "data.task": "'tasks'", "data.path": "'tasks'", "data.name": "'tasks'",
    "surrogate": "'surrogates'", "model.name": "'models'", "preset": "'presets'",
    "control": "'controls'", "seed": "'seeds'", "output": "'output'", "threads": "--threads",
}  # fmt: skip
# Keys of a table among the tasks.
OF_TABLE = [key for key in DataConfig.model_fields if key not in ("task", "texts")]


def _listed(value: Any) -> Any:
    """One name, or one table, is a list of one."""
    return [value] if isinstance(value, (str, Mapping)) else value


def _entry(value: Any, info: ValidationInfo) -> Any:
    """A name, or the data keys of a table of one's own with its whole path and a name."""
    if isinstance(value, str):
        return value
    given = {k: v for k, v in value.items() if v is not None} if isinstance(value, Mapping) else {}
    for key in given:
        if key not in OF_TABLE:
            raise ValueError(f"tasks: a table has no key '{key}'.{nearest(str(key), OF_TABLE)}")
    if not isinstance(path := given.get("path"), str):
        raise ValueError(
            f"tasks: expected a name, or a table {{path: FILE, objective: COLUMN}}, got {value!r}"
        )
    stem = Path(Path(path).name.removesuffix(".gz")).stem
    given = {"name": re.sub(r"\W+", "-", stem).strip("-"), **given}
    try:
        return DataConfig(**{**given, "path": _whole(path, (info.context or {}).get("folder", ""))})
    except ValidationError as error:
        raise ValueError(f"tasks: table '{path}': {sentence(error)}") from None


def _whole(path: str, folder: str) -> str:
    """A path seen from the spec's folder, or from the working directory if it is only there."""
    path = os.path.expanduser(path)
    beside = os.path.join(folder, path)
    return os.path.abspath(path if os.path.exists(path) and not os.path.exists(beside) else beside)


def _counted(value: Any) -> Any:
    """A number of seeds means the first ones."""
    if isinstance(value, int) and not isinstance(value, bool) and value > 0:
        return range(value)
    if isinstance(value, (list, tuple)) and value:
        return value
    raise ValueError(f"key 'seeds': expected how many, or a list such as [0, 3], got {value!r}")


Names = Annotated[tuple[str, ...], BeforeValidator(_listed), Field(min_length=1)]
Entry = Annotated[str | DataConfig, BeforeValidator(_entry)]
Entries = Annotated[tuple[Entry, ...], BeforeValidator(_listed), Field(min_length=1)]
Seeds = Annotated[tuple[Annotated[int, Field(ge=0)], ...], BeforeValidator(_counted)]


class Block(Frozen):
    """What replaces the fields of a spec of these names."""

    tasks: Entries | None = None
    surrogates: Names | None = None
    models: Names | None = None
    presets: Names | None = None
    controls: Names | None = None
    seeds: Seeds | None = None
    keys: dict[str, Any] = Field({})


class SweepSpec(Frozen):
    """A sweep."""

    name: str
    """What it is called."""
    output: str | None = None
    """Folder of the sweep; runs/NAME by default."""
    tasks: Entries
    """Tasks, groups of tasks, 'paper19' (those of the paper) or 'all'; and tables of one's own.

    A table is its data keys, and 'name' for what folders and records call it; the file's name by
    default. Its path is seen from the folder of the spec, or else from the working directory."""
    surrogates: Names
    """Surrogates."""
    models: Names = ("minilm",)
    """Language models, for surrogates that use one."""
    presets: Names = (USUAL_PRESET,)
    """Presets."""
    controls: Names = ("none",)
    """Controls."""
    seeds: Seeds
    """Seeds, or how many."""
    keys: dict[str, Any] = Field({})
    """Further keys of every run, dotted or nested."""
    also: tuple[Block, ...] = ()
    """Further cells: fields that are given replace those above, `keys` one by one.

    Cells may differ from those above in settings alone, such as the acquisition."""

    @property
    def folder(self) -> Path:
        """Where the sweep writes."""
        return Path(self.output) if self.output is not None else Path("runs", self.name)

    def blocks(self) -> Iterator[SweepSpec]:
        """The spec without `also`, then with the fields of each of its blocks."""
        plain = self.model_copy(update={"also": (), "keys": dict(flatten(self.keys))})
        yield plain
        for block in self.also:
            given = {field: value for field, value in block if value is not None}
            merged = {**plain.keys, **dict(flatten(block.keys))}
            yield plain.model_copy(update={**given, "keys": merged})

    def overridden(
        self, output: str | None, seeds: tuple[int, ...] | None, values: Mapping[str, Any]
    ) -> SweepSpec:
        """The spec with another folder, seeds and keys of runs, in every block."""
        also = [
            block.model_copy(
                update={
                    "seeds": block.seeds if seeds is None else None,
                    "keys": {k: v for k, v in flatten(block.keys) if k not in values},
                }
            )
            for block in self.also
        ]
        update = {"keys": {**dict(flatten(self.keys)), **values}, "also": tuple(also)}
        update |= {} if output is None else {"output": output}
        return self.model_copy(update=update | ({} if seeds is None else {"seeds": seeds}))

    def to_yaml(self) -> str:
        """The spec as it is run, readable by `load_spec`."""
        values = self.model_dump(mode="json", exclude_none=True)
        text: str = yaml.safe_dump(values, sort_keys=False, allow_unicode=True)
        return text


@dataclass(frozen=True)
class Expansion:
    """The cells of a sweep.

    Attributes:
        cells: all first seeds, then all second ones, so that a part of the sweep is balanced.
        notes: what was left out and why, one sentence each.
    """

    cells: tuple[Cell, ...]
    notes: tuple[str, ...]


def load_spec(file: Path) -> SweepSpec:
    """Read a spec.

    Raises:
        ConfigError: the file is none; one sentence.
    """
    values = read_yaml(file, "spec", "tasks: paper19")
    try:
        return SweepSpec.model_validate(values, context={"folder": str(file.parent)})
    except ValidationError as error:
        raise ConfigError(f"spec '{file}': {_sentence(error)}") from None


def expand(spec: SweepSpec) -> Expansion:
    """The cells of a spec, every configuration checked.

    Nothing is read but the catalogue, and tables of one's own where a surrogate needs structures.

    Raises:
        ConfigError: a name or a key is unknown, keys contradict each other, or two different
            runs would share a folder.
        UserError: a table can't be used.
    """
    _refuse_shared_names(spec)
    structures = cache(_structures)
    cells: dict[str, Cell] = {}
    lacking: dict[tuple[str, str], list[str]] = {}
    plain = dict(flatten(spec.keys))
    for block in spec.blocks():
        for cell in _cells(block, spec.folder, plain):
            task = cell.label.partition("/")[0]
            if (need := _need(cell.config, structures)) is not None:
                tasks = lacking.setdefault((cell.config.surrogate, need), [])
                tasks += [] if task in tasks else [task]
            elif (known := cells.setdefault(cell.label, cell)) != cell:
                raise ConfigError(_clash(known, cell))
    notes = tuple(
        f"surrogate '{surrogate}' needs {need}, which {', '.join(tasks)} "
        f"{'lacks' if len(tasks) == 1 else 'lack'}; left out."
        for (surrogate, need), tasks in lacking.items()
    )
    if not cells:
        raise ConfigError(" ".join(("there is nothing to run.", *notes)))
    return Expansion(tuple(sorted(cells.values(), key=lambda cell: cell.config.seed)), notes)


def _cells(block: SweepSpec, folder: Path, plain: Mapping[str, Any]) -> Iterator[Cell]:
    """Cells of a spec without `also`; some may occur twice.

    Settings that differ from `plain`, the keys of the first block, are part of their names.
    """
    for key in block.keys:
        if (elsewhere := ELSEWHERE.get(ALIASES.get(key, key))) is not None:
            raise ConfigError(f"'{key}' can't be among the keys of a sweep; use {elsewhere}.")
        if key.startswith("data.") and any(isinstance(t, DataConfig) for t in block.tasks):
            raise ConfigError(f"'{key}' can't be a key beside tables; write it into their entries.")
    tasks = _tasks(block.tasks)
    axes = (tasks, block.surrogates, block.models, block.presets, block.controls)
    for task, surrogate, model, preset, control in product(*axes):
        axis = {"surrogate": surrogate, "preset": preset, "control": control, **tasks[task]}
        axis |= {"model.name": model} if has_choice_of_model(surrogate) else {}
        for seed in block.seeds:
            config = load_config(None, {**block.keys, **axis, "seed": seed}.items())
            label = f"{task}/{_method(config, block.keys, plain)}/seed{seed}"
            output = str(Path(folder, *label.split("/")))
            yield Cell(config.model_copy(update={"output": output}), label)


def _method(config: RunConfig, keys: Mapping[str, Any], plain: Mapping[str, Any]) -> str:
    """Surrogate, model where there is one, preset, control and own settings as a folder's name."""
    model = model_of(dict(flatten(config.model_dump())))
    control = "" if config.control == "none" else config.control
    usual = usual_settings(config.preset)
    own = [k for k in usual if k in keys and keys[k] != plain.get(k, usual[k])]
    parts = (config.surrogate, model, config.preset, control, written({k: keys[k] for k in own}))
    return re.sub(r"[^\w.-]+", "-", "-".join(filter(None, parts)))


def _tasks(entries: Iterable[str | DataConfig]) -> dict[str, dict[str, Any]]:
    """Names of tasks, those that several entries mean once, and their data keys.

    Raises:
        ConfigError: a word is neither a task nor a group.
    """
    found: dict[str, dict[str, Any]] = {}
    groups: dict[str, tuple[str, ...]] = {"all": task_names(), "paper19": PAPER19}
    for task in all_tasks():
        groups[task.group] = (*groups.get(task.group, ()), task.name)
    options = {**{name: (name,) for name in task_names()}, **groups}
    for entry in entries:
        if isinstance(entry, DataConfig):
            found[str(entry.name)] = dict(flatten({"data": entry.model_dump(exclude_none=True)}))
        elif entry in options:
            found |= {name: {"data.task": name} for name in options[entry]}
        else:
            raise ConfigError(
                f"tasks: there is no task or group '{entry}'."
                + (nearest(entry, options) or " `gollum tasks` lists them.")
            )
    return found


def _refuse_shared_names(spec: SweepSpec) -> None:
    known: dict[str, DataConfig] = {}
    for table in [t for b in spec.blocks() for t in b.tasks if isinstance(t, DataConfig)]:
        name = str(table.name).casefold()  # some systems tell no folders apart by case
        if name in task_names() or known.setdefault(name, table) != table:
            other = "a benchmark task" if name in task_names() else "another table"
            raise ConfigError(
                f"tasks: table '{table.path}' is called '{table.name}', as {other} is; give it a "
                "'name' of its own."
            )


def _structures(data: str) -> tuple[str, ...]:
    """Columns with SMILES of what data keys, as JSON, lead to."""
    config = DataConfig.model_validate_json(data)
    if config.task is not None:
        return get_task(config.task).structures
    from gollum.benchmark.problem import load_problem  # PyTorch: not for the catalogue alone

    return load_problem(config).structures


def _need(config: RunConfig, structures: Callable[[str], tuple[str, ...]]) -> str | None:
    """What the surrogate needs and the task has not."""
    of_molecules = "structures" in config.needs or config.surrogate == "baybe_chem"
    if of_molecules and not structures(config.data.model_dump_json()):
        return "columns with SMILES"
    task = config.data.task
    of_reactions = "reactions" in config.needs or (config.has_model and not config.reads_texts)
    lacks = (config.data.reaction or (get_task(task).reaction if task else None)) is None
    return "reaction SMILES" if of_reactions and lacks else None


def _clash(one: Cell, other: Cell) -> str:
    first, second = (dict(flatten(cell.config.model_dump())) for cell in (one, other))
    key = next(key for key in first if first[key] != second.get(key))
    return (
        f"two blocks want '{one.label}', with {key} = {first[key]} and with {second.get(key)}; "
        "give them outputs of their own in two specs."
    )


def _sentence(error: ValidationError) -> str:
    first = error.errors()[0]
    *path, name = [part for part in first["loc"] if isinstance(part, str)]
    if first["type"] == "missing":
        return f"key '{name}' is missing."
    if first["type"] != "extra_forbidden":
        return sentence(error).replace("a valid tuple", "a list")
    if name in keys() and name not in ELSEWHERE:
        return f"'{name}' is a key of a run; write it below 'keys'."
    known = (Block if path else SweepSpec).model_fields
    return f"there is no key '{'.'.join((*path, name))}'.{nearest(name, known)}"
