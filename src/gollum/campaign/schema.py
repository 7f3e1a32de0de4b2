"""The database of a campaign: its tables, how a transaction is opened, how older files are renewed.

A rollback journal is used and no write-ahead log: between transactions all is in the one file, so
that it can be copied as it is, and processes need not share memory, as a write-ahead log has them
do. A killed writer leaves a journal beside the file; whoever opens the file next undoes what was
half-written.

Every version keeps `application_id`, `user_version` and the columns `sequence` and `version` of
`events`, so that an older package can say which one is needed.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from gollum import __version__
from gollum.errors import BusyError, DataError
from gollum.files import create_file

APPLICATION = int.from_bytes(b"GLLM", "big")  # tells a campaign from other programs' databases
VERSION = 1
PATIENCE = 30.0  # seconds to wait for another process
# Version → what makes the next version of it, inside a transaction.
MIGRATIONS: dict[int, Callable[[sa.Connection], None]] = {}

_UNREACHABLE = (
    sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM,
    sqlite3.SQLITE_AUTH, sqlite3.SQLITE_IOERR,
)  # fmt: skip

READ: tuple[str, ...] = ("BEGIN",)
WRITE = ("PRAGMA synchronous=FULL", "BEGIN IMMEDIATE")
SALVAGE = ("PRAGMA writable_schema=ON", "BEGIN")  # SQLite then opens a truncated file, too

_METADATA = sa.MetaData()
# AUTOINCREMENT makes SQLite note the last number elsewhere too: a lost end of the log is noticed.
EVENTS = sa.Table(
    "events",
    _METADATA,
    sa.Column("sequence", sa.Integer, primary_key=True),
    *(
        sa.Column(name, sa.Text, nullable=False)
        for name in ("time", "version", "kind", "event", "sha256")
    ),
    sqlite_autoincrement=True,
)
TABLES = sa.Table(
    "tables",
    _METADATA,
    sa.Column("sha256", sa.Text, primary_key=True),
    sa.Column("content", sa.LargeBinary, nullable=False),
)
# REPLACE deletes without asking the triggers for DELETE; those for INSERT stop it.
_TRIGGERS = (
    "CREATE TRIGGER events_follow BEFORE INSERT ON events"
    " WHEN NEW.sequence IS NOT (SELECT coalesce(max(sequence), 0) + 1 FROM events)"
    " BEGIN SELECT RAISE(ABORT, 'events follow one another'); END",
    "CREATE TRIGGER tables_stay BEFORE INSERT ON tables"
    " WHEN EXISTS (SELECT 1 FROM tables WHERE sha256 = NEW.sha256)"
    " BEGIN SELECT RAISE(ABORT, 'tables are only added'); END",
    *(
        f"CREATE TRIGGER {table}_no_{verb} BEFORE {verb} ON {table}"
        f" BEGIN SELECT RAISE(ABORT, '{table} are only added'); END"
        for table in ("events", "tables")
        for verb in ("update", "delete")
    ),
)


class DamageError(Exception):
    """What was read can't be what was written."""


@contextmanager
def session(path: Path, how: Sequence[str] = READ) -> Iterator[sa.Connection]:
    """One transaction on a campaign's file: kept whole, or not at all if an error leaves the block.

    Args:
        path: the file, which must be there.
        how: READ; WRITE, which waits for other writers; or SALVAGE, to read what is left.

    Raises:
        BusyError: another process did not let go of the file in time.
        DataError: the file can't be read or written, or is no campaign of this version.
        DamageError: the file does not hold what was written.
    """
    try:
        with _engine(lambda: _connect(path, "rw"), how).begin() as connection:
            _identify(path, connection)
            yield connection
    except (DBAPIError, sqlite3.Error) as error:
        raise _explained(path, error) from None


def pragma(connection: sa.Connection, name: str) -> int:
    """A number that SQLite keeps about the file."""
    return int(connection.exec_driver_sql(f"PRAGMA {name}").scalar_one())


def check_pages(connection: sa.Connection) -> None:
    """Let SQLite look at every page.

    Raises:
        DamageError: what SQLite has found.
    """
    verdict = str(connection.exec_driver_sql("PRAGMA quick_check(1)").scalar_one())
    if verdict != "ok":
        raise DamageError(verdict.splitlines()[-1])


def publish(path: Path, events: Sequence[Mapping[str, Any]], tables: Mapping[str, bytes]) -> None:
    """Make a new file in one step.

    Args:
        path: must not be there yet.
        events: rows of `events`, in order.
        tables: sha256 → content of `tables`.

    Raises:
        DataError: the path is taken or can't be written.
    """
    in_memory = _engine(lambda: sqlite3.connect(":memory:", isolation_level=None), READ)
    with in_memory.connect() as connection:
        with connection.begin():
            _METADATA.create_all(connection)
            for trigger in _TRIGGERS:
                connection.exec_driver_sql(trigger)
            connection.exec_driver_sql(f"PRAGMA application_id = {APPLICATION}")
            connection.exec_driver_sql(f"PRAGMA user_version = {VERSION}")
            connection.execute(
                sa.insert(TABLES), [{"sha256": s, "content": c} for s, c in tables.items()]
            )
            connection.execute(sa.insert(EVENTS), list(events))
        database: Any = connection.connection.driver_connection
        content: bytes = database.serialize()
    try:
        create_file(path, content)
    except FileExistsError:
        raise DataError(f"'{path}' exists already; choose another name.") from None
    except OSError as error:
        raise DataError(
            f"'{path}' can't be written ({error.strerror}); choose another place."
        ) from None


