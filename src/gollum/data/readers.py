"""Tables from files: CSV, TSV, Excel and Parquet, with errors that name file, row and column.

Text formats carry no types, so a column is numeric when every cell that is not blank is a number;
words such as `None` or `NA` stay words, because a ligand may be called that. Rows are counted as a
spreadsheet counts them: the first line of the file is row 1.
"""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pandas as pd

from gollum.data.spreadsheets.delimited import read_rows
from gollum.data.spreadsheets.encodings import check_kind, decode, kind_of, read_bytes, unpacked
from gollum.data.spreadsheets.sheets import Sheet, check_size, refuse_repeats, to_table
from gollum.data.spreadsheets.workbooks import optional, read_sheet
from gollum.errors import DataError, nearest

_TEXT = (".csv", ".tsv", ".txt")
_ENDINGS = (*_TEXT, ".xlsx", ".parquet")


def read_table(path: str | Path, *, sheet: str | None = None) -> pd.DataFrame:
    """Read a table of experiments, one row each.

    Args:
        path: a file ending in .csv, .tsv or .txt (also with .gz), .xlsx or .parquet.
        sheet: which sheet of a workbook; by default the first visible one that is not empty.

    Returns:
        N x k table: numeric columns as integers or floats (NaN where blank), others as text
        ('' where blank). `attrs['notes']` holds a sentence for everything that was read in
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
    if sheet is not None and ending != ".xlsx":
        raise DataError(f"{file} has no sheets; leave out sheet='{sheet}'.")
    if ending == ".parquet":
        return _read_parquet(file)
    if ending == ".xlsx":
        optional("openpyxl", "Excel files", "excel")
        content = read_bytes(file)
        check_kind(file, content, "an Excel workbook")
        return to_table(read_sheet(file, content, sheet))
    return to_table(_read_text(file, tabs=ending != ".csv"))


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
    if file.suffix.lower() in (".xls", ".ods"):
        check_kind(file, read_bytes(file), "")
    raise DataError(
        f"{file}: cannot read '{file.suffix}' files; use {', '.join(sorted(_ENDINGS))} "
        "(.csv, .tsv and .txt may be gzipped)."
    )


def _read_text(file: Path, *, tabs: bool) -> Sheet:
    content = read_bytes(file)
    if file.suffix.lower() == ".gz":
        content = unpacked(file, content)
    check_kind(file, content, "text")
    text, notes = decode(file, content)
    if not text.strip():
        raise DataError(f"{file} is empty; it needs a header and one row for each experiment.")
    rows = read_rows(file, text, tabs=tabs)
    width = max(len(row) for row in rows)
    return Sheet(file, None, range(1, width + 1), rows, notes)


def _read_parquet(file: Path) -> pd.DataFrame:
    arrow = optional("pyarrow", "Parquet files", "parquet")
    parquet = optional("pyarrow.parquet", "Parquet files", "parquet")
    content = read_bytes(file)
    if kind_of(content) in ("an Excel workbook", "an old Excel workbook", "gzipped data"):
        check_kind(file, content, "a Parquet table")
    try:
        source = parquet.ParquetFile(io.BytesIO(content))
        check_size(str(file), source.metadata.num_rows, source.metadata.num_columns)
        table = source.read()
    except (arrow.ArrowException, OSError):
        raise DataError(f"{file} is not a readable Parquet file; write it again.") from None
    refuse_repeats(str(file), table.column_names)
    columns = {name: table[name].to_pandas() for name in table.column_names}
    return pd.DataFrame({name: _typed(file, column) for name, column in columns.items()})


def _typed(file: Path, column: pd.Series) -> pd.Series:
    """Numbers stay numbers; everything else becomes text, blank where it is missing."""
    if pd.api.types.is_numeric_dtype(column) and not pd.api.types.is_bool_dtype(column):
        infinite = np.flatnonzero(np.isinf(column.to_numpy(dtype="float64", na_value=np.nan)))
        if len(infinite):
            raise DataError(
                f"{file}: row {infinite[0] + 2}, column '{column.name}': the number is infinite; "
                "correct it or leave it blank."
            )
        return column
    return column.astype(object).where(column.notna(), "").map(str).astype("str")
