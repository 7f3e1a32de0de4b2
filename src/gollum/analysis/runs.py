"""Records of finished runs, checked and with one label for each method.

`table` has a row per run, `traces` a row per run and iteration, as `gollum bench` writes them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import pandas as pd

from gollum.errors import ConfigError, DataError, nearest
from gollum.surrogates.specs import SURROGATES

RUN = ["task", "method", "seed"]
PROTOCOL = ("n_init", "n_iters", "batch_size")
LOWER_IS_BETTER = ("nlpd", "msll", "calibration_error", "seconds")
# What may differ between two records of the same run, which was timed or collected again.
INCIDENTAL = ("seconds", "version", "commit")
FEW = 3  # names that are listed; more are counted
_TRACE = ("iteration", "best_so_far", "top5_coverage")


def labelled(
    table: pd.DataFrame, traces: pd.DataFrame, joined: Mapping[str, Sequence[str]] | None = None
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Both tables with a column `method`; repeated runs, and traces of no record, are dropped.

    The records get a column `member` too, what the method is called where it is not joined.

    A method is called by its surrogate, then model and preset where the records hold several, then
    the control if there is one, then its settings where the records hold several: `pllm`,
    `pllm-minilm-fast`, `one_hot-fast`, `pllm-permuted_labels`, `pllm-acquisition=ucb`.

    Args:
        table: a row per run.
        traces: a row per run and iteration; may be empty.
        joined: new name → methods that count as one, each of them on tasks of its own, such as
            one-hot encoding where there are categories and fingerprints where there are molecules.

    Raises:
        ConfigError: there is no method to join, or a joined name or method occurs twice.
        DataError: there is no run, a column is missing, a run occurs twice, or a task has several
            of the methods that are joined.
    """
    _require(table, ("task", "surrogate", "seed"), "records")
    if table.empty:
        raise DataError("these records hold no finished run; finish some with `gollum bench`.")
    if table["seed"].isna().any():
        raise DataError("some runs of these records have no seed, so they can't be paired.")
    keys = _keys(table)
    several = [
        part for part in ("model", "preset") if keys.loc[keys[part] != "", part].nunique() > 1
    ]
    settings = ["settings"] if keys["settings"].nunique() > 1 else []
    parts = ["surrogate", *several, "control", *settings]
    runs = table.assign(task=table["task"].astype(str), method=_join(keys[parts]))
    runs = runs.drop_duplicates([c for c in runs if c not in INCIDENTAL])
    _refuse_repeats(runs)
    names = _new_names(runs, joined or {})
    runs = runs.assign(member=runs["method"], method=runs["method"].replace(names))
    if traces.empty:
        return runs, pd.DataFrame(columns=[*RUN, *_TRACE])
    _require(traces, ("task", "surrogate", "seed", *_TRACE), "traces")
    traces = traces.assign(task=traces["task"].astype(str), method=_join(_keys(traces)[parts]))
    traces["method"] = traces["method"].replace(names)
    return runs, traces.merge(runs[RUN], on=RUN).drop_duplicates()


def metrics(runs: pd.DataFrame) -> list[str]:
    """Columns that hold a figure which can be compared."""
    numeric = runs.select_dtypes("number").columns
    return [c for c in numeric if c not in ("seed", *PROTOCOL) and runs[c].notna().any()]


def with_metric(runs: pd.DataFrame, metric: str, directions: dict[str, int]) -> pd.DataFrame:
    """The runs that have a finite `metric` and a direction, with columns `value` and `sign`.

    Args:
        runs: labelled records.
        metric: a column of figures.
        directions: for each task +1 where a large objective is wanted, −1 where a small one is, 0
            where that can't be told.

    Returns:
        `sign` · `value` is larger for the better run.

    Raises:
        ConfigError: there is no such metric, or the direction of a task is needed and there are no
            traces of it.
    """
    known = metrics(runs)
    if metric not in known:
        raise ConfigError(
            f"'{metric}' is no figure of these records.{nearest(metric, known)} There are "
            f"{', '.join(known)}."
        )
    unknown = sorted(set(runs["task"]) - directions.keys())
    if metric == "best" and unknown:
        raise ConfigError(
            f"whether a large or a small value of task '{unknown[0]}' is wanted can't be told "
            "without its traces; keep the file of traces that `gollum bench` wrote beside the "
            "records."
        )
    sign = -1 if metric in LOWER_IS_BETTER else 1
    signs = [directions[task] if metric == "best" else sign for task in runs["task"]]
    values = runs[metric].to_numpy(dtype=np.float64, na_value=np.nan)
    found = runs.assign(value=values, sign=signs)
    usable = np.isfinite(values) & (found["sign"] != 0)
    return pd.DataFrame(found[usable]).reset_index(drop=True)


