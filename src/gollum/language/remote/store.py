"""Vectors and answers that were paid for, in one SQLite file."""

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
# By name; only the one that is asked for is made, as the file may be another's.
TABLES = {
    name: f"CREATE TABLE IF NOT EXISTS {name} (key BLOB PRIMARY KEY, {cell} BLOB, sha256 BLOB)"
    for name, cell in (("vectors", "vector"), ("answers", "answer"))
}


def store_path() -> Path:
    """Where vectors are kept: below GOLLUM_CACHE, or with the user's data.

    They were paid for, so they are not in the cache folder, where anything may be removed.
    """
    folder = os.environ.get("GOLLUM_CACHE")
    if folder:
        return Path(folder, "embeddings.sqlite")
    return data_folder() / "embeddings.sqlite"


class Store:
    """Vectors and answers by key, which several processes may read and write at once.

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
        found = self._read("vectors", "SELECT vector, sha256 FROM vectors WHERE key = ?", keys)
        return {key: np.frombuffer(vector, "<f4") for key, vector in found.items()}

    def answers(self, keys: Iterable[bytes]) -> dict[bytes, str]:
        """Answers of chat models by key; what is missing or damaged is left out.

        Raises:
            ModelError: the file can't be read.
        """
        found = self._read("answers", "SELECT answer, sha256 FROM answers WHERE key = ?", keys)
        return {key: answer.decode() for key, answer in found.items()}

    def _read(self, table: str, query: str, keys: Iterable[bytes]) -> dict[bytes, bytes]:
        found: dict[bytes, bytes] = {}
        if not os.path.exists(self.path):
            return found
        with self._opened(table) as connection:
            for key in keys:
                data, check = connection.execute(query, (key,)).fetchone() or (None, None)
                if isinstance(data, bytes) and check == _check(key, data):
                    found[key] = data
        return found

    def put(self, vectors: Mapping[bytes, NDArray[np.float32]]) -> None:
        """Keep vectors: all of them are on disk when this returns, or none.

        Raises:
            ModelError: the file can't be written.
        """
        data = {key: vector.astype("<f4").tobytes() for key, vector in vectors.items()}
        self._put("vectors", "INSERT OR REPLACE INTO vectors VALUES (?, ?, ?)", data)

    def keep(self, answers: Mapping[bytes, str]) -> None:
        """Keep answers: all of them are on disk when this returns, or none.

        Raises:
            ModelError: the file can't be written.
        """
        data = {key: answer.encode("utf-8", "replace") for key, answer in answers.items()}
        self._put("answers", "INSERT OR REPLACE INTO answers VALUES (?, ?, ?)", data)

    def _put(self, table: str, query: str, data: Mapping[bytes, bytes]) -> None:
        rows = [(key, content, _check(key, content)) for key, content in data.items()]
        with self._opened(table) as connection:
            connection.executemany(query, rows)

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
    def _opened(self, table: str) -> Iterator[sqlite3.Connection]:
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
                connection.execute(TABLES[table])
                yield connection
        except (sqlite3.Error, OSError) as error:
            raise ModelError(
                f"'{self.path}', where what was paid for is kept, can't be used ({error}); see to "
                "that, set GOLLUM_CACHE to another folder, or, if it is damaged, move it away and "
                "pay again."
            ) from None


def _check(key: bytes, data: bytes) -> bytes:
    return hashlib.sha256(key + data).digest()
