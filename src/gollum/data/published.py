"""Published tables: where they are, whether they are the published ones, and fetching them."""

from __future__ import annotations

import hashlib
import os
from http.client import HTTPException
from importlib.resources import files
from pathlib import Path, PurePosixPath
from urllib.request import urlopen

import pandas as pd
from pydantic import BaseModel, ConfigDict, model_validator

from gollum.cachefile import cache_folder
from gollum.data.readers import read_table
from gollum.errors import DataError
from gollum.files import write_file

LOCAL_DATA = "GOLLUM_DATA"  # environment variable: a folder with further tables
TIMEOUT = 30  # seconds without an answer before a download is given up


class Published(BaseModel):
    """A table that is bundled, behind a URL, or in the folder that GOLLUM_DATA names alone."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    sha256: str
    """Hash of the file: the bundled one, that behind the URL, or else the local one."""
    file: str | None = None
    """Name of the bundled file."""
    url: str | None = None
    """Where a table that is not bundled can be fetched."""
    local: str | None = None
    """Path below the folder that GOLLUM_DATA names; rows and columns as behind the URL, if any."""

    @model_validator(mode="after")
    def _is_somewhere(self) -> Published:
        if (self.file is None) == (self.local is None) or (self.file and self.url):
            raise ValueError("give either 'file', or 'local', or 'url' and 'local'")
        return self

    @property
    def is_bundled(self) -> bool:
        """Whether the table ships with the package."""
        return self.file is not None

    def path(self) -> Path:
        """Where the table is, or where it belongs."""
        if self.file is not None:
            return tasks_folder() / self.file
        folder = os.environ.get(LOCAL_DATA) or cache_folder("tasks")
        local = Path(folder, self.local or "")
        return local if self.url is None or local.is_file() else self._cached(self.url)

    def is_here(self) -> bool:
        """Whether the table can be read without a download."""
        return self.path().is_file()

    def read(self, name: str) -> pd.DataFrame:
        """The table.

        A local copy of a file behind a URL may be stored differently, so its hash is not checked.

        Args:
            name: of the task, for messages.

        Raises:
            DataError: it is not the published one, or cannot be read.
        """
        path = self.path()
        if self.url is None or path == self._cached(self.url):
            _check_hash(path, self.sha256, name)
        return read_table(path)

    def fetch(self, name: str, folder: Path | None = None) -> Path:
        """Download the table.

        Args:
            name: of the task, for messages.
            folder: where to put the file; the user's cache folder by default.

        Returns:
            The file, which appears only once it is complete and its sha256 is right.

        Raises:
            DataError: the server cannot be reached, its file is not the published one, or the
                folder cannot be written; nothing is left behind.
        """
        url = self.url or ""
        content = _download(url, name)
        if hashlib.sha256(content).hexdigest() != self.sha256:
            raise DataError(
                f"{url} no longer gives the published table of '{name}' (its sha256 differs), so "
                "it was not kept."
            )
        target = folder / self._cached(url).name if folder else self._cached(url)
        _write(content, target)
        return target

    @staticmethod
    def _cached(url: str) -> Path:
        return cache_folder("tasks") / PurePosixPath(url).name


def tasks_folder() -> Path:
    """Where the bundled tables and the catalogue are."""
    return Path(str(files("gollum.data") / "tasks"))


def _download(url: str, name: str) -> bytes:
    try:
        with urlopen(url, timeout=TIMEOUT) as answer:  # noqa: S310 (addresses of the catalogue)
            return bytes(answer.read())
    except (OSError, HTTPException) as error:
        reason = getattr(error, "reason", None) or error
        raise DataError(
            f"'{name}' could not be fetched from {url} ({reason}); try again with a network, or "
            f"set {LOCAL_DATA} to a folder that holds it."
        ) from None


def _write(content: bytes, target: Path) -> None:
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        write_file(target, content)
    except OSError as error:
        raise DataError(f"{target} cannot be written: {error.strerror}.") from None


def _check_hash(path: Path, sha256: str, name: str) -> None:
    if hashlib.sha256(path.read_bytes()).hexdigest() != sha256:
        raise DataError(
            f"{path} is not the published table of '{name}' (its sha256 differs); delete it and "
            "fetch, copy or install it again."
        )