def migrate(path: Path) -> None:
    """Bring an older file to this version in one transaction, after a copy `NAME.v1.bak` beside it.

    Raises:
        BusyError, DataError: as `session`, or no copy can be kept.
        DamageError: there is no way from its version to this one.
    """
    with ExitStack() as undo:
        with session(path, WRITE) as connection:
            before = pragma(connection, "user_version")  # another process may have been faster
            if any(version not in MIGRATIONS for version in range(before, VERSION)):
                raise DamageError(f"there never was a format {before}")
            if before < VERSION:
                undo.callback(_back_up(path, before).unlink)
            for version in range(before, VERSION):
                MIGRATIONS[version](connection)
            connection.exec_driver_sql(f"PRAGMA user_version = {VERSION}")
        undo.pop_all()


def _back_up(path: Path, version: int) -> Path:
    """Copy a file through SQLite, whose locks would be lost if the file were opened past it."""
    backup = path.with_name(f"{path.name}.v{version}.bak")
    with closing(_connect(path, "ro")) as source, closing(sqlite3.connect(":memory:")) as copy:
        source.backup(copy)
        content = copy.serialize()
    try:
        if not (backup.is_file() and backup.read_bytes() == content):  # a killed attempt left it
            create_file(backup, content)
    except OSError as error:
        raise DataError(
            f"'{path}' has to be renewed, and no copy of it can be kept as '{backup.name}' "
            f"({error.strerror}); move it to a folder where that can be written."
        ) from None
    return backup


def _engine(connect: Callable[[], sqlite3.Connection], how: Sequence[str]) -> sa.Engine:
    """An engine whose connections are closed after use and whose transactions start like this."""
    engine = sa.create_engine("sqlite://", creator=connect, poolclass=sa.NullPool)

    @sa.event.listens_for(engine, "begin")
    def _begin(connection: sa.Connection) -> None:
        for statement in how:
            connection.exec_driver_sql(statement)

    @sa.event.listens_for(engine, "handle_error")
    def _garbled(context: sa.ExceptionContext) -> None:
        if isinstance(context.original_exception, UnicodeDecodeError):  # SQLite quotes the file
            raise DamageError("it holds texts that are none")

    return engine


def _connect(path: Path, mode: str) -> sqlite3.Connection:
    """A connection that never makes a file; it leaves the transactions to `_engine`."""
    name = path.absolute().as_posix()  # C:/… needs a slash in front, and //server/… keeps its two
    uri = "file://" + "/" * (not name.startswith("/")) + quote(os.fsencode(name))
    return sqlite3.connect(f"{uri}?mode={mode}", uri=True, timeout=PATIENCE, isolation_level=None)


def _identify(path: Path, connection: sa.Connection) -> None:
    if pragma(connection, "page_count") == 0:
        raise DataError(f"'{path}' is empty and no campaign; remove it, or choose another file.")
    if pragma(connection, "application_id") != APPLICATION:
        raise DataError(
            f"'{path}' is a database of another program and no campaign; choose another file."
        )
    if pragma(connection, "user_version") > VERSION:
        raise DataError(
            f"'{path}' was written by gollum {_writer(connection)}, and gollum {__version__} can't "
            "read it; upgrade: pip install --upgrade gollum."
        )


def _writer(connection: sa.Connection) -> str:
    """The version of the package that wrote last."""
    try:
        last = "SELECT version FROM events ORDER BY sequence DESC LIMIT 1"
        return str(connection.exec_driver_sql(last).scalar_one())
    except SQLAlchemyError:
        return "of a newer version"


def _explained(path: Path, error: DBAPIError | sqlite3.Error) -> Exception:
    """What an error of SQLite means to the user; the error itself if it is a defect of ours."""
    cause = error.orig if isinstance(error, DBAPIError) else error
    if isinstance(cause, sqlite3.IntegrityError | sqlite3.ProgrammingError):
        return error
    code = getattr(cause, "sqlite_errorcode", sqlite3.SQLITE_CORRUPT) & 0xFF
    if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return BusyError(f"'{path}' is in use by another process; try again in a moment.")
    if code == sqlite3.SQLITE_NOTADB:
        return DataError(f"'{path}' is no campaign; choose a file that `gollum init` has made.")
    if code == sqlite3.SQLITE_FULL:
        return DataError(
            f"the disk of '{path}' is full, and nothing was changed; free some space and try again."
        )
    if code in _UNREACHABLE:
        return DataError(
            f"'{path}' can't be read or written ({cause}), and nothing was changed; check the file "
            "and its folder, which must be writable, too."
        )
    return DamageError(str(cause))
