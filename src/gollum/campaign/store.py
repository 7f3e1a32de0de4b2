"""The file of a campaign: an append-only log of events, and the table that they speak of."""

from __future__ import annotations

import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd
import sqlalchemy as sa
from pydantic import ValidationError

from gollum import __version__
from gollum.campaign import content, schema
from gollum.campaign.content import Row, table_sha256
from gollum.campaign.events import Created, Event, Recorded, parse
from gollum.campaign.schema import READ, SALVAGE, WRITE, DamageError
from gollum.campaign.state import Logged, State
from gollum.errors import BusyError, DataError, nearest, quoted

__all__ = ["Ledger", "Moved", "Store", "recover", "table_sha256"]


class Moved(BusyError):  # noqa: N818 (what happened is no fault)
    """Somebody else wrote in between."""


@dataclass(frozen=True)
class Store:
    """The file of one campaign.

    Nothing is open between calls: the file may be copied or moved then. Whenever it is used,

    - BusyError says that another process did not let go of it within 30 seconds,
    - DataError says that it is gone, damaged, of a newer version, replaced by another campaign, or
      can't be written; what it held before is still there.

    Attributes:
        path: the file.
        beginning: sha256 of the campaign's first event, which tells it from others.
        expected: sha256 of the last event that decisions are made upon; where there are others by
            then, they are refused. None lets them be made upon whatever there is.
        by: who makes them, as the events say.
        held: the transaction that all belongs to, of `together`.
    """

    path: Path
    beginning: str
    expected: str | None = None
    by: str = ""
    held: sa.Connection | None = None

    @classmethod
    def create(
        cls,
        path: str | Path,
        created: Created,
        candidates: pd.DataFrame,
        recorded: Recorded | None = None,
    ) -> Store:
        """Begin a campaign; the file is there whole or not at all.

        Args:
            path: must not exist.
            created: the first event; names the candidates by `table_sha256`.
            candidates: N x k table of whole numbers, numbers and texts; the index holds the ids.
            recorded: results that are known from the start.

        Raises:
            DataError: the path is taken or can't be written, or a column can't be kept.
            ValueError: `created` speaks of another table.
        """
        file, tables = Path(path).expanduser(), content.packed(content.encode(candidates))
        if created.candidates not in tables:
            raise ValueError("created.candidates is not the table_sha256 of the candidates")
        events: list[Event] = [created] if recorded is None else [created, recorded]
        rows = [content.new_row(number, event) for number, event in enumerate(events, 1)]
        schema.publish(file, rows, tables)
        return cls(file, rows[0]["sha256"])

    @classmethod
    def open(cls, path: str | Path) -> Store:
        """Check a campaign's file from end to end; one of an older version is renewed.

        Raises:
            DataError: it is not there, is no campaign, is damaged, or is of a newer version.
        """
        file = _existing(path)
        with _session(file) as connection:
            schema.check_pages(connection)
            version = schema.pragma(connection, "user_version")
        if version < schema.VERSION:
            with _reporting(file):
                schema.migrate(file)
        with _session(file) as connection:
            first = content.read_rows(connection)[0]
            content.read_table(connection, _created(file, first).candidates)
        return cls(file, first["sha256"])

    def created(self) -> Created:
        """How the campaign began."""
        with self._session() as connection:
            return _created(self.path, content.first_row(connection))

    def log(self) -> list[Logged]:
        """All events, in order."""
        with self._session() as connection:
            return _log(self.path, connection)

    def table(self, sha256: str) -> pd.DataFrame:
        """A table by its hash, as it was given to `create`: types, order, last bit."""
        with self._session() as connection:
            return content.decode(content.read_table(connection, sha256))

    def state(self) -> State:
        """What is known now."""
        with self._session() as connection:
            return _state(self.path, connection)

    def last(self) -> str:
        """The sha256 of the last event, which changes whenever anything does."""
        with self._session() as connection:
            return content.last_sha256(connection)

    def append(self, *events: Event, expected: str | None = None) -> Logged:
        """Write events, all or none; they are on disk when this returns, and the last is given.

        Args:
            events: what happened, in order.
            expected: sha256 of the last event that the caller knows of.

        Raises:
            Moved: there are other events than up to `expected`.
        """
        with self._writing(expected) as connection:
            return [_append(connection, event, self.by) for event in events][-1]

    @contextmanager
    def deciding(self) -> Iterator[Ledger]:
        """Look and write while nobody else can; an error that leaves the block undoes it all.

        Raises:
            Moved: there are other events than up to `self.expected`.
        """
        with self._writing(self.expected) as connection:
            yield Ledger(self.path, connection, self.by)

    @contextmanager
    def together(self) -> Iterator[Store]:
        """The store for several calls while nobody else can write, which are kept all or none.

        Raises:
            Moved: there are other events than up to `self.expected`.
        """
        with self._writing(self.expected) as connection:
            yield replace(self, expected=None, held=connection)

    @contextmanager
    def _writing(self, expected: str | None) -> Iterator[sa.Connection]:
        """A session in which nobody else can write; raises `Moved` after other events."""
        with self._session(WRITE) as connection:
            if expected not in (None, content.last_sha256(connection)):
                raise Moved(
                    f"somebody else has just written to '{self.path}'; look, and try again."
                )
            yield connection

    @contextmanager
    def _session(self, how: Sequence[str] = READ) -> Iterator[sa.Connection]:
        if self.held is not None:
            yield self.held
            return
        with _session(self.path, how) as connection:
            if content.is_another(connection, self.beginning):
                raise DataError(
                    f"'{self.path}' was replaced by another campaign meanwhile, and nothing was "
                    "written to that; put the right file back, or start over with this one."
                )
            yield connection


