"""Records of a sweep: tidy tables with a row per finished run, and per run and iteration."""

from __future__ import annotations

import gzip
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml

from gollum.acquisition.strategy import STRATEGIES
from gollum.analysis.metrics import QUALITY
from gollum.benchmark.config import flatten
from gollum.benchmark.record import RunFolder
from gollum.benchmark.sweeps.cells import finished_summary, is_whole, read_failure, run_names
from gollum.data.catalog import all_tasks
from gollum.errors import DataError, MissingExtraError
from gollum.files import write_file

RUN = ("task", "surrogate", "model", "preset", "control", "settings", "seed")
COLUMNS = (
    "task", "group", "surrogate", "model", "preset", "control", "settings", "seed", "n_init",
    "n_iters", "batch_size", "top5_coverage", "top5_found", "best", "auc", "seconds", *QUALITY,
    "version", "commit", "data_sha256", "model_revision", "precision",
)  # fmt: skip
TRACE = (*RUN, "iteration", "best_so_far", "top5_coverage")
# What a file must have, and one of traces; older ones lack others.
NEEDED = ("task", "surrogate", "seed", "top5_coverage")
NEEDED_TRACE = (*NEEDED, "iteration", "best_so_far")
FAILURE = (*RUN, "message", "time", "folder")
NUMBERS = {"seed", "n_init", "n_iters", "batch_size", "top5_found", "iteration"}
FIGURES = {"top5_coverage", "best", "auc", "seconds", "best_so_far", *QUALITY}


@dataclass(frozen=True, eq=False)
class Records:
    """What a sweep found.

    Attributes:
        table: a row per run, with `COLUMNS`; text is '' and a figure NaN where there is none.
        traces: a row per run and iteration, with `TRACE`; iteration 0 is the starting points.
    """

    table: pd.DataFrame
    traces: pd.DataFrame


def collect(folder: Path) -> Records:
    """Records of all finished runs below a folder, sorted by what tells runs apart.

    Raises:
        DataError: there is no such folder, or a file in it is damaged.
    """
    rows, traces = [], []
    for run in _runs(folder, "summary.json"):
        if (row := _finished(run)) is None:
            continue
        last = run.trace().groupby("iteration", as_index=False).last()
        rows.append(row)
        traces.append(last.assign(**{key: row[key] for key in RUN}))
    return Records(_table(pd.DataFrame(rows), COLUMNS), _table(_joined(traces), TRACE))


def failures(folder: Path) -> pd.DataFrame:
    """A row per failed run below a folder, with `FAILURE`; what ended well since is left out.

    Raises:
        DataError: there is no such folder, or a file in it is damaged.
    """
    rows = []
    for run in _runs(folder, "failure.json"):
        if _finished(run) is None:
            failure = read_failure(run)
            where = run.path.relative_to(folder).as_posix()
            said = {"message": failure.message, "time": failure.time, "folder": where}
            rows.append({**failure.run, **said})
    return _table(pd.DataFrame(rows), FAILURE)


def write_records(records: Records, path: Path) -> None:
    """Write both tables, each in one step: STEM.csv and STEM-traces.csv.gz, or both as Parquet.

    Raises:
        DataError: the name ends in neither, or the file can't be written.
        MissingExtraError: Parquet needs pyarrow.
    """
    write_table(records.table, path)
    write_table(records.traces, _traces_beside(path)[0])


def write_table(table: pd.DataFrame, path: Path) -> None:
    """Write a table in one step, as the name says: .csv, .csv.gz or .parquet; as `write_records`.

    The same table gives the same bytes.
    """
    if path.suffix == ".parquet":
        content = _parquet(table)
    elif path.name.endswith((".csv", ".csv.gz")):
        content = table.to_csv(index=False, lineterminator="\n").encode()
        content = gzip.compress(content, mtime=0) if path.suffix == ".gz" else content
    else:
        raise DataError(f"'{path}': records are written as .csv or .parquet; choose one of them.")
    try:
        write_file(path, content)
    except OSError as error:
        raise DataError(f"'{path}' can't be written: {error.strerror}.") from None


def read_records(path: Path) -> Records:
    """Records from the file that `write_records` wrote, or of the runs below a folder.

    Columns that an older file lacks are blank, and so are traces that don't lie beside it.

    Raises:
        DataError: there is no such file, or it holds something else.
        MissingExtraError: Parquet needs pyarrow.
    """
    if path.is_dir():
        return collect(path)
    if not path.is_file():
        raise DataError(f"there are no records '{path}'; name a file of `gollum bench`.")
    table = _read(path, COLUMNS, NEEDED)
    beside = [file for file in _traces_beside(path) if file.is_file()]
    traces = _read(beside[0], TRACE, NEEDED_TRACE) if beside else _table(pd.DataFrame(), TRACE)
    return Records(table, traces)


