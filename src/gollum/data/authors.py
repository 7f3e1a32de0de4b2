"""The texts of the paper's authors, for the candidates of a task."""

from __future__ import annotations

import numpy as np
import pandas as pd

from gollum.data.catalog import AuthorsTexts, Task
from gollum.data.pool import Pool
from gollum.data.published import LOCAL_DATA
from gollum.errors import DataError

TOLERANCE = 1e-9  # relative; some of their copies were cut to 16 digits


def authors_texts(task: Task, pool: Pool) -> tuple[str, ...]:
    """What the authors wrote about each candidate.

    Their rows are in the order of ours. That is not taken for granted: the objective must agree
    in every row, numbers too, and words and SMILES must correspond one to one.

    Args:
        task: the task.
        pool: N candidates of it, with the ids that `Task.load` gives.

    Returns:
        N texts.

    Raises:
        DataError: there are no such texts, their file is not here, or it does not match.
    """
    texts = task.authors_texts
    if texts is None:
        raise DataError(
            f"The paper's authors gave no texts for '{task.name}'; leave data.texts at 'ours'."
        )
    if not texts.is_here():
        raise DataError(
            f"The authors' texts of '{task.name}' are not here: run `gollum tasks --download "
            f"{task.name}`, or set {LOCAL_DATA} to a folder that holds {texts.local}."
        )
    theirs = texts.read(task.name)
    _check(task, texts, task.table(), theirs)
    written = theirs[texts.column].tolist()
    return tuple(written[int(i.removeprefix("r")) - 1] for i in pool.ids)


def _check(task: Task, texts: AuthorsTexts, ours: pd.DataFrame, theirs: pd.DataFrame) -> None:
    """Refuse a file that does not hold the experiments of the task, row by row."""
    columns = texts.columns or {column: column for column in task.inputs}
    file = texts.path()
    missing = {texts.column, texts.objective, *columns.values()} - set(theirs.columns)
    if missing or len(theirs) != len(ours):
        what = f"no column '{min(missing)}'" if missing else f"{len(theirs)} rows"
        raise DataError(
            f"{file}: expected the {len(ours)} rows of '{task.name}' with the authors' texts, got "
            f"{what}; get it again."
        )
    objective = theirs[texts.objective]
    agree = {task.objective: _equal(ours[task.objective], objective, texts.scale)} | {
        mine: _equal(ours[mine], theirs[other]) for mine, other in columns.items()
    }
    for column, same in agree.items():
        if not same.all():
            row = int(np.flatnonzero(~same)[0])
            raise DataError(
                f"{file}: row {row + 2} is another experiment than in '{task.name}' (its "
                f"'{column}' differs), so the authors' texts cannot be used; get it again."
            )


def _equal(ours: pd.Series, theirs: pd.Series, scale: float = 1.0) -> np.ndarray:
    """N flags: equal numbers, or words that correspond one to one."""
    if pd.api.types.is_numeric_dtype(ours) and pd.api.types.is_numeric_dtype(theirs):
        return np.isclose(ours, scale * theirs, rtol=TOLERANCE, atol=TOLERANCE, equal_nan=True)
    pairs = pd.DataFrame({"ours": ours.astype(str), "theirs": theirs.astype(str)})
    first = pairs.drop_duplicates("ours").set_index("ours")["theirs"]
    back = pairs.drop_duplicates("theirs").set_index("theirs")["ours"]
    forth = pairs["ours"].map(first) == pairs["theirs"]
    return (forth & (pairs["theirs"].map(back) == pairs["ours"])).to_numpy()
