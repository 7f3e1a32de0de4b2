"""How a campaign begins: from a table of possible experiments to its first events."""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gollum.acquisition.criteria import CRITERIA
from gollum.acquisition.policy import Policy
from gollum.campaign.events import Created, Goal, Recorded, Source
from gollum.campaign.filled import USUAL
from gollum.campaign.intake import read_results
from gollum.campaign.rows import Rows, blank_rows
from gollum.campaign.sheets import RESERVED, sheet_names
from gollum.campaign.state import Logged, State
from gollum.campaign.store import table_sha256
from gollum.data.pool import Pool, cell_text, smiles_columns
from gollum.data.readers import read_frame
from gollum.errors import ConfigError, DataError, TemplateError, nearest
from gollum.language.catalog import CATALOG
from gollum.notes import Note
from gollum.settings import PRESETS, USUAL_PRESET
from gollum.surrogates.specs import surrogate_factory, surrogate_names
from gollum.text.template import Template

DEFAULT_SURROGATE = "pllm"  # where the preset names none
DEFAULT_MODEL = "minilm"
TOWARDS_TARGET = "q_log_ei"  # where a preset's acquisition knows no targets
NAMED = ("surrogate", "preset", "model.name", "acquisition")  # keys with a field of their own

ID_COLUMNS = ("id", "ID", "Id")
OUTCOME_COLUMNS = ("status", "note")  # of our sheets, and welcome in other ones
EXPORTED = ("batch", "time (UTC)")  # further columns of our sheets, if that is what it is
REMARKS = ("notes", "comment", "comments", "remark", "remarks", "bemerkung", "bemerkungen",
           "kommentar", "kommentare")  # fmt: skip
ALIKE = 0.8  # from this similarity on, two column names are taken for one with a slip


@dataclass(frozen=True, eq=False)
class Start:
    """What a campaign begins with.

    Attributes:
        created: the first event.
        candidates: N x k inputs, no two rows alike, and the cost column if there is one; the index
            'id' holds the ids.
        recorded: results that the table held already.
        notes: what was understood in a special way.
        template: how experiments are put into words.
    """

    created: Created
    candidates: pd.DataFrame
    recorded: Recorded | None
    notes: tuple[Note, ...]
    template: Template


def begin(
    frame: pd.DataFrame,
    *,
    objective: str,
    goal: Goal,
    name: str,
    source: Source | None,
    also: Sequence[str] = (),
    id_column: str | None = None,
    cost: str | None = None,
    structures: Sequence[str] | None = None,
    inputs: Sequence[str] | None = None,
    template: str | None = None,
    failed_as: float | None = None,
    surrogate: str | None = None,
    preset: str | None = None,
    model: str | None = None,
    acquisition: str | None = None,
    keys: Mapping[str, Any] | None = None,
    seed: int = 0,
) -> Start:
    """Check a table of possible experiments and make the beginning of a campaign of it.

    Rows with the same inputs are one candidate. Results that the table holds are read like those
    of any later sheet.

    Args:
        frame: one row per experiment, from `read_table`, `read_factors` or elsewhere.
        objective: column to optimize; where the table has none, there are no results yet.
        goal: what is wanted of it.
        name: of the campaign.
        source: file that the table was read from.
        also: columns of further results.
        id_column: names the rows; a column called id by default, or else r1, r2, … by row.
        cost: column with the cost of each experiment, above 0.
        structures: input columns with SMILES; those with 'smiles' in their name by default.
        inputs: columns that describe an experiment; all that are left by default.
        template: how an experiment is put into words; made from the column names by default.
        failed_as: what a failed experiment counts as; None leaves it out of the model.
        surrogate: name of the surrogate or strategy; by default the preset's, which is 'combined'
            for the default preset, and 'pllm' where it names none.
        preset: name of the preset; 'default' by default.
        model: name of the language model; 'minilm' by default.
        acquisition: name of the acquisition; by default what the preset says, and 'q_log_ei' for a
            target that the preset's does not know.
        keys: further keys of the policy, dotted, such as 'kernel' or 'lora.rank'.
        seed: of everything random.

    Raises:
        ConfigError: goal, a key of the policy or `failed_as` can't be used.
        DataError: the table can't be used; the message names row and column.
        TemplateError: the template can't.
    """
    _check_settings(goal, failed_as, seed)
    named = dict(zip(NAMED, (surrogate, preset, model, acquisition), strict=True))
    chosen = _chosen({k: v for k, v in named.items() if v is not None}, keys or {}, goal)
    policy = check_policy(chosen, goal)
    where = name if source is None else source.name
    table, notes = read_frame(frame, where), list[Note]()
    if len(table) == 0:
        raise DataError(f"{where}: the table has no rows; add possible experiments.")
    found = [c for c in ID_COLUMNS if c in table and c not in (objective, *also, *(inputs or ()))]
    if id_column is None and found:
        id_column = found[0]
        notes.append(Note("id-column", where, f"column '{id_column}' names the rows."))
    meanings = _meanings(table, where, objective, also, id_column, cost, inputs)
    columns = _inputs(table, where, meanings, notes) if inputs is None else list(inputs)
    rows = Rows(where, table, columns)
    ids = rows.ids(id_column)
    read = (n for n in rows.table.attrs["notes"] if not _understood(n, [objective, *also]))
    notes = [*read, *notes, *rows.notes()]
    candidates = rows.candidates(ids, cost)
    if structures is None:
        structures = smiles_columns(candidates[columns])
        if structures:
            notes.append(_about("smiles", where, "taken for SMILES", structures))
    elif unknown := [c for c in structures if c not in columns]:
        close = nearest(unknown[0], columns)
        raise DataError(f"{where}: there is no input '{unknown[0]}' to hold SMILES.{close}")
    if "structures" in policy.needs and not structures:
        raise ConfigError(
            f"surrogate '{policy.surrogate}' needs columns with SMILES; name them with "
            "--structures."
        )
    spoken = _spoken(candidates[columns], structures)
    if template is None and len(spoken) < len(columns):
        silent = [c for c in columns if c not in spoken]
        what = "left out of the text, as a name says the same"
        notes.append(_about("unmentioned-columns", where, what, silent))
    shown = candidates[columns if template is not None else spoken]
    words = _template(template, shown, where, rows.units, meanings)
    created = Created(
        name=name, objective=objective, goal=goal, also=tuple(also), structures=tuple(structures),
        id_column=id_column, cost=cost, units=rows.units | rows.units_of([objective, *also]),
        template=words.source,
        surrogate=policy.surrogate, preset=policy.preset, model=policy.model.name,
        acquisition=chosen.get("acquisition"), failed_as=failed_as, seed=seed, source=source,
        candidates=table_sha256(candidates), keys=policy.typed(k for k in chosen if k not in NAMED),
    )  # fmt: skip
    recorded, told = _results(created, candidates, rows, ids)
    _check_failure(created, candidates, recorded, where)
    return Start(created, candidates, recorded, (*notes, *told), words)