def directions(traces: pd.DataFrame) -> dict[str, int]:
    """For each task +1 if its best-so-far rises, −1 if it falls, 0 if it never moves.

    Raises:
        DataError: in one task it rises and falls.
    """
    steps = traces.sort_values("iteration", kind="stable").groupby(RUN)["best_so_far"].diff()
    found = {}
    for task, moves in steps.groupby(traces["task"]):
        rises, falls = bool((moves > 0).any()), bool((moves < 0).any())
        if rises and falls:
            raise DataError(
                f"the best value so far of task '{task}' rises and falls in the traces; they mix "
                "different objectives."
            )
        found[str(task)] = int(rises) - int(falls)
    return found


def without_direction(directions: Mapping[str, int]) -> tuple[list[str], list[str]]:
    """Tasks whose best-so-far never moves, and a sentence on each."""
    still = [task for task, way in directions.items() if way == 0]
    return still, [
        f"{task}: no run ever found a better value than it began with, so whether a large or a "
        "small one is wanted can't be told; left out."
        for task in still
    ]


def baselines(runs: pd.DataFrame) -> list[str]:
    """Methods that train nothing but the Gaussian process and are no control; all if none is so."""
    keys = _keys(runs)
    trained = [name for name in SURROGATES if SURROGATES.fact(name, "trained", False)]
    honest = ~keys["surrogate"].isin(trained) & (keys["control"] == "")
    chosen = runs["method"][honest] if honest.any() else runs["method"]
    return [str(m) for m in chosen.unique()]


def protocol_notes(runs: pd.DataFrame) -> list[str]:
    """A warning for each task whose runs did not have the same number of experiments."""
    return [
        f"{task}: runs with different {key} ({', '.join(str(v) for v in sorted(values))}) are "
        "compared; they did not have the same number of experiments."
        for key in PROTOCOL
        if key in runs
        for task, values in runs.dropna(subset=[key]).groupby("task")[key].unique().items()
        if len(values) > 1
    ]


def joined_notes(runs: pd.DataFrame, joined: Iterable[str]) -> list[str]:
    """For each joined name a sentence that says what it stands for."""
    notes = []
    for name in joined:
        members = runs[runs["method"] == name].groupby("member")["task"].unique()
        if len(members):
            stands = "; ".join(f"{m} on {_few(tasks)}" for m, tasks in members.items())
            notes.append(f"{name}: {stands}.")
    return notes


def _few(names: Sequence[str]) -> str:
    return ", ".join(names) if len(names) <= FEW else f"{len(names)} tasks"


def _new_names(runs: pd.DataFrame, joined: Mapping[str, Sequence[str]]) -> dict[str, str]:
    """Method → the name of the group that it joins."""
    known = [str(method) for method in runs["method"].unique()]
    names: dict[str, str] = {}
    for name, methods in joined.items():
        for method in methods:
            refuse_unknown(method, known)
            if method in names:
                raise ConfigError(f"'{method}' can join only one name; take it out of the others.")
            names[method] = name
        if name in known and name not in methods:
            raise ConfigError(f"'{name}' is a method of these records; choose another name.")
        members = runs[runs["method"].isin(methods)].groupby("task")["method"].unique()
        for task, found in members.items():
            if len(found) > 1:
                raise DataError(
                    f"task '{task}' has runs of {' and '.join(found)}; methods can be joined where "
                    "every task has only one of them."
                )
    return names


def refuse_unknown(method: str, known: Sequence[str]) -> None:
    """Refuse a method that the records do not have.

    Raises:
        ConfigError: there is none of that name.
    """
    if method not in known:
        raise ConfigError(
            f"no method of these records is called '{method}'.{nearest(method, known)} There are "
            f"{', '.join(known)}."
        )


def _keys(table: pd.DataFrame) -> pd.DataFrame:
    """What tells methods apart, as text; blank for no control and where a column is missing."""
    blank = pd.Series("", index=table.index)
    columns = ("surrogate", "model", "preset", "control", "settings")
    keys = {
        c: table[c].astype("string").fillna("").astype(str) if c in table else blank
        for c in columns
    }
    keys["control"] = keys["control"].replace("none", "")
    return pd.DataFrame(keys)


def _join(parts: pd.DataFrame) -> list[str]:
    return ["-".join(filter(None, row)) for row in parts.itertuples(index=False)]


def _require(table: pd.DataFrame, columns: Iterable[str], what: str) -> None:
    for column in columns:
        if column not in table:
            raise DataError(
                f"the {what} have no column '{column}'; give files that `gollum bench` wrote."
            )


def _refuse_repeats(runs: pd.DataFrame) -> None:
    repeated = runs[runs.duplicated(RUN)]
    if len(repeated):
        same = runs.merge(repeated[RUN].head(1), on=RUN).drop(
            columns=[*INCIDENTAL], errors="ignore"
        )
        differing = [str(c) for c in same if same[c].nunique(dropna=False) > 1]
        task, method, seed = same.iloc[0][RUN]
        raise DataError(
            f"task '{task}', method '{method}', seed {seed} occurs twice with different "
            f"{', '.join(differing)}; compare one set of records at a time."
        )
