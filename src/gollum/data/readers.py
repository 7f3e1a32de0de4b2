"""Tables from files: CSV, TSV, workbooks and Parquet, with errors that name file, row and column.

Text formats carry no types, so a column is numeric when every cell that is not blank is a number;
words such as `None` or `NA` stay words, because a ligand may be called that. Rows are counted as a
spreadsheet counts them: the first line of the file is row 1.
"""

from __future__ import annotations

import datetime
import io
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from gollum.data.spreadsheets import opendocument
from gollum.data.spreadsheets.book import optional
from gollum.data.spreadsheets.columns import Column
from gollum.data.spreadsheets.delimited import read_rows
from gollum.data.spreadsheets.encodings import check_kind, decode, kind_of, read_bytes, unpacked
from gollum.data.spreadsheets.numbers import Cell, DateCell, composed
from gollum.data.spreadsheets.sheets import (
    Sheet,
    check_characters,
    check_size,
    refuse_repeats,
    to_table,
)
from gollum.data.spreadsheets.values import spellings, typed
from gollum.data.spreadsheets.workbooks import read_sheet
from gollum.errors import DataError, nearest
from gollum.notes import Note, Notes

_TEXT = (".csv", ".tsv", ".txt")
UNPACKED = 400 * 2**20  # bytes of a Parquet file, which holds numbers as they are in memory
_BOOKS = (".xlsx", ".ods")
_ENDINGS = (*_TEXT, *_BOOKS, ".parquet")


def read_table(
    path: str | Path,
    *,
    sheet: str | None = None,
    encoding: str | None = None,
    wanted: str | None = None,
) -> pd.DataFrame:
    """Read a table of experiments, one row each.

    Args:
        path: a file ending in .csv, .tsv or .txt (also with .gz), .xlsx, .ods or .parquet.
        sheet: which sheet of a workbook; by default the first visible one that is not empty.
        encoding: of a text, such as mac_roman; by default UTF-8 or UTF-16, and Windows-1252 where
            that is plausible.
        wanted: a column that the table should have, to notice that another sheet is meant.

    Returns:
        N x k table: numeric columns as integers or floats (NaN where blank), others as text
        ('' where blank). `attrs['notes']` holds a `Note` on everything that was read in
        another way than it is written, `attrs['first_row']` the spreadsheet row of the first row.

    Raises:
        DataError: the file is missing, empty, unreadable or not a table, or a cell can be
            understood in two ways.
        MissingExtraError: the format needs a package that is not installed.
    """
    file = _existing(path)
    ending = _ending(file)
    if ending not in _ENDINGS:
        _refuse_ending(file)
    if sheet is not None and ending not in _BOOKS:
        raise DataError(f"{file} has no sheets; leave out sheet='{sheet}'.")
    if encoding is not None and ending not in _TEXT:
        raise DataError(f"{file} is no text; leave out encoding='{encoding}'.")
    if ending == ".parquet":
        return _read_parquet(file)
    if ending == ".xlsx":
        optional("openpyxl", "Excel files", "excel")
        content = read_bytes(file)
        check_kind(file, content, "an Excel workbook")
        return to_table(read_sheet(file, content, sheet, wanted))
    if ending == ".ods":
        content = read_bytes(file)
        check_kind(file, content, "an OpenDocument spreadsheet")
        return to_table(opendocument.read_sheet(file, content, sheet, wanted))
    return to_table(_read_text(file, encoding, tabs=ending != ".csv"))


def read_frame(frame: pd.DataFrame, name: str = "table") -> pd.DataFrame:
    """A table in memory, typed as `read_table` types one; what comes from there stays as it is.

    Dates, categories and truth values become text. The index is not read.

    Args:
        frame: N x k table; its first row counts as row 2, below the header.
        name: of the table, for messages.

    Raises:
        DataError: it is no table, a column has no proper name, or a cell can be understood in two
            ways.
    """
    if not isinstance(frame, pd.DataFrame):
        kind = type(frame).__name__
        raise DataError(f"{name}: expected a pandas DataFrame, got {kind}; make one of it.")
    for column in frame.columns:
        if not isinstance(column, str) or not column.strip():
            raise DataError(f"{name}: a column is called {column!r}; give it a name that is text.")
    frame = frame.rename(columns=composed)
    refuse_repeats(name, list(frame.columns))
    first = int(frame.attrs.get("first_row", 2))
    whole = frame.reset_index(drop=True)
    known = [c for c in frame.columns if _is_typed(whole[c], "first_row" in frame.attrs)]
    for column in known:
        _refuse_infinite(name, whole[column], first)
    others = [c for c in frame.columns if c not in known]
    rest = [Column(name, name, c, first, _cells(whole[c]), native=True) for c in others]
    series, notes = typed(rest)
    table = whole.assign(**{c.name: one for c, one in zip(rest, series, strict=True)})
    before = map(Note.of, frame.attrs.get("notes", ()))
    written = frame.attrs.get("written", {}) | {c.name: spellings(c) for c in rest}
    told = Notes((*before, *notes))
    table.attrs = frame.attrs | {"first_row": first, "notes": told, "written": written}
    return table


def _is_typed(column: pd.Series, from_file: bool) -> bool:
    if column.dtype in (np.dtype("int64"), np.dtype("float64")):
        return True
    texts = from_file and pd.api.types.infer_dtype(column, skipna=False) == "string"
    return bool(texts and column.notna().all())


def _cells(column: pd.Series) -> list[Cell]:
    missing = column.isna().tolist()
    return ["" if m else _cell(c) for c, m in zip(column.tolist(), missing, strict=True)]