def _chosen(named: Mapping[str, Any], keys: Mapping[str, Any], goal: Goal) -> dict[str, Any]:
    """Dotted keys as they were given, and what they are by default.

    Raises:
        ConfigError: one was given twice, with different values.
    """
    for key in named.keys() & keys.keys():
        if named[key] != keys[key]:
            raise ConfigError(
                f"key '{key}' is given as '{named[key]}' and as '{keys[key]}'; give one of them."
            )
    chosen = {"preset": USUAL_PRESET, "model.name": DEFAULT_MODEL, **keys, **named}
    preset = PRESETS.get(str(chosen["preset"]), {})
    chosen.setdefault("surrogate", preset.get("surrogate", DEFAULT_SURROGATE))
    usual = preset.get("acquisition", "")
    if goal.kind == "target" and not CRITERIA.fact(usual, "towards_target", False):
        chosen.setdefault("acquisition", TOWARDS_TARGET)
    return chosen


def check_policy(keys: Mapping[str, Any], goal: Goal) -> Policy:
    """How experiments are chosen in a campaign, from dotted keys.

    Raises:
        ConfigError: a key can't be used, or not for this goal.
    """
    given = dict(keys)
    own = getattr(_factory(given.get("surrogate")), "model", None)
    if own is not None and given.get("model.name") == DEFAULT_MODEL:
        given.pop("model.name")
    policy = Policy.of(given)
    if "reactions" in policy.needs:
        raise ConfigError(
            f"surrogate '{policy.surrogate}' needs reaction SMILES, which campaigns do not have "
            "yet."
        )
    model = policy.model.name
    known = model in CATALOG or "/" in model or Path(model).is_dir()
    if policy.has_model and policy.remote.url is None and not known:
        close = nearest(model, CATALOG)
        raise ConfigError(f"there is no model '{model}'.{close} `gollum models` lists them.")
    towards = getattr(CRITERIA[policy.acquisition], "towards_target", False)
    if goal.kind == "target" and not towards:
        able = [name for name in CRITERIA if CRITERIA.fact(name, "towards_target", False)]
        raise ConfigError(
            f"acquisition '{policy.acquisition}' has no target; use {' or '.join(able)}."
        )
    return policy


def _factory(surrogate: Any) -> Any:
    return surrogate_factory(surrogate) if surrogate in surrogate_names() else None


