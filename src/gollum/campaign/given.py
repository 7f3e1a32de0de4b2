"""Reading what a campaign is to learn from: another campaign, a table, or a public task."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import pandas as pd

from gollum.campaign.begin import begin
from gollum.campaign.events import Source
from gollum.campaign.learning import measures_ours, unitless
from gollum.campaign.state import Logged, State
from gollum.campaign.store import Store
from gollum.data.catalog import get_task
from gollum.data.naming import meant
from gollum.data.outcomes import UNBOUNDED, Goal, Outcome
from gollum.data.readers import read_frame, read_table
from gollum.errors import ConfigError, DataError, listed, quoted
from gollum.files import sha256_of
from gollum.notes import Note

PUBLIC = "public:"
CAMPAIGN = ".gollum"
# Codes of notes on a table that say something about what is to be suggested from it.
OF_BEGINNINGS = frozenset(
    (
        "results",
        "nothing-left",
        "no-results",
        "smiles",
        "unmentioned-columns",
        "reaction",
        "found-bounds",
        "repeated-result",
    )
)
DIRECTIONS = ("maximize", "minimize")


@dataclass(frozen=True)
class Given:
    """What is to be learned from, and how it is read.

    Attributes:
        source: a campaign's file, a table, or 'public:TASK'.
        objective: column with results; that of the campaign which learns by default.
        direction: 'maximize' or 'minimize' of another outcome.
        sheet: which sheet of a workbook.
        encoding: of a text file.
        options: further keywords of `begin` for a table.
    """

    source: str | Path | pd.DataFrame
    objective: str | None = None
    direction: str | None = None
    sheet: str | None = None
    encoding: str | None = None
    options: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, text: str, **keys: Any) -> Given:
        """From FILE, FILE:OBJECTIVE or FILE:OBJECTIVE:DIRECTION, as it is typed."""
        if Path(text).exists():
            return cls(text, **keys)
        parts = text.split(":")
        public = 2 if text.startswith(PUBLIC) else 1
        if len(parts) <= public:
            return cls(text, **keys)
        direction = parts.pop() if parts[-1] in DIRECTIONS and len(parts) > public + 1 else None
        objective = parts.pop()
        return cls(":".join(parts), objective or None, direction, **keys)

    @property
    def name(self) -> str:
        """What the source is called."""
        return "table" if isinstance(self.source, pd.DataFrame) else Path(str(self.source)).name

    def read(self, state: State) -> tuple[State, Source | None, str, list[Note]]:
        """The source as a campaign.

        Args:
            state: of the campaign that learns.

        Returns:
            Its state; its file; sha256 of its first event where it is a campaign; notes.

        Raises:
            UserError: it can't be read, or it must be said what its results are.
        """
        if self.direction not in (None, *DIRECTIONS):
            raise ConfigError(f"direction must be maximize or minimize, not '{self.direction}'.")
        text = "" if isinstance(self.source, pd.DataFrame) else str(self.source)
        if text.endswith(CAMPAIGN):
            return self._campaign(Path(text))
        if text.startswith(PUBLIC):
            task = get_task(text.removeprefix(PUBLIC))
            pool = task.load().labelled()
            frame = pool.table.assign(**{pool.objective: pool.values}).reset_index(drop=True)
            columns = {"inputs": [*pool.table.columns], "structures": [*task.structures]}
            given = Goal(kind=pool.direction)
            theirs, notes = self._table(read_frame(frame), pool.objective, given, None, columns)
            return theirs, None, "", notes
        if isinstance(self.source, pd.DataFrame):
            frame, file = read_frame(self.source), None
        else:
            path = Path(text).expanduser()
            wanted = self.objective or state.created.objective
            frame = read_table(path, sheet=self.sheet, encoding=self.encoding, wanted=wanted)
            file = Source(name=path.name, sha256=sha256_of(path))
        objective, goal = self._outcome(state, [*map(str, frame.columns)])
        options = dict(self.options)
        if measures_ours(state, objective) and state.objective.bounds != UNBOUNDED:
            one = Outcome(name=objective, goal=goal, failed_as=options.pop("failed_as", None))
            known = {"bounds": state.objective.bounds, "found": True}
            options["outcomes"] = [one.model_copy(update=known)]
        theirs, notes = self._table(frame, objective, goal, file, options)
        return theirs, file, "", notes

    def _campaign(self, path: Path) -> tuple[State, Source | None, str, list[Note]]:
        store = Store.open(path)
        theirs = store.state()
        objective = theirs.created.objective
        if self.objective is not None and unitless(self.objective) != unitless(objective):
            raise ConfigError(
                f"{path.name} optimizes '{theirs.created.objective}', not '{self.objective}'; "
                "leave the objective out, or export its results and learn from that table."
            )
        file = Source(name=path.name, sha256=sha256_of(path.expanduser()))
        return theirs, file, store.beginning, []

    def _outcome(self, state: State, columns: Sequence[str]) -> tuple[str, Goal]:
        """The column with results, and what is wanted of it."""
        ours = state.created.objective
        objective = meant(self.objective or ours, columns, [])
        same = [column for column in columns if unitless(column) == unitless(objective)]
        if objective not in columns and len(same) == 1:
            objective = same[0]
        if objective not in columns:
            raise DataError(
                f"{self.name}: there is no column '{objective}' with results; name it, as in "
                f"{quoted(f'{self.name}:COLUMN')}. The columns are {listed(columns)}."
            )
        if self.direction is not None:
            return objective, Goal(kind=cast(Any, self.direction))
        kind = state.goal.kind
        if unitless(objective) != unitless(ours):
            raise ConfigError(
                f"{self.name}: is more of '{objective}' better or worse? Write "
                f"{' or '.join(quoted(f'{self.name}:{objective}:{d}') for d in DIRECTIONS)}."
            )
        return objective, Goal(kind="maximize" if kind == "target" else kind)

    def _table(
        self, frame: pd.DataFrame, objective: str, goal: Goal, file: Source | None,
        options: dict[str, Any],
    ) -> tuple[State, list[Note]]:  # fmt: skip
        start = begin(
            frame, objective=objective, goal=goal, name=self.name, source=file,
            surrogate="wordless", **options,
        )  # fmt: skip
        state = State.of([Logged(1, "", "", start.created)], lambda _: start.candidates)
        if start.recorded is not None:
            state = state.after(Logged(2, "", "", start.recorded))
        told = [note for note in start.notes if note.code not in OF_BEGINNINGS]
        return state, told