def _cell(value: object) -> Cell:
    """A value as a file would have it."""
    if isinstance(value, float | np.floating):
        return float(value)
    if isinstance(value, int | np.integer) and not isinstance(value, bool):
        return int(value) if -(2**63) <= value < 2**63 else str(value)
    if isinstance(value, datetime.date):
        return DateCell(str(value).removesuffix(" 00:00:00"))
    return _text(value)


def _text(value: object) -> str:
    return composed(str(value))


def _refuse_infinite(where: str, column: pd.Series, first: int) -> None:
    if pd.api.types.is_numeric_dtype(column):
        infinite = np.flatnonzero(np.isinf(column.to_numpy(dtype="float64", na_value=np.nan)))
        if len(infinite):
            raise DataError(
                f"{where}: row {infinite[0] + first}, column '{column.name}': the number is "
                "infinite; correct it or leave it blank."
            )


def _existing(path: str | Path) -> Path:
    file = Path(path)
    try:
        file = file.expanduser()
        file.lstat()
        if file.is_dir():
            raise DataError(f"{file} is a folder; give a file inside it.")
        if not file.exists():
            raise DataError(f"{file} is a link to a file that is not there; give the file itself.")
        if not file.is_file():
            raise DataError(f"{file} is not a regular file; copy its content into one.")
    except FileNotFoundError:
        siblings = [p.name for p in file.parent.iterdir()] if file.parent.is_dir() else []
        raise DataError(f"There is no file {file}.{nearest(file.name, siblings)}") from None
    except (OSError, ValueError, RuntimeError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise DataError(f"{str(file)!r} cannot be opened: {reason}; check the path.") from None
    return file


def _ending(file: Path) -> str:
    name = file.name.lower()
    ending = Path(name.removesuffix(".gz")).suffix
    return ending if ending in _TEXT else file.suffix.lower()


def _refuse_ending(file: Path) -> None:
    """Say what a file with an ending of no format here holds, if it is a spreadsheet."""
    if file.suffix.lower() == ".xls":
        check_kind(file, read_bytes(file), "")
    raise DataError(
        f"{file}: cannot read '{file.suffix}' files; use {', '.join(sorted(_ENDINGS))} "
        "(.csv, .tsv and .txt may be gzipped)."
    )


def _read_text(file: Path, encoding: str | None, *, tabs: bool) -> Sheet:
    content = read_bytes(file)
    if file.suffix.lower() == ".gz":
        content = unpacked(file, content)
    check_kind(file, content, "text")
    text, notes = decode(file, content, encoding)
    del content  # a large one and its text don't fit beside the rows
    rows = read_rows(file, text, tabs=tabs)
    width = max(map(len, rows))
    return Sheet(file, None, range(1, width + 1), rows, notes)


def _read_parquet(file: Path) -> pd.DataFrame:
    arrow = optional("pyarrow", "Parquet files", "parquet")
    parquet = optional("pyarrow.parquet", "Parquet files", "parquet")
    optional("pyarrow.compute", "Parquet files", "parquet")
    content = read_bytes(file)
    if kind_of(content) in ("an Excel workbook", "an old Excel workbook", "gzipped data"):
        check_kind(file, content, "a Parquet table")
    try:
        source = parquet.ParquetFile(io.BytesIO(content))
        check_size(str(file), source.metadata.num_rows, source.metadata.num_columns)
        _check_unpacked(file, source.metadata)
        plain = {f.name: f.type for f in source.schema_arrow if _is_text(arrow, f.type)}
        # Each text once: a small file may repeat a long one in millions of rows.
        table = parquet.ParquetFile(io.BytesIO(content), read_dictionary=list(plain)).read()
    except (arrow.ArrowException, OSError):
        raise DataError(f"{file} is not a readable Parquet file; write it again.") from None
    for column in table.columns:
        check_characters(str(file), _characters(arrow, column))
    refuse_repeats(str(file), list(map(composed, table.column_names)))
    columns = {
        composed(name): (
            table[name].cast(plain[name]) if name in plain else table[name]
        ).to_pandas()
        for name in table.column_names
    }
    return pd.DataFrame({name: _typed(file, column) for name, column in columns.items()})


def _check_unpacked(file: Path, metadata: Any) -> None:
    groups = map(metadata.row_group, range(metadata.num_row_groups))
    size = sum(g.column(i).total_uncompressed_size for g in groups for i in range(g.num_columns))
    if size > UNPACKED:
        raise DataError(
            f"{file} unpacks to {size / 2**20:.0f} MB, and up to {UNPACKED / 2**20:.0f} MB are "
            "read; keep only the rows and columns that you need."
        )


def _is_text(arrow: Any, kind: Any) -> bool:
    return bool(arrow.types.is_string(kind) or arrow.types.is_large_string(kind))


def _characters(arrow: Any, column: Any) -> int:
    """How many bytes the texts of a column have together, if it keeps each text once."""
    kind = column.type
    if not (arrow.types.is_dictionary(kind) and _is_text(arrow, kind.value_type)):
        return 0
    lengths = (arrow.compute.binary_length(c.dictionary).take(c.indices) for c in column.chunks)
    return sum(arrow.compute.sum(length.cast(arrow.int64())).as_py() or 0 for length in lengths)


def _typed(file: Path, column: pd.Series) -> pd.Series:
    """Numbers stay numbers; everything else becomes text, blank where it is missing."""
    if pd.api.types.is_numeric_dtype(column) and not pd.api.types.is_bool_dtype(column):
        _refuse_infinite(str(file), column, 2)
        return column
    return column.astype(object).where(column.notna(), "").map(_text).astype("str")