def check_failed_as(failed_as: float, goal: Goal) -> None:
    """Refuse what a failed experiment can't count as.

    Raises:
        ConfigError: it is no finite number, or just what is wanted.
    """
    if not math.isfinite(failed_as):
        raise ConfigError(f"a failed experiment can't count as {failed_as}; give a finite number.")
    if failed_as == goal.target:
        raise ConfigError(
            f"a failed experiment would count as {failed_as:g}, which is the target; give a value "
            "far from it."
        )


def _check_settings(goal: Goal, failed_as: float | None, seed: int) -> None:
    if (goal.kind == "target") != (goal.target is not None):
        raise ConfigError("goal 'target' and a target value belong together; give both or neither.")
    if failed_as is not None:
        check_failed_as(failed_as, goal)
    if seed < 0:
        raise ConfigError(f"a seed is a number from 0 on, not {seed}.")


def _check_failure(
    created: Created, candidates: pd.DataFrame, recorded: Recorded | None, where: str
) -> None:
    """Refuse that a failed experiment counts as the best there is."""
    state = State.of([Logged(1, "", "", created)], lambda _: candidates)
    if recorded is not None:
        state = state.after(Logged(2, "", "", recorded))
    if problem := state.praised_failure():
        raise ConfigError(f"{where}: {problem}; give a worse value.")


def _meanings(
    table: pd.DataFrame,
    where: str,
    objective: str,
    also: Sequence[str],
    id_column: str | None,
    cost: str | None,
    inputs: Sequence[str] | None,
) -> dict[str, str]:
    """Column → what it was named as; refuses a column with two meanings, and one not there."""
    meanings: dict[str, str] = {}
    for what, named in (
        ("the objective", [objective]),
        ("a further result", also),
        ("the id", [id_column] if id_column is not None else []),
        ("the cost", [cost] if cost is not None else []),
        ("an input", inputs if inputs is not None else []),
    ):
        for column in named:
            if column in meanings:
                raise DataError(f"{where}: '{column}' is {meanings[column]}; name it only once.")
            if column not in table.columns and column not in (objective, *also):
                close = nearest(column, table.columns)
                raise DataError(
                    f"{where}: there is no column '{column}'.{close} The columns are "
                    f"{_listed(table.columns)}."
                )
            meanings[column] = what
    for column in (objective, *also):
        if column in table.attrs.get("factors", ()):
            raise DataError(f"{where}: '{column}' is a factor and no result; rename one of them.")
        left = [c for c in table.columns if c not in meanings] if inputs is None else []
        slip = next((c for c in left if column not in table and _resembles(c, column)), None)
        if slip is not None:
            raise DataError(
                f"{where}: there is no column '{column}', and '{slip}' would count as an input; "
                f"did you mean '{slip}'? If it is an input, list all inputs."
            )
    refused = [c for c in inputs or () if c.casefold() in RESERVED]
    if refused:
        raise _reserved(where, refused[0])
    if inputs is not None and not inputs:
        raise DataError(f"{where}: the list of inputs is empty; name the columns to describe with.")
    return meanings


def _resembles(one: str, other: str) -> bool:
    """Whether two names are one with a slip, or one of them the other with additions."""
    words, others = (set(re.findall(r"[^\W_]+", name.casefold())) for name in (one, other))
    if words and others and (words <= others or others <= words):
        return True
    return SequenceMatcher(None, one.casefold(), other.casefold()).ratio() >= ALIKE


def _reserved(where: str, column: str) -> DataError:
    return DataError(
        f"{where}: the sheets of a campaign have a column '{column}' of their own, so it can't be "
        "an input; rename it, or list the inputs without it."
    )


def _inputs(
    table: pd.DataFrame, where: str, meanings: Collection[str], notes: list[Note]
) -> list[str]:
    """All columns that nothing else is known of; what is left out is noted."""
    left = [str(c) for c in table.columns if c not in meanings]
    outcomes = [c for c in left if c.casefold() in OUTCOME_COLUMNS]
    remarks = [c for c in left if c.casefold() in REMARKS]
    if remarks:
        notes.append(_about("remarks", where, "taken for remarks and left out", remarks))
        left = [c for c in left if c not in remarks]
    others = [c for c in left if c.casefold() in RESERVED and c not in outcomes]
    predicted = [c for c in left if c.casefold().startswith("predicted ")]
    if others and not (predicted and {"run", "status"} <= set(table.columns)):
        raise _reserved(where, others[0])
    if others and "replaced" in left:
        raise DataError(
            f"{where}: this is an exported history, with values that were corrected since; begin "
            "with exported results instead."
        )
    if others:
        others += [*predicted, *(c for c in left if c in EXPORTED)]
        what = "left out, as of an earlier campaign"
        notes.append(_about("earlier-campaign", where, what, others))
    if outcomes:
        what = "what came of experiments and is no input"
        notes.append(_about("outcomes", where, what, outcomes))
    left = [c for c in left if c not in others and c not in outcomes]
    blank = [c for c in left if blank_rows(table[[c]]).all()]
    if blank:
        notes.append(_about("blank-columns", where, "left out, as all cells are blank", blank))
    columns = [c for c in left if c not in blank]
    notes += [
        Note(
            "counted-rows",
            where,
            f"'{column}' counts the rows and is taken for an input; if it names them, begin again "
            "with --id-column.",
        )
        for column in columns
        if len(table) > 2 and list(map(cell_text, table[column])) == _counted(len(table))
    ]
    if not columns:
        raise DataError(f"{where}: no column describes the experiments; add one, with its cells.")
    return columns


