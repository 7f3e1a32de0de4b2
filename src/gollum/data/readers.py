"""Tables from files: CSV, TSV, Excel and Parquet, with errors that name file, row and column.

Text formats carry no types, so a column is numeric when every cell that is not blank is a number;
words such as `None` or `NA` stay words, because a ligand may be called that. Rows are counted as a
spreadsheet counts them: the header is row 1.
"""

from __future__ import annotations

import csv
import gzip
import io
import math
import re
import warnings
import zlib
from collections import Counter
from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path
from types import ModuleType

import numpy as np
import pandas as pd

from gollum.errors import DataError, MissingExtraError, nearest

# A leading zero marks a code such as a catalogue number, so 007 is no number here.
_NUMBER = re.compile(r"[+-]?(?:(?:0|[1-9][0-9]*)(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
_INTEGER = re.compile(r"[+-]?[0-9]+")
LONGEST_HEADER = 100_000  # characters in which the delimiter is looked for
_DELIMITERS = {".csv": ",;\t", ".tsv": "\t"}


def read_table(path: str | Path) -> pd.DataFrame:
    """Read a table of experiments, one row each.

    Args:
        path: a file ending in .csv or .tsv (also with .gz), .xlsx (its first sheet) or .parquet.

    Returns:
        N x k table: numeric columns as integers or floats (NaN where blank), others as text
        ('' where blank).

    Raises:
        DataError: the file is missing, empty, unreadable or not a table.
        MissingExtraError: the format needs a package that is not installed.
    """
    file = _existing(Path(path).expanduser())
    ending = _ending(file)
    if ending not in _READERS:
        raise DataError(
            f"{file}: cannot read '{file.suffix}' files; use {', '.join(sorted(_READERS))} "
            "(.csv and .tsv may be gzipped)."
        )
    return _READERS[ending](file)


def _existing(file: Path) -> Path:
    if file.is_dir():
        raise DataError(f"{file} is a folder; give a file inside it.")
    if not file.exists():
        siblings = [p.name for p in file.parent.iterdir()] if file.parent.is_dir() else []
        raise DataError(f"There is no file {file}.{nearest(file.name, siblings)}")
    return file


def _ending(file: Path) -> str:
    name = file.name.lower()
    ending = Path(name.removesuffix(".gz")).suffix
    return ending if ending in _DELIMITERS else file.suffix.lower()


def _read_text(file: Path) -> pd.DataFrame:
    text = _decode(file, _content(file))
    if not text.strip():
        raise DataError(f"{file} is empty; it needs a header and one row for each experiment.")
    delimiter = _sniff(text, _DELIMITERS[_ending(file)])
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    try:
        rows = list(reader)
    except csv.Error as error:
        raise DataError(
            f"{file}: line {reader.line_num} cannot be read ({error}); check its quotation marks."
        ) from None
    return _frame(file, rows)


def _content(file: Path) -> bytes:
    try:
        content = file.read_bytes()
        return gzip.decompress(content) if file.suffix.lower() == ".gz" else content
    except (EOFError, zlib.error, gzip.BadGzipFile):
        raise DataError(f"{file} is not a complete gzip file; fetch or pack it again.") from None
    except OSError as error:
        raise DataError(f"{file} cannot be opened: {error.strerror}.") from None


def _decode(file: Path, content: bytes) -> str:
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise DataError(
            f"{file}: line {line} is not UTF-8 text; save the table again as 'CSV UTF-8'."
        ) from None


def _sniff(text: str, delimiters: str) -> str:
    """The delimiter that splits the header into the most columns; the first one on a tie."""
    header = text[:LONGEST_HEADER].lstrip("\r\n").splitlines()[:1]
    return max(delimiters, key=lambda d: len(next(csv.reader(header, delimiter=d), [])))


def _optional(module: str, feature: str, extra: str) -> ModuleType:
    try:
        return import_module(module)
    except ImportError:
        raise MissingExtraError(feature, extra) from None


def _read_excel(file: Path) -> pd.DataFrame:
    openpyxl = _optional("openpyxl", "Excel files", "excel")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # styles and drop-down lists that openpyxl leaves out
            book = openpyxl.load_workbook(io.BytesIO(_content(file)), data_only=True)
            values = list(book.worksheets[0].iter_rows(values_only=True))
    except DataError:
        raise
    except Exception:  # a broken workbook fails in many ways
        raise DataError(f"{file} is not a readable Excel workbook; save it again.") from None
    rows = [["" if cell is None else str(cell) for cell in row] for row in values]
    if not any(cell.strip() for row in rows for cell in row):
        raise DataError(f"{file} is empty; its first sheet needs a header and some rows.")
    return _frame(file, rows)


def _read_parquet(file: Path) -> pd.DataFrame:
    arrow = _optional("pyarrow", "Parquet files", "parquet")
    parquet = _optional("pyarrow.parquet", "Parquet files", "parquet")
    try:
        table = parquet.read_table(io.BytesIO(_content(file)))
    except (arrow.ArrowException, OSError):
        raise DataError(f"{file} is not a readable Parquet file; write it again.") from None
    _refuse_repeats(file, table.column_names)
    columns = {name: table[name].to_pandas() for name in table.column_names}
    return pd.DataFrame({name: _typed(column) for name, column in columns.items()})


def _typed(column: pd.Series) -> pd.Series:
    """Numbers stay numbers; everything else becomes text, blank where it is missing."""
    if pd.api.types.is_numeric_dtype(column) and not pd.api.types.is_bool_dtype(column):
        return column
    return column.astype(object).where(column.notna(), "").map(str).astype("str")


def _frame(file: Path, rows: Sequence[Sequence[str]]) -> pd.DataFrame:
    """Header and cells of a text format become typed columns."""
    header, *body = rows
    if not any(name.strip() for name in header):
        raise DataError(f"{file}: row 1 is blank; it must hold the names of the columns.")
    while body and not any(cell.strip() for cell in body[-1]):
        body.pop()
    names = [name.strip() for name in header]
    for number, row in enumerate(body, start=2):
        _check_row(file, number, row, len(names))
    columns = dict(enumerate(zip(*body, strict=True))) if body else {}
    cells = {i: columns.get(i, ()) for i in range(len(names))}
    kept = [i for i, name in enumerate(names) if name or any(c.strip() for c in cells[i])]
    titles = [names[i] or f"unnamed {i + 1}" for i in kept]
    _refuse_repeats(file, titles)
    return pd.DataFrame({title: _column(cells[i]) for title, i in zip(titles, kept, strict=True)})


def _check_row(file: Path, number: int, row: Sequence[str], width: int) -> None:
    if not any(cell.strip() for cell in row):
        raise DataError(f"{file}: row {number} is blank; delete it.")
    if len(row) != width:
        raise DataError(
            f"{file}: row {number}: expected {width} cells as in the header, got {len(row)}; "
            "check for a missing or extra delimiter, and quote cells that contain one."
        )


def _refuse_repeats(file: Path, names: Sequence[str]) -> None:
    repeated = [name for name, count in Counter(names).items() if count > 1]
    if repeated:
        raise DataError(f"{file}: two columns are called '{repeated[0]}'; rename one of them.")


def _column(cells: Sequence[str]) -> pd.Series:
    present = [cell for cell in cells if cell.strip()]
    if present and all(map(_is_number, present)):
        if len(present) == len(cells) and all(_INTEGER.fullmatch(c.strip()) for c in cells):
            return pd.Series([int(cell) for cell in cells], dtype="int64")
        return pd.Series([float(c) if c.strip() else np.nan for c in cells], dtype="float64")
    return pd.Series([cell if cell.strip() else "" for cell in cells], dtype="str")


def _is_number(cell: str) -> bool:
    """Whether a cell is a number that a column can hold; longer integers are codes."""
    bare = cell.strip()
    if not _NUMBER.fullmatch(bare) or not math.isfinite(float(bare)):
        return False
    return not _INTEGER.fullmatch(bare) or -(2**63) <= int(bare) < 2**63


_READERS: dict[str, Callable[[Path], pd.DataFrame]] = {
    ".csv": _read_text,
    ".tsv": _read_text,
    ".xlsx": _read_excel,
    ".parquet": _read_parquet,
}
