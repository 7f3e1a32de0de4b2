"""The folder of a run: config.yaml, trace.csv and summary.json, written so that it can resume."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml
from filelock import FileLock, Timeout

from gollum.benchmark.config import flatten, keys
from gollum.benchmark.spec import RunConfig, canonical
from gollum.errors import BusyError, ConfigError, DataError
from gollum.files import write_text

TRACE_COLUMNS = (
    "iteration", "id", "objective", "best_so_far", "top5_found", "top5_coverage",
    "predicted_mean", "predicted_sd", "acquisition", "loss", "evaluations",
    "fit_seconds", "acquire_seconds",
)  # fmt: skip
CAMPAIGN_COLUMNS = ("failed", "arrives")  # of the protocol 'campaign'
INTEGER_COLUMNS = ("iteration", "top5_found", *CAMPAIGN_COLUMNS)
TIMING_COLUMNS = ("fit_seconds", "acquire_seconds")
# Keys that may differ when a run goes on: none changes what it measures next.
FREE_KEYS = {
    "data.name", "output", "threads", "logger", "n_iters", "quality", "memory_gb",
    "lora.checkpointing", "remote.confirm", "remote.batch", "remote.requests_per_minute",
    "remote.tokens_per_minute", "remote.price_per_million", "remote.timeout", "remote.attempts",
}  # fmt: skip


@dataclass(frozen=True)
class RunFolder:
    """Where a run keeps its record.

    Attributes:
        path: the folder.
    """

    path: Path

    @property
    def config_file(self) -> Path:
        """Every key of the run."""
        return self.path / "config.yaml"

    @property
    def trace_file(self) -> Path:
        """One row per evaluation."""
        return self.path / "trace.csv"

    @property
    def summary_file(self) -> Path:
        """Final figures and provenance."""
        return self.path / "summary.json"

    @property
    def picture(self) -> Path:
        """Progress against random search."""
        return self.path / "progress.png"

    @property
    def failure_file(self) -> Path:
        """Why a cell of a sweep failed."""
        return self.path / "failure.json"

    @property
    def lock_file(self) -> Path:
        """There while a run is under way, or was killed."""
        return self.path / ".lock"

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep the folder to this run; however its process ends, the system lets go of it.

        A folder that had to be made for it and is empty in the end is removed again.

        Raises:
            BusyError: another run has it.
            ConfigError: the folder can't be written.
        """
        made = [folder for folder in (self.path, *self.path.parents) if not folder.exists()]
        lock = FileLock(self.lock_file)
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            lock.acquire(blocking=False)
        except (Timeout, FileNotFoundError):  # the latter: it was removed under our hands
            raise BusyError(
                f"folder '{self.path}' is in use by another run; wait until that has ended, or "
                "choose another folder with --output."
            ) from None
        except OSError as error:
            raise self._unwritable(error) from None
        try:
            yield
        finally:
            with suppress(OSError):
                self.lock_file.unlink()  # while it is held: who opened it before will see
            lock.release()
            with suppress(OSError):
                for folder in made:
                    folder.rmdir()

    def is_locked(self) -> bool:
        """Whether a run has the folder now."""
        if not self.lock_file.exists():
            return False
        try:
            with self.locked():
                return False
        except BusyError:
            return True

    def earlier_rows(self, config: RunConfig, data_hash: str) -> list[dict[str, Any]]:
        """What an earlier run of the same configuration left in the folder; writes nothing.

        Args:
            config: the run.
            data_hash: fingerprint of its candidates and their texts.

        Returns:
            Rows of the trace so far, in order; empty for a new run.

        Raises:
            ConfigError: the folder belongs to another run or to something else.
            DataError: a file in it is damaged.
        """
        if not self.path.exists():
            return []
        if self.path.is_file() or (self._holds_files() and not self.config_file.is_file()):
            raise ConfigError(
                f"'{self.path}' holds something else; choose another folder with --output."
            )
        if self.config_file.is_file():
            self._refuse_other(config, data_hash)
        rows = self._rows()
        if rows and rows[-1]["iteration"] > config.n_iters:
            raise ConfigError(
                f"folder '{self.path}' holds {rows[-1]['iteration']} iterations already, more than "
                f"n_iters = {config.n_iters}; raise --n_iters or choose another --output."
            )
        return rows

    def create(self, config: RunConfig) -> None:
        """Make the folder and write the configuration into it.

        Raises:
            ConfigError: the folder can't be written.
        """
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            write_text(self.config_file, config.to_yaml())
        except OSError as error:
            raise self._unwritable(error) from None

    def save(self, rows: list[dict[str, Any]], summary: dict[str, Any]) -> None:
        """Replace summary and trace, each in one step, so that a kill leaves no half of either.

        The trace comes last: what it does not hold yet is measured again when the run goes on.

        Raises:
            ConfigError: they can't be written.
        """
        columns = [*TRACE_COLUMNS, *(c for c in CAMPAIGN_COLUMNS if rows and c in rows[0])]
        table = pd.DataFrame(rows, columns=columns).astype({"evaluations": "Int64"})
        figures = json.dumps(summary, indent=2, ensure_ascii=False) + "\n"
        try:
            write_text(self.summary_file, figures)
            write_text(self.trace_file, table.to_csv(index=False, lineterminator="\n"))
        except OSError as error:
            raise self._unwritable(error) from None

    def trace(self) -> pd.DataFrame:
        """The trace as a table.

        Raises:
            DataError: the file is damaged.
        """
        try:
            return read_trace(self.trace_file)
        except (ValueError, KeyError):
            raise DataError(
                f"'{self.trace_file}' is damaged; restore it, or remove its folder to run anew."
            ) from None

    def summary(self) -> dict[str, Any]:
        """The figures as last saved.

        Raises:
            DataError: the file is damaged.
        """
        with suppress(ValueError):
            figures = json.loads(self.summary_file.read_text("utf-8"))
            if isinstance(figures, dict) and "provenance" in figures:
                return figures
        raise DataError(
            f"'{self.summary_file}' is damaged; remove it, and its run goes on from the trace."
        )

    def _rows(self) -> list[dict[str, Any]]:
        if not self.trace_file.is_file():
            return []
        return [
            {str(key): None if pd.isna(value) else value for key, value in row.items()}
            for row in self.trace().to_dict("records")
        ]

    def _earlier_config(self) -> dict[str, Any]:
        try:
            return dict(flatten(yaml.safe_load(self.config_file.read_text("utf-8"))))
        except (yaml.YAMLError, UnicodeDecodeError, AttributeError):
            raise ConfigError(
                f"folder '{self.path}' holds a config.yaml that no run wrote; choose another "
                "with --output."
            ) from None

    def _holds_files(self) -> bool:
        """Whether anything is there but what a killed or failed run may have left."""
        passing = {self.lock_file, self.failure_file}
        return any(p not in passing and p.suffix != ".part" for p in self.path.iterdir())

    def _unwritable(self, error: OSError) -> ConfigError:
        if self.path.is_file():
            return ConfigError(
                f"'{self.path}' holds something else; choose another folder with --output."
            )
        return ConfigError(
            f"folder '{self.path}' can't be written ({error.strerror}); choose another with "
            "--output."
        )

    def _refuse_other(self, config: RunConfig, data_hash: str) -> None:
        before = canonical(self._earlier_config())
        now = canonical(dict(flatten(yaml.safe_load(config.to_yaml()))))
        # A table with a name may have moved: its fingerprint below tells whether it is the same.
        named = "data.name" in before and "data.name" in now
        free = FREE_KEYS | ({"data.path"} if named else set())
        usual = {key: default for key, (_, default) in keys().items()}  # keys of later versions
        for key in sorted(before.keys() | now.keys()):
            was, is_now = (values.get(key, usual.get(key)) for values in (before, now))
            if key not in free and was != is_now:
                raise ConfigError(
                    f"folder '{self.path}' holds a run with {key} = {before.get(key)}, not "
                    f"{now.get(key)}; choose another folder with --output."
                )
        if self.summary_file.is_file():
            known = self.summary()["provenance"]["data_sha256"]
            if known != data_hash:
                raise ConfigError(
                    f"folder '{self.path}' holds a run on an earlier version of this table or of "
                    "its texts; choose another folder with --output."
                )


def read_trace(file: Path) -> pd.DataFrame:
    """A trace as written: numbers to the last bit, ids as text."""
    table = pd.read_csv(file, dtype=str, keep_default_na=False)
    for column in table.columns.drop("id"):
        kind = int if column in INTEGER_COLUMNS else float
        table[column] = [kind(cell) if cell else np.nan for cell in table[column]]
    return table
