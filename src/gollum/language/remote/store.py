"""Vectors that were paid for, in one SQLite file."""

from __future__ import annotations

import hashlib
import os
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from gollum.cachefile import data_folder
from gollum.errors import ModelError

BUSY = 30.0  # seconds that another process may take to write
PATIENCE = 3600  # seconds that another process may take to fetch
TABLE = "CREATE TABLE IF NOT EXISTS vectors (key BLOB PRIMARY KEY, vector BLOB, sha256 BLOB)"


def store_path() -> Path:
    """Where vectors are kept: below GOLLUM_CACHE, or with the user's data.

    They were paid for, so they are not in the cache folder, where anything may be removed.
    """
    folder = os.environ.get("GOLLUM_CACHE")
    if folder:
        return Path(folder, "embeddings.sqlite")
    return data_folder() / "embeddings.sqlite"


class Store:
    """Vectors by key, which several processes may read and write at once; it holds no texts.

    Each call opens the file anew, so a forked process may use its parent's store.

    Args:
        path: the file; made when the first vector is put. By default `store_path()`.
    """

    def __init__(self, path: Path | None = None) -> None:
        self.path = path or store_path()

    def read(self, keys: Iterable[bytes]) -> dict[bytes, NDArray[np.float32]]:
        """Vectors by key; what is missing or damaged is left out.

        Raises:
            ModelError: the file can't be read.
        """
        vectors: dict[bytes, NDArray[np.float32]] = {}
        if not os.path.exists(self.path):
            return vectors
        query = "SELECT vector, sha256 FROM vectors WHERE key = ?"
        with self._opened() as connection:
            for key in keys:
                vector, check = connection.execute(query, (key,)).fetchone() or (None, None)
                if isinstance(vector, bytes) and check == _check(key, vector):
                    vectors[key] = np.frombuffer(vector, "<f4")
        return vectors

    def put(self, vectors: Mapping[bytes, NDArray[np.float32]]) -> None:
        """Keep vectors: all of them are on disk when this returns, or none.

        Raises:
            ModelError: the file can't be written.
        """
        rows = [(key, vector.astype("<f4").tobytes()) for key, vector in vectors.items()]
        with self._opened() as connection:
            connection.executemany(
                "INSERT OR REPLACE INTO vectors VALUES (?, ?, ?)",
                [(key, data, _check(key, data)) for key, data in rows],
            )

    @contextmanager
    def turn(self, name: str, sleep: Callable[[float], None]) -> Iterator[None]:
        """A block that one process at a time runs for a name; a turn ends with its process.

        Raises:
            ModelError: nothing can be kept, or another process never ends.
        """
        self.put({})  # says what is wrong with the place before anything is paid for
        lock = sqlite3.connect(f"{self.path}.{name[:16]}.lock", 0, isolation_level=None)
        with closing(lock):
            for _ in range(PATIENCE):
                with suppress(sqlite3.OperationalError):
                    lock.execute("BEGIN EXCLUSIVE")
                    break
                sleep(1.0)
            else:
                raise ModelError(
                    "another process has been asking the same model for "
                    f"{PATIENCE // 60} minutes; wait for it or end it."
                )
            yield

    @contextmanager
    def _opened(self) -> Iterator[sqlite3.Connection]:
        """A connection whose changes are all kept in the end, or none of them.

        Raises:
            ModelError: what SQLite or the system refuses, and what to do.
        """
        try:
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            if not os.path.exists(self.path):
                self.path.touch(mode=0o600)
            connection = sqlite3.connect(self.path, BUSY, isolation_level="IMMEDIATE")
            with closing(connection), connection:
                connection.execute("PRAGMA synchronous=EXTRA")  # survives a power cut
                connection.execute(TABLE)
                yield connection
        except (sqlite3.Error, OSError) as error:
            raise ModelError(
                f"'{self.path}', where paid vectors are kept, can't be used ({error}); see to "
                "that, set GOLLUM_CACHE to another folder, or, if it is damaged, move it away and "
                "pay again."
            ) from None


def _check(key: bytes, data: bytes) -> bytes:
    return hashlib.sha256(key + data).digest()