def _understood(note: Note, results: Collection[str]) -> bool:
    """Whether a note of the reader is about words and units among results, which mean something."""
    return note.code in USUAL and note.column in results


def _spoken(inputs: pd.DataFrame, structures: Sequence[str]) -> list[str]:
    """The columns of a default text: all but SMILES that a column of names tells apart as well."""
    names = [c for c in inputs.columns if c not in structures and _is_names(inputs[c])]
    return [
        str(c)
        for c in inputs.columns
        if c not in structures
        or not any((inputs.groupby(n, dropna=False)[c].nunique() <= 1).all() for n in names)
    ]


def _is_names(column: pd.Series) -> bool:
    return not pd.api.types.is_numeric_dtype(column) and column.nunique() > 1


def _template(
    given: str | None,
    inputs: pd.DataFrame,
    where: str,
    units: Mapping[str, str],
    meanings: Mapping[str, str],
) -> Template:
    """The template, checked on a row that has every cell filled."""
    if given is None:
        unknown = np.full(len(inputs), np.nan)
        return Template.from_columns(Pool(where, inputs, "", "maximize", unknown), units)
    template = Template(given)
    for column in template.columns:
        if column not in inputs.columns and column in meanings:
            raise TemplateError(
                f"{where}: the template reads '{column}', which is {meanings[column]} and does not "
                "describe an experiment; take it out."
            )
    template.check([str(c) for c in inputs.columns], where)
    cells = {c: inputs[c][inputs[c].notna() & (inputs[c] != "")].tolist() for c in template.columns}
    template.render({column: values[0] if values else "" for column, values in cells.items()})
    return template


def _results(
    created: Created, candidates: pd.DataFrame, rows: Rows, ids: NDArray[np.object_]
) -> tuple[Recorded | None, list[Note]]:
    """The results that the table holds, read as a first sheet of results, and notes on them."""
    table, where, objective = rows.table, rows.where, created.objective
    told = [c for c in table.columns if c in created.also or c.casefold() in OUTCOME_COLUMNS]
    told = [c for c in told if c not in rows.inputs and not blank_rows(table[[c]]).all()]
    if objective not in table.columns:
        what = f"there is no column '{objective}' yet, so there are no results."
        notes = [Note("no-results", where, what)]
        if told:
            notes.append(_about("outcomes", where, f"not read without '{objective}'", told))
        return None, notes
    state = State.of([Logged(1, "", "", created)], lambda _: candidates)
    names = sheet_names(state)
    # A blank row gets any id: it has no result, and the rows below it keep their numbers.
    every = np.full(len(table), candidates.index[0], dtype=object)
    every[rows.kept] = ids
    sheet = pd.DataFrame({names.id: pd.Series(every, dtype="str"), objective: table[objective]})
    for column in told:
        ours = {"status": names.status, "note": names.note}
        sheet[column if column in created.also else ours[column.casefold()]] = table[column]
    sheet.attrs = {"first_row": table.attrs["first_row"], "notes": ()}
    intake = read_results(state, sheet, source=created.source, name=where)
    notes = [note.within(where) for note in intake.notes]
    if intake.event is None:
        what = f"'{objective}' is blank in every row so far."
        return None, [*notes, Note("no-results", where, what)]
    done = {r.id for r in intake.event.results if r.status != "not run"}
    what = f"it holds results of {len(done)} of {len(candidates)} experiments."
    notes.append(Note("results", where, what))
    if len(done) == len(candidates):
        what = "nothing is left to suggest; `gollum add` adds candidates."
        notes.append(Note("nothing-left", where, what))
    return intake.event, notes


def _counted(rows: int) -> list[str]:
    return [str(number) for number in range(1, rows + 1)]


def _about(code: str, where: str, what: str, columns: Iterable[str]) -> Note:
    """A note that lists columns."""
    return Note(code, where, f"{what}: {_listed(columns)}.")


def _listed(names: Iterable[str]) -> str:
    return ", ".join(f"'{name}'" for name in names)
