"""A folder of large files that are named by what they hold: made once, used by later runs."""

from __future__ import annotations

import errno
import hashlib
import os
import platform
import re
import secrets
import shutil
import threading
import time
from contextlib import suppress
from pathlib import Path

from platformdirs import user_cache_path, user_data_path

from gollum.errors import ConfigError

LIMIT = "GOLLUM_CACHE_GB"  # environment variable: GiB that all files of a folder may take
LIMIT_GIB = 20.0  # where it is not set
STALE = 24 * 3600  # seconds without a write after which nobody is writing any more
KEY = r"[0-9a-f]{64}"
_FILE = re.compile(KEY + r"\.safetensors")
_PART = re.compile(rf"\.{KEY}\.(?P<machine>\w+)\.(?P<process>\d{{1,9}})\.\w+\.part")
_ONE_POSITION = threading.Lock()  # where a file has only one place to read and write at


def cache_folder(kind: str) -> Path:
    """Where files of a kind are kept: below GOLLUM_CACHE, or the user's cache folder."""
    base = os.environ.get("GOLLUM_CACHE")
    return Path(base or user_cache_path("gollum", appauthor=False), kind)


def data_folder() -> Path:
    """The user's data folder, for what was fetched or paid for and must not just vanish."""
    return user_data_path("gollum", appauthor=False)


class CacheFile:
    """A file read and written at positions; closed before it is published, it is removed."""

    def __init__(self) -> None:
        self._descriptor = -1
        self._part: Path | None = None

    def open(self, path: Path, flags: int = os.O_RDONLY) -> None:
        """Open what is there."""
        self._descriptor = os.open(path, flags | getattr(os, "O_BINARY", 0), 0o666)

    def create(self, path: Path, size: int) -> None:
        """Start a file under a passing name, with its space reserved where the system can.

        What killed processes left is removed, and what was used least recently if the folder
        would grow beyond its limit.
        """
        folder = path.parent
        folder.mkdir(parents=True, exist_ok=True)
        _remove_stale(folder)
        trim(folder, max(0, _limit() - size), spare=path.stem)
        name = f".{path.stem}.{_machine()}.{os.getpid()}.{secrets.token_hex(4)}.part"
        self._part = part = folder / name
        self.open(part, os.O_RDWR | os.O_CREAT | os.O_EXCL)
        if hasattr(os, "posix_fallocate"):
            try:
                os.posix_fallocate(self._descriptor, 0, size)
                return
            except OSError as error:
                if error.errno not in (errno.EINVAL, errno.EOPNOTSUPP, errno.ENOSYS):
                    raise
        if free(folder) < size:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def size(self) -> int:
        """Bytes that it has now."""
        return os.fstat(self._descriptor).st_size

    def read(self, buffer: memoryview, offset: int) -> None:
        """Fill a buffer from a position.

        Raises:
            OSError: it can't be read, or ends before.
        """
        while buffer:
            done = _read_some(self._descriptor, buffer, offset)
            if done == 0:
                raise OSError(errno.EIO, "it ends too early")
            buffer, offset = buffer[done:], offset + done

    def write(self, data: memoryview, offset: int) -> None:
        """Write data at a position."""
        while data:
            done = _write_some(self._descriptor, data, offset)
            data, offset = data[done:], offset + done

    def publish(self, path: Path) -> None:
        """Give a file its name in one step, once it is on disk; a folder there steps aside."""
        assert self._part is not None  # noqa: S101
        os.fsync(self._descriptor)
        if path.is_dir():
            path.rename(self._part.with_suffix(".folder"))
        if os.name == "nt":  # an open file can't be renamed there
            os.close(self._descriptor)
            self._descriptor = -1
        self._part.replace(path)
        self._part = None
        if self._descriptor < 0:
            self.open(path)

    def close(self) -> None:
        """May come at any time, and again; a forked process does not remove its parent's file."""
        descriptor, self._descriptor = self._descriptor, -1
        part, self._part = self._part, None
        with suppress(OSError):
            if descriptor >= 0:
                os.close(descriptor)
        with suppress(OSError):
            if part is not None and f".{os.getpid()}." in part.name:
                part.unlink()


def _read_some(descriptor: int, buffer: memoryview, offset: int) -> int:
    if hasattr(os, "preadv"):
        return os.preadv(descriptor, [buffer], offset)
    with _ONE_POSITION:
        os.lseek(descriptor, offset, os.SEEK_SET)
        data = os.read(descriptor, len(buffer))
    buffer[: len(data)] = data
    return len(data)


def _write_some(descriptor: int, data: memoryview, offset: int) -> int:
    if hasattr(os, "pwrite"):
        return os.pwrite(descriptor, data, offset)
    with _ONE_POSITION:
        os.lseek(descriptor, offset, os.SEEK_SET)
        return os.write(descriptor, data)


def kept(folder: Path) -> int:
    """Bytes of the files of a folder that are named by what they hold."""
    total = 0
    for file in folder.glob("*.safetensors"):
        with suppress(OSError):
            total += file.stat().st_size if _FILE.fullmatch(file.name) else 0
    return total


def trim(folder: Path, keep_bytes: float, *, spare: str) -> None:
    """Remove the files used least recently until the rest take at most `keep_bytes`.

    Only files named by a key count; the one of key `spare` does not, and it stays, as do files
    that are being written. What can't be removed now is left to the next time.
    """
    files = []
    for file in folder.glob("*.safetensors"):
        with suppress(OSError):
            if _FILE.fullmatch(file.name) and file.stem != spare:
                files.append((file.stat().st_mtime_ns, file.stat().st_size, file))
    total = sum(size for _, size, _ in files)
    for _, size, file in sorted(files):
        if total <= keep_bytes:
            return
        with suppress(OSError):
            file.unlink(missing_ok=True)  # another process may be trimming too
            total -= size


def _remove_stale(folder: Path) -> None:
    """Remove what processes left that were killed while they wrote."""
    for part in folder.glob(".*.part"):
        if made := _PART.fullmatch(part.name):
            with suppress(OSError):
                gone = made["machine"] == _machine() and not _runs(int(made["process"]))
                if gone or time.time() - part.stat().st_mtime > STALE:
                    part.unlink()


def _runs(process: int) -> bool:
    if os.name == "nt":  # to ask like this would end it there
        return True
    try:
        os.kill(process, 0)
    except OSError as error:
        return error.errno != errno.ESRCH  # else it is someone else's
    return True


def _machine() -> str:
    """Where a process number means something: this machine, and this container on it."""
    container = ""
    with suppress(OSError):
        container = os.readlink("/proc/self/ns/pid")
    return hashlib.sha256(f"{platform.node()} {container}".encode()).hexdigest()[:8]


def _limit() -> float:
    text = os.environ.get(LIMIT) or str(LIMIT_GIB)
    with suppress(ValueError):
        if (limit := float(text)) >= 0:
            return limit * 2**30
    raise ConfigError(f"{LIMIT} is '{text}'; give a number of GiB, such as 20.")


def free(folder: Path) -> int:
    """Bytes free where a folder is or would be."""
    existing = next(p for p in (folder, *folder.parents) if os.path.isdir(p))
    return shutil.disk_usage(existing).free


def amount(size: int) -> str:
    """A number of bytes for people."""
    return f"{size / 2**30:.1f} GiB" if size >= 2**30 else f"{size / 2**20:.1f} MiB"