class Ledger:
    """A campaign whose file nobody else can write to meanwhile."""

    def __init__(self, path: Path, connection: sa.Connection, by: str = "") -> None:
        self._path = path
        self._connection = connection
        self._by = by
        self._state: State | None = None

    @property
    def state(self) -> State:
        """What is known, with the events appended here."""
        if self._state is None:
            self._state = _state(self._path, self._connection)
        return self._state

    def append(self, event: Event) -> Logged:
        """Write one event; it is kept when the block ends."""
        self._state = None
        return _append(self._connection, event, self._by)


def recover(path: str | Path, to: str | Path) -> int:
    """Copy the events of a damaged file, up to the first that can't be read, into a new file.

    Args:
        path: the damaged file; it stays as it is.
        to: must not exist.

    Returns:
        The number of events saved.

    Raises:
        DataError: how the campaign began can't be read, or `to` is taken or can't be written.
    """
    file = _existing(path)
    rows, tables = _readable(file)
    if not tables:
        raise DataError(f"'{file}': its beginning can't be read; go back to a copy of it.")
    schema.publish(Path(to).expanduser(), rows, tables)
    return len(rows)


@contextmanager
def _session(path: Path, how: Sequence[str] = READ) -> Iterator[sa.Connection]:
    with _reporting(path), schema.session(path, how) as connection:
        yield connection


@contextmanager
def _reporting(path: Path) -> Iterator[None]:
    try:
        yield
    except DamageError as damage:
        raise _damaged(path, str(damage)) from None


def _damaged(path: Path, what: str) -> DataError:
    rows, tables = _readable(path)
    hope = "its beginning can't be read; go back to a copy of it"
    if tables:
        hope = (
            f"its events 1 to {len(rows)} (until {rows[-1]['time'][:10]}) can be saved: "
            f"gollum recover {quoted(str(path))} --to NEW.gollum"
        )
    return DataError(
        f"'{path}' is damaged ({what}); {hope}. If it was moved here and '{path.name}-journal' was "
        "beside it before, that has to come along."
    )


def _readable(path: Path) -> tuple[list[Row], dict[str, bytes]]:
    """The events before the first that can't be read, and their table unless that can't be."""
    rows: list[Row] = []
    tables: dict[str, bytes] = {}
    with suppress(DamageError), schema.session(path, SALVAGE) as connection:
        rows = content.salvage_rows(connection)
        if rows:
            created = _created(path, rows[0])
            tables = content.packed(content.read_table(connection, created.candidates))
    return rows, tables


def _existing(path: str | Path) -> Path:
    file = Path(path).expanduser()
    try:
        mode = file.stat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        siblings = [p.name for p in file.parent.iterdir()] if file.parent.is_dir() else []
        raise DataError(f"there is no campaign '{file}'.{nearest(file.name, siblings)}") from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise DataError(f"{str(file)!r} can't be opened ({reason}); check the path.") from None
    if stat.S_ISDIR(mode):
        raise DataError(f"'{file}' is a folder; give the campaign's file.")
    if not stat.S_ISREG(mode):
        raise DataError(f"'{file}' is not a regular file; give the campaign's file.")
    return file


def _append(connection: sa.Connection, event: Event, by: str) -> Logged:
    if isinstance(event, Created):
        raise ValueError("a campaign begins once")
    event = event.model_copy(update={"by": by}) if by else event
    row = content.new_row(content.last_sequence(connection) + 1, event)
    connection.execute(sa.insert(schema.EVENTS), row)
    return _place(row, event)


def _logged(path: Path, row: Row) -> Logged:
    try:
        return _place(row, parse(row["event"]))
    except ValidationError:
        raise DataError(
            f"'{path}': event {row['sequence']} was written by gollum {row['version']}, and gollum "
            f"{__version__} can't read it; install gollum {row['version']} or newer."
        ) from None


def _place(row: Row, event: Event) -> Logged:
    return Logged(row["sequence"], row["time"], row["version"], event, row["sha256"])


def _created(path: Path, row: Row) -> Created:
    created = _logged(path, row).event
    assert isinstance(created, Created)  # noqa: S101 (a file is only ever made with one)
    return created


def _log(path: Path, connection: sa.Connection) -> list[Logged]:
    return [_logged(path, row) for row in content.read_rows(connection)]


def _state(path: Path, connection: sa.Connection) -> State:
    return State.of(
        _log(path, connection), lambda name: content.decode(content.read_table(connection, name))
    )