def _runs(folder: Path, file: str) -> list[RunFolder]:
    if not folder.is_dir():
        raise DataError(f"there is no folder '{folder}'; name one that `gollum bench` wrote.")
    return [RunFolder(found.parent) for found in sorted(folder.rglob(file))]


def _finished(run: RunFolder) -> dict[str, Any] | None:
    """The row of a run that did all that was asked of it, or None.

    Raises:
        DataError: nothing says what was asked.
    """
    if (summary := finished_summary(run)) is None:
        return None
    try:
        keys = _keys(run)
        return _row(summary, keys) if is_whole(keys, summary) else None
    except (OSError, ValueError, LookupError, AttributeError, yaml.YAMLError):
        raise DataError(
            f"'{run.config_file}' is missing or damaged, so nobody knows which run its folder "
            "holds; restore it, or move that folder away."
        ) from None


def _keys(run: RunFolder) -> dict[str, Any]:
    """The dotted keys of a run."""
    fast = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # in C, where the package has that
    values = yaml.load(run.config_file.read_text("utf-8"), fast)  # noqa: S506 (it is safe)
    return dict(flatten(values))


def _row(summary: dict[str, Any], keys: dict[str, Any]) -> dict[str, Any]:
    """A row of the table from the figures of a run and its dotted keys."""
    names, provenance = run_names(keys), summary["provenance"]
    figures = {**summary, **(summary.get("quality") or {})}
    revision, surrogate = provenance.get("model_revision", ""), names["surrogate"]
    return {
        **{c: figures[c] for c in COLUMNS if c in figures},
        **{c: keys[c] for c in ("n_init", "n_iters", "batch_size")},
        **names,
        "group": _groups().get(str(names["task"]), ""),
        "version": provenance["gollum"],
        "commit": provenance.get("commit", ""),
        "data_sha256": provenance["data_sha256"],
        "model_revision": revision,
        "precision": provenance["precision"] if revision and surrogate not in STRATEGIES else "",
    }


@cache
def _groups() -> dict[str, str]:
    return {task.name: task.group for task in all_tasks()}


def _joined(traces: Sequence[pd.DataFrame]) -> pd.DataFrame:
    return pd.concat(traces, ignore_index=True) if traces else pd.DataFrame()


def _table(rows: pd.DataFrame, columns: Sequence[str]) -> pd.DataFrame:
    """The columns in order, with their types, sorted by run and iteration."""
    table = rows.reindex(columns=list(columns))
    for column in columns:
        if column in NUMBERS:
            table[column] = pd.array([_number(v, int) for v in table[column]], dtype="Int64")
        elif column in FIGURES:
            table[column] = np.array([_number(v, float) for v in table[column]], dtype=np.float64)
        else:
            table[column] = table[column].astype("object").fillna("").astype("str")
    keys = [c for c in (*RUN, "iteration") if c in columns]
    return table.sort_values(keys, kind="stable", ignore_index=True)


def _number(cell: Any, kind: type[float]) -> float | None:
    """A number, from text to the last bit; None for a blank cell."""
    return None if pd.isna(cell) else kind(cell)


def _traces_beside(path: Path) -> tuple[Path, ...]:
    """Where the traces of a record file may be; the first is where they are written."""
    stem = path.name.removesuffix(".gz").rpartition(".")[0]
    endings = (".parquet",) if path.suffix == ".parquet" else (".csv.gz", ".csv")
    return tuple(path.with_name(f"{stem}-traces{ending}") for ending in endings)


def _parquet(table: pd.DataFrame) -> bytes:
    _require_pyarrow()
    stream = BytesIO()
    table.to_parquet(stream, index=False)
    return stream.getvalue()


def _require_pyarrow() -> None:
    if find_spec("pyarrow") is None:
        raise MissingExtraError("A Parquet table", "parquet")


def _read(path: Path, columns: Sequence[str], needed: Sequence[str]) -> pd.DataFrame:
    try:
        if path.suffix == ".parquet":
            _require_pyarrow()
            table = pd.read_parquet(path)
        else:
            table = pd.read_csv(path, dtype=str, keep_default_na=False).replace("", None)
        for column in needed:
            if column not in table:
                raise ValueError(f"there is no column '{column}'")
        return _table(table, columns)
    except (OSError, ValueError, EOFError) as error:
        reason = " ".join(str(error).split())
        raise DataError(
            f"'{path}' is no table of records ({reason}); name a file that `gollum bench` wrote."
        ) from None
