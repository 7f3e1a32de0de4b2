"""What the file of a campaign holds, and how it is known to be what was written.

Each event carries a hash of its row; a table is kept as JSON under the hash of that.
"""

from __future__ import annotations

import hashlib
import json
import zlib
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime
from itertools import count
from typing import Any

import numpy as np
import pandas as pd
import sqlalchemy as sa
from pydantic_core import PydanticSerializationError

from gollum import __version__
from gollum.campaign.events import Event, parse
from gollum.campaign.schema import EVENTS, TABLES, DamageError
from gollum.errors import DataError

Row = Mapping[str, Any]
_SEALED = ("sequence", "time", "version", "kind", "event")
_LEVEL = 1  # of compression: nearly as small as the others, and much faster
_NUMBERS = ("int64", "float64")
_TEXT = "str"


def new_row(sequence: int, event: Event) -> dict[str, Any]:
    """The row of an event that happens now.

    Raises:
        DataError: it holds what is no text.
        pydantic.ValidationError: it is no event.
    """
    try:
        text = event.model_dump_json()
    except PydanticSerializationError as error:
        raise DataError(f"this can't be kept in a campaign: {error}; change it.") from None
    parse(text)  # what could not be read again must not be written
    now = datetime.now(UTC).isoformat(timespec="seconds")
    row = dict(zip(_SEALED, (sequence, now, __version__, event.kind, text), strict=True))
    return {**row, "sha256": _seal(row)}


def last_sequence(connection: sa.Connection) -> int:
    """Number of the last event."""
    return int(connection.execute(sa.select(sa.func.max(EVENTS.c.sequence))).scalar_one())


def last_sha256(connection: sa.Connection) -> str:
    """Hash of the last event."""
    last = sa.select(EVENTS.c.sha256).order_by(EVENTS.c.sequence.desc()).limit(1)
    return str(connection.execute(last).scalar_one())


def is_another(connection: sa.Connection, beginning: str) -> bool:
    """Whether the campaign began with another event than the one of this hash."""
    first = connection.execute(sa.select(EVENTS).where(EVENTS.c.sequence == 1)).one_or_none()
    if first is None or not _follows(first._asdict(), 0):
        return False  # it is damaged
    return bool(first.sha256 != beginning)


def first_row(connection: sa.Connection) -> Row:
    """How the campaign began.

    Raises:
        DamageError: it is missing or is not what was written.
    """
    found = connection.execute(sa.select(EVENTS).where(EVENTS.c.sequence == 1)).one_or_none()
    if found is None or not _follows(found._asdict(), 0):
        raise DamageError("event 1 is not what was written")
    return dict(found._asdict())


def read_rows(connection: sa.Connection) -> list[Row]:
    """All rows of the log.

    Raises:
        DamageError: one is missing or is not what was written.
    """
    rows: list[Row] = []
    for found in connection.execute(sa.select(EVENTS).order_by(EVENTS.c.sequence)):
        row = found._asdict()
        if not _follows(row, len(rows)):
            raise DamageError(f"event {len(rows) + 1} is not what was written")
        rows.append(row)
    noted = "SELECT seq FROM sqlite_sequence WHERE name = 'events'"
    total = connection.exec_driver_sql(noted).scalar_one_or_none()
    if total != len(rows) or not rows:
        raise DamageError(f"{len(rows)} of {total} events are there")
    return rows


def salvage_rows(connection: sa.Connection) -> list[Row]:
    """The rows before the first that can't be read."""
    rows: list[Row] = []
    with suppress(sa.exc.SQLAlchemyError, DamageError):
        for number in count(1):
            query = sa.select(EVENTS).where(EVENTS.c.sequence == number)
            found = connection.execute(query).one_or_none()
            if found is None or not _follows(found._asdict(), number - 1):
                break
            rows.append(found._asdict())
    return rows


def read_table(connection: sa.Connection, name: str) -> bytes:
    """The table of this hash, as JSON.

    Raises:
        DamageError: it is missing or is not what was written.
    """
    cell = sa.type_coerce(TABLES.c.content, sa.types.NullType())  # a damaged one holds anything
    found = connection.execute(sa.select(cell).where(TABLES.c.sha256 == name)).scalar_one_or_none()
    with suppress(TypeError, zlib.error):
        content = zlib.decompress(found or b"")
        if sha256(content) == name:
            return content
    raise DamageError("the table of candidates is not what was written")


def packed(content: bytes) -> dict[str, bytes]:
    """A table, as JSON, the way `schema.publish` takes it."""
    return {sha256(content): zlib.compress(content, _LEVEL)}


def table_sha256(table: pd.DataFrame) -> str:
    """What `Created.candidates` holds: a hash of ids, columns, types and cells.

    Raises:
        DataError: a column holds something else than whole numbers, finite numbers and texts.
    """
    return sha256(encode(table))


def sha256(content: bytes) -> str:
    """Hexadecimal SHA-256."""
    return hashlib.sha256(content).hexdigest()


def encode(table: pd.DataFrame) -> bytes:
    """A table as JSON by columns; floats as the shortest text that reads back.

    Raises:
        DataError: a column holds something else than whole numbers, finite numbers and texts.
    """
    ids = table.index.tolist()
    if not all(isinstance(cell, str) for cell in ids):
        raise DataError("the ids of the candidates must be texts.")
    columns = [[str(name), *_cells(str(name), table[name])] for name in table.columns]
    content = {"ids": ids, "columns": columns}
    return json.dumps(content, separators=(",", ":"), allow_nan=False).encode()


def decode(content: bytes) -> pd.DataFrame:
    """The table that was encoded; its index is called 'id'."""
    data = json.loads(content)
    index = pd.Index(data["ids"], dtype=_TEXT, name="id")
    columns = {
        name: pd.Series(cells, dtype=kind, index=index) for name, kind, cells in data["columns"]
    }
    return pd.DataFrame(columns, index=index)


def _cells(name: str, column: pd.Series) -> tuple[str, list[Any]]:
    """The type of a column, and its cells with None where blank."""
    kind, blank = str(column.dtype), column.isna()
    cells: list[Any] = column.tolist()
    for place in np.flatnonzero(blank):
        cells[place] = None
    if kind in _NUMBERS:
        if np.isinf(column.to_numpy()).any():
            raise DataError(f"column '{name}' holds an infinite number; leave the cell blank.")
        return kind, cells
    if not {type(cell) for cell in cells} <= {str, type(None)}:
        raise DataError(
            f"column '{name}' holds values of the type {kind}; candidates are described by whole "
            "numbers, numbers and texts."
        )
    return _TEXT, cells


def _seal(row: Row) -> str:
    return sha256("\n".join(str(row[column]) for column in _SEALED).encode())


def _follows(row: Row, before: int) -> bool:
    return bool(row["sequence"] == before + 1 and row["sha256"] == _seal(row))
