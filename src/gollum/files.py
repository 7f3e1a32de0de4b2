"""Writing files so that each is there whole or not at all."""

from __future__ import annotations

import errno
import hashlib
import os
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_STALE = 3600.0  # seconds after which nobody is writing a passing file any more


def write_file(file: Path, content: bytes) -> None:
    """Write a file in one step, on disk before it gets its name.

    Raises:
        OSError: it can't be written; an earlier file of that name is untouched.
    """
    with _passing(file, content) as temporary:
        temporary.replace(file)


def write_text(file: Path, text: str) -> None:
    """Write UTF-8 text in one step; as `write_file`."""
    write_file(file, text.encode("utf-8"))


def obstacle(file: Path) -> str:
    """Why a file can't be written in its place, in the system's words; empty if nothing is known.

    Folders that are missing are no obstacle.
    """
    try:
        if file.is_dir():
            return os.strerror(errno.EISDIR)
        folder = next(folder for folder in file.absolute().parents if folder.exists())
    except OSError as error:
        return error.strerror or str(error)
    if not folder.is_dir():
        return os.strerror(errno.ENOTDIR)
    return "" if os.access(folder, os.W_OK | os.X_OK) else os.strerror(errno.EACCES)


def sha256_of(file: Path) -> str:
    """Hash of a file's content, as hexadecimal digits.

    Raises:
        OSError: it can't be read.
    """
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def create_file(file: Path, content: bytes) -> None:
    """Write a file that is not there yet, in one step; of several who try, one succeeds.

    What killed processes left of the same attempt is removed.

    Raises:
        FileExistsError: it is there already, and untouched.
        OSError: it can't be written.
    """
    _remove_stale(file)
    with _passing(file, content) as temporary:
        try:
            os.link(temporary, file)
        except FileExistsError:
            raise
        except OSError:  # a file system without links, such as that of a memory stick
            file.open("xb").close()
            temporary.replace(file)


@contextmanager
def _passing(file: Path, content: bytes) -> Iterator[Path]:
    """A complete file under a name of its own beside the one that it is meant for."""
    temporary = file.with_name(f".{file.name}.{os.getpid()}.{secrets.token_hex(4)}.part")
    try:
        with temporary.open("wb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        yield temporary
    finally:
        temporary.unlink(missing_ok=True)


def _remove_stale(file: Path) -> None:
    start = f".{file.name}."
    for part in file.parent.glob(".*.part"):
        with suppress(OSError):
            if part.name.startswith(start) and time.time() - part.stat().st_mtime > _STALE:
                part.unlink()
