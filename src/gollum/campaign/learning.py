"""What a campaign takes over from earlier ones: which columns mean the same, and their results."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from gollum.acquisition.policy import Policy
from gollum.campaign.events import Cells, Learned, Source
from gollum.campaign.state import State
from gollum.data.molecules import can_read, canonical
from gollum.data.naming import loose, meant
from gollum.data.outcomes import found_bounds
from gollum.data.pool import cell_text
from gollum.data.source import SourceTask
from gollum.data.spreadsheets.units import ENDINGS, alike, converted, split_name, unit_in
from gollum.errors import ConfigError, DataError, listed, nearest, quoted
from gollum.notes import Note

MOST = 5_000  # results of one source that a campaign keeps
OVERLAP = 0.5  # share of options in common that makes columns of unlike names the same


@dataclass(frozen=True)
class Match:
    """A column of the campaign and the one of a source that means the same.

    Attributes:
        column: of the campaign.
        theirs: of the source.
        why: what speaks for it.
    """

    column: str
    theirs: str
    why: str


def learn_from(
    state: State,
    theirs: State,
    *,
    name: str,
    source: Source | None = None,
    said: Mapping[str, str] | None = None,
    beginning: str = "",
) -> tuple[Learned, list[Match], list[Note]]:
    """Take over the results of an earlier campaign, or of a table that was read like one.

    Args:
        state: the campaign that learns.
        theirs: the earlier one.
        name: what the source is called.
        source: its file.
        said: column of the campaign → column of the source.
        beginning: sha256 of the first event of a campaign that is learned from.

    Returns:
        What happens to the campaign, what was matched, and what a user should know.

    Raises:
        ConfigError: a match names a column that is not there.
        DataError: there is nothing to learn, or nothing joins the two.
    """
    notes = list[Note]()
    means = theirs.means().reindex(theirs.table.index).dropna()
    refuse_unless_free(state, name)
    if means.empty:
        objective = theirs.created.objective
        raise DataError(f"{name}: it holds no result of '{objective}' to learn from.")
    matches = matched(state, theirs, said or {}, name, notes)
    values, comparable = _in_our_terms(state, theirs, means, name, notes)
    if len(values) > MOST:
        kept = np.sort(np.random.default_rng(0).permutation(len(values))[:MOST])
        notes.append(Note("source-sampled", name, f"{MOST:,} of {len(values):,} results are kept."))
        values = values.iloc[kept]
    table = _translated(state, theirs, theirs.table.loc[values.index], matches)
    if not matches and not state.reads_texts():
        raise DataError(
            f"{name}: none of its columns ({listed(theirs.table.columns)}) is one of this campaign "
            f"({listed(state.table.columns)}), whose model reads no words; say which are the same "
            "by --match OURS=THEIRS."
        )
    if not matches:
        what = "no column is one of this campaign's, so only the words of the experiments join them"
        notes.append(Note("words-alone", name, f"{what}; --match OURS=THEIRS says otherwise."))
    event = Learned(
        name=name,
        source=source,
        beginning=beginning,
        matched={match.column: match.theirs for match in matches},
        comparable=comparable,
        results=Cells.of(table),
        values=tuple(float(value) for value in values),
    )
    return event, matches, notes


def refuse_unless_free(state: State, name: str) -> None:
    """Refuse a source of a campaign that learns from none, or has one of that name.

    Raises:
        ConfigError: its surrogate can't learn from sources.
        DataError: the name is taken.
    """
    if not learns(state.policy):
        raise ConfigError(
            f"surrogate '{state.policy.surrogate}' can't learn from earlier campaigns; give this "
            "one another by --surrogate combined, wordless or averaged."
        )
    if name in state.sources:
        raise DataError(
            f"{name} is learned from already; let it go first, by gollum learn … --forget "
            f"{quoted(name)}."
        )


def learns(policy: Policy) -> bool:
    """Whether what a policy fits can learn from sources."""
    return bool(getattr(policy.factory, "averaged", False))


def matched(
    state: State, theirs: State, said: Mapping[str, str], name: str, notes: list[Note]
) -> list[Match]:
    """Columns that mean the same: as said, by name, by what they hold, or by their unit.

    Raises:
        ConfigError: what was said names a column that is not there, or one twice.
    """
    ours, others = [*map(str, state.table.columns)], [*map(str, theirs.table.columns)]
    found: dict[str, Match] = {}
    for given_ours, given_theirs in said.items():
        column, other = meant(given_ours, ours, notes), meant(given_theirs, others, notes)
        for given, known, whose in ((column, ours, "this campaign"), (other, others, name)):
            if given not in known:
                raise ConfigError(
                    f"--match names a column '{given}', which {whose} does not have."
                    + nearest(given, known)
                )
        if not _kinds_agree(state, theirs, column, other):
            kind = "numbers" if _is_number(state, column) else "names"
            raise ConfigError(
                f"--match: '{column}' holds {kind} here and '{other}' of {name} does not; they "
                "can't be the same."
            )
        found[column] = Match(column, other, "as said")
    twice = [m.theirs for m in found.values()]
    for other in twice:
        if twice.count(other) > 1:
            raise ConfigError(f"--match gives '{other}' to two columns; give it to one.")

    def left() -> tuple[list[str], list[str]]:
        taken = {match.theirs for match in found.values()}
        return [c for c in ours if c not in found], [c for c in others if c not in taken]

    for column in left()[0]:
        same = [c for c in left()[1] if unitless(c) == unitless(column)]
        if len(same) == 1 and _kinds_agree(state, theirs, column, same[0]):
            found[column] = Match(column, same[0], "the same name")
    for column in left()[0]:
        shares = {c: _overlap(state, theirs, column, c) for c in left()[1]}
        best = max(shares.items(), key=lambda share: share[1], default=("", 0.0))
        if best[1] >= OVERLAP:
            found[column] = Match(column, best[0], f"{best[1]:.0%} of the options in common")
    for column in left()[0]:
        unit = _unit(state, column)
        alike_ = [c for c in left()[1] if unit and _convertible(_unit(theirs, c), unit)]
        rivals = [c for c in left()[0] if _convertible(_unit(state, c), unit)] if unit else []
        if len(alike_) == 1 and len(rivals) == 1 and _kinds_agree(state, theirs, column, alike_[0]):
            found[column] = Match(column, alike_[0], f"the only column in {unit}")
    return [found[column] for column in ours if column in found]


def source_task(state: State, learned: Learned) -> SourceTask:
    """What a model learns from a source, as a function of the state."""
    cells = learned.results
    table = pd.DataFrame(
        {
            column: pd.Series(
                [state.renamed.get((column, str(value)), value) for value in values],
                dtype="float64" if _numbers(values) else "str",
            )
            for column, values in cells.columns.items()
        }
    )
    utility = state.objective.goal.sign * np.array(learned.values, dtype=np.float64)
    return SourceTask(learned.name, table, utility, comparable=learned.comparable)


def _in_our_terms(
    state: State, theirs: State, means: pd.Series, name: str, notes: list[Note]
) -> tuple[pd.Series, bool]:
    """Values in the unit of our objective where they are that; whether they are.

    Raises:
        DataError: they are of another objective, and what is wanted here is a value to come close
            to.
    """
    ours, other = state.created.objective, theirs.created.objective
    wanted, given = _unit(state, ours), _unit(theirs, other)
    if unitless(ours) == unitless(other) and (wanted == given or alike(wanted, given)):
        return means, True
    wanted, given = wanted or _by_bounds(state), given or _by_bounds(theirs)
    if unitless(ours) == unitless(other) and wanted and given:
        if alike(wanted, given):
            return means, True
        factor = [converted(float(value), given, wanted) for value in means]
        if all(value is not None for value in factor):
            notes.append(Note("source-converted", name, f"'{other}' is converted to {wanted}."))
            return pd.Series(factor, index=means.index, dtype="float64"), True
    goals = state.goal.kind, theirs.goal.kind
    if "target" in goals:
        raise DataError(
            f"{name}: its results are '{other}' and not '{ours}', and a value to come close to "
            "can't be learned from another outcome."
        )
    what = f"'{other}' is not '{ours}': its order counts, not its values"
    notes.append(Note("other-objective", name, f"{what} ({goals[1]} there, {goals[0]} here)."))
    return (means if goals[0] == goals[1] else -means), False


def _translated(
    state: State, theirs: State, rows: pd.DataFrame, matches: Sequence[Match]
) -> pd.DataFrame:
    """Rows of a source in the columns, options and units of the campaign."""
    found: dict[str, pd.Series] = {}
    for match in matches:
        cells = rows[match.theirs]
        if _is_number(state, match.column):
            wanted, given = _unit(state, match.column), _unit(theirs, match.theirs)
            if wanted and given and not alike(wanted, given):
                cells = cells.map(lambda v, g=given, w=wanted: converted(float(v), g, w))
            found[match.column] = cells.astype("float64")
        else:
            known = _spelt(state, match.column)
            structure = match.column in state.structures
            found[match.column] = cells.map(
                lambda cell, s=structure, k=known: k.get(_key(cell, s), cell_text(cell))
            ).astype("str")
    taken = {match.theirs for match in matches}
    for column in map(str, rows.columns):
        if column not in taken and column not in state.table.columns:
            found[column] = rows[column]
    return pd.DataFrame(found, index=rows.index)


def _numbers(cells: Sequence[object]) -> bool:
    return all(isinstance(cell, int | float) for cell in cells if cell is not None) and any(
        cell is not None for cell in cells
    )


def unitless(column: str) -> str:
    """What columns are compared by: their names without units, spelt loosely."""
    bare, unit = split_name(column)
    ending = "" if unit else next((e for e in ENDINGS if column.endswith(e)), "")
    return loose((column.removesuffix(ending) if ending else bare) or column)


def _unit(state: State, column: str) -> str:
    """The unit of a column, or '' where none is known."""
    if unit := state.created.units.get(column):
        return unit
    found = unit_in(column)
    return found[0] if found else ""


def _by_bounds(state: State) -> str:
    """'%' of an objective whose name says a percentage without a unit: a yield from 0 to 100."""
    one = state.objective
    return "%" if one.bounds == found_bounds(one.name, "", np.array([])) == (0.0, 100.0) else ""


def measures_ours(state: State, column: str) -> bool:
    """Whether a column of results holds the objective, in its unit as far as names say."""
    ours, unit = state.created.objective, (unit_in(column) or ("",))[0]
    known = _unit(state, ours) or _by_bounds(state)
    return unitless(column) == unitless(ours) and (unit in ("", known) or alike(unit, known))


def _convertible(unit: str, wanted: str) -> bool:
    return bool(unit) and (alike(unit, wanted) or converted(1.0, unit, wanted) is not None)


def _is_number(state: State, column: str) -> bool:
    return pd.api.types.is_numeric_dtype(state.table[column])


def _kinds_agree(state: State, theirs: State, column: str, other: str) -> bool:
    if _is_number(state, column) != _is_number(theirs, other):
        return False
    if (column in state.structures) != (other in theirs.structures):
        return False
    units = _unit(theirs, other), _unit(state, column)
    return not all(units) or _convertible(*units)


def _overlap(state: State, theirs: State, column: str, other: str) -> float:
    """Share of the options of the shorter list that are in the other; 0 of numbers."""
    if _is_number(state, column) or _is_number(theirs, other):
        return 0.0
    structures = column in state.structures, other in theirs.structures
    if structures[0] != structures[1]:
        return 0.0
    ours, others = (
        {_key(cell, structures[0]) for cell in pd.unique(s.table[c].dropna())} - {""}
        for s, c in ((state, column), (theirs, other))
    )
    return len(ours & others) / max(1, min(len(ours), len(others)))


def _spelt(state: State, column: str) -> dict[str, str]:
    """Options of a column by what they are compared by."""
    structure = column in state.structures
    levels = pd.unique(state.table[column].dropna())
    return {_key(level, structure): cell_text(level) for level in levels}


def _key(cell: object, structure: bool) -> str:
    text = cell_text(cell)
    if structure and can_read():
        return canonical(text) or text
    return loose(text)
