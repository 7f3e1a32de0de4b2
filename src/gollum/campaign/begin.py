"""How a campaign begins: from a table of possible experiments to its first events."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gollum.acquisition.criteria import CRITERIA
from gollum.acquisition.policy import Policy
from gollum.campaign.events import Created, Recorded, Source
from gollum.campaign.factors import options_in
from gollum.campaign.filled import USUAL
from gollum.campaign.intake import read_results
from gollum.campaign.prices import COST, Prices, checked, read_prices
from gollum.campaign.rows import Rows, blank_rows, check_units
from gollum.campaign.sheets import sheet_names
from gollum.campaign.state import Logged, State
from gollum.campaign.store import table_sha256
from gollum.campaign.wanted import check as check_outcomes
from gollum.campaign.wanted import check_reference
from gollum.data.molecules import one_spelling
from gollum.data.naming import meant
from gollum.data.outcomes import Goal, Outcome, alone_words, found_bounds, refuse_twice, spelt
from gollum.data.pool import Pool, cell_text, smiles_columns
from gollum.data.readers import read_frame
from gollum.data.roles import OURS, OUTCOMES, Column, Roles, Said, assign
from gollum.data.sentinels import sentinel
from gollum.data.statuses import check_failed, is_open, meaning
from gollum.data.strays import refuse_fill_down, refuse_head_below, refuse_strays
from gollum.errors import ConfigError, DataError, TemplateError, listed, nearest, quoted
from gollum.language.catalog import CATALOG, is_here
from gollum.notes import Note
from gollum.settings import PRESETS, USUAL_PRESET
from gollum.surrogates.specs import surrogate_factory, surrogate_names
from gollum.text.template import Template

DEFAULT_SURROGATE = "pllm"  # where the preset names none
DEFAULT_MODEL = "minilm"
TOWARDS_TARGET = "q_log_ei"  # where a preset's acquisition knows no targets
NAMED = ("surrogate", "preset", "model.name", "acquisition")  # keys with a field of their own


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
        columns: what each column of the table was taken for.
    """

    created: Created
    candidates: pd.DataFrame
    recorded: Recorded | None
    notes: tuple[Note, ...]
    template: Template
    columns: tuple[Column, ...] = ()

    def state(self) -> State:
        """The campaign before any result."""
        return State.of([Logged(1, "", "", self.created)], lambda _: self.candidates)


def begin(
    frame: pd.DataFrame,
    *,
    objective: str,
    goal: Goal,
    name: str,
    source: Source | None,
    outcomes: Sequence[Outcome] = (),
    also: Sequence[str] = (),
    id_column: str | None = None,
    cost: str | None = None,
    structures: Sequence[str] | None = None,
    inputs: Sequence[str] | None = None,
    category: Sequence[str] = (),
    number: Sequence[str] = (),
    ordinal: Mapping[str, Sequence[str]] | None = None,
    remark: Sequence[str] = (),
    unit: Mapping[str, str] | None = None,
    prices: Prices | None = None,
    template: str | None = None,
    reaction: str | None = None,
    failed_as: float | None = None,
    failed_word: Sequence[str] = (),
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
        outcomes: instead of objective, goal and `failed_as`, one or several outcomes, those that
            are pursued first. A further one that the table holds for every candidate, measured or
            not, is known in advance and becomes the cost.
        also: columns of further results, which are kept and not modelled.
        id_column: names the rows; a column called id by default, or else r1, r2, … by row.
        cost: column with the cost of each experiment, above 0.
        structures: input columns with SMILES; those with 'smiles' in their name by default.
        inputs: columns that describe an experiment; by default those that are not named as
            something else and do not seem to be (`gollum.data.roles`).
        category: inputs whose cells are names, also where they look like numbers.
        number: inputs that are quantities, whatever their names say, and columns in which -999 is
            a value.
        ordinal: inputs whose cells are names that have an order: column → the names in it.
        remark: columns that say nothing about the experiment.
        unit: column → unit of its numbers, where neither its name nor its cells say it.
        prices: instead of a cost, input column → option → price, of which the sum is the cost.
        template: how an experiment is put into words; made from the column names by default.
        reaction: column of reaction SMILES, or template that writes them; a column called SMILES
            that holds reactions, where there is one, by default.
        failed_as: what a failed experiment counts as; None leaves it out of the model.
        failed_word: what result cells of failed experiments say besides 'failed' and the like.
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
    plain = Outcome(name=objective, goal=goal).model_copy(update={"failed_as": failed_as})
    wanted = list(outcomes) or [plain]
    goal, failed_as = wanted[0].goal, wanted[0].failed_as
    _check_settings(wanted, seed)
    failed_word = (failed_word,) if isinstance(failed_word, str) else tuple(failed_word)
    check_failed(failed_word)
    named = dict(zip(NAMED, (surrogate, preset, model, acquisition), strict=True))
    chosen = _chosen({k: v for k, v in named.items() if v is not None}, keys or {}, goal)
    policy = check_policy(chosen, wanted)
    where = name if source is None else source.name
    table = read_frame(frame, where)
    if len(table) == 0:
        raise DataError(f"{where}: the table has no rows; add possible experiments.")
    told = list[Note]()

    def here(names: Sequence[str]) -> list[str]:
        return [meant(name, map(str, table.columns), told, where) for name in names]

    results, also = here([one.name for one in wanted]), here(also)
    refuse_twice(results)
    objective = results[0]
    id_column, cost = (None if name is None else here([name])[0] for name in (id_column, cost))
    inputs, structures = (None if names is None else here(names) for names in (inputs, structures))
    category, number, remark = here(category), here(number), here(remark)
    ordered = dict(zip(here(list(ordinal or {})), (ordinal or {}).values(), strict=True))
    category = list(dict.fromkeys([*category, *ordered]))
    priced = cost is not None
    if prices and (priced or COST in table.columns):
        raise ConfigError(
            f"{where}: the column '{cost or COST}' and prices of options both say what experiments "
            "cost; leave one of them out."
        )
    known = [c for c in results[1:] if _known_before(table, c, objective)]
    if prices and known:
        raise ConfigError(
            f"{where}: '{known[0]}' is known of every candidate, and a campaign has a place for "
            "one such number; leave it or the prices out."
        )
    cost = COST if prices else cost or next(iter(known), None)
    if unplaced := [c for c in known if c != cost]:
        raise DataError(
            f"{where}: '{cost}' and '{unplaced[0]}' are both known of every candidate, and a "
            "campaign has a place for one such column; make one of the two, or leave one out."
        )
    if cost in results:
        what = "is known of every candidate, so it is not predicted"
        told.append(Note("known-outcome", where, what, str(cost)))
    if alone := alone_words(wanted):
        what = f"there is no objective beside the limit, so the campaign is to {alone}; add one"
        told.append(Note("limit-alone", where, f"{what} if something else is wanted", objective))
    also = [c for c in dict.fromkeys([*results[1:], *also]) if c != cost]
    _refuse_names(table, where, results, failed_word)
    of_table = None if prices else cost
    said = Said(
        objective, also, inputs, category, number, remark, id_column, of_table,
        factors=table.attrs.get("factors", ()),
    )  # fmt: skip
    refuse_head_below(table, where, objective)
    refuse_strays(table, where)
    roles = assign(table, where, said, refused=OURS)
    refuse_fill_down(roles.table, where, roles.inputs)
    columns, id_column = roles.inputs, roles.id_column
    if structures is None:
        named_so = [c for c in columns if c not in category]
        structures = smiles_columns(roles.table[named_so])
        if structures:
            told.append(_about("smiles", where, "taken for SMILES", structures))
    elif unknown := [c for c in structures if c not in columns]:
        close = nearest(unknown[0], columns)
        raise DataError(f"{where}: there is no input '{unknown[0]}' to hold SMILES.{close}")
    table, respelt = one_spelling(roles.table, structures, where)
    units_said = dict(zip(here(list(unit or {})), (unit or {}).values(), strict=True))
    rows = Rows(where, table, columns, check_units(units_said, table, where))
    orders = {c: order_of(rows.table[c], order, told, where) for c, order in ordered.items()}
    rows.refuse_merged(roles.unexplained)
    ids = rows.ids(id_column)
    for column in (c for c in columns if pd.api.types.is_numeric_dtype(rows.table[c])):
        _ask_sentinel(where, column, rows.table[column].to_numpy(dtype=np.float64), said)
    understood = (n for n in rows.table.attrs["notes"] if not _understood(n, [objective, *also]))
    notes = [*understood, *roles.notes, *rows.notes(), *told, *respelt]
    candidates = rows.candidates(ids, of_table, positive=priced)
    if "structures" in policy.needs and not structures:
        raise ConfigError(
            f"surrogate '{policy.surrogate}' needs columns with SMILES; name them with "
            "--structures."
        )
    written = _reaction(reaction, roles, where, notes)
    if "reactions" in policy.needs and written is None:
        raise ConfigError(
            f"surrogate '{policy.surrogate}' needs reaction SMILES; name their column, or a "
            "template that writes them, with --reaction."
        )
    spoken = _spoken(candidates[columns], structures)
    if template is None and len(spoken) < len(columns):
        silent = [c for c in columns if c not in spoken]
        what = "left out of the text, as a name says the same"
        notes.append(_about("unmentioned-columns", where, what, silent))
    shown = candidates[columns if template is not None else spoken]
    words = _template(template, shown, where, rows.units, roles)
    units = rows.units | rows.units_of([objective, *also])
    wanted = [
        one.model_copy(update={"name": name, "unit": units.get(name, "")})
        for one, name in zip(wanted, results, strict=True)
    ]
    created = Created(
        name=name, objective=objective, goal=goal, also=tuple(also), structures=tuple(structures),
        id_column=id_column, cost=cost, units=units,
        prices=checked(
            {c: read_prices(c, one) for c, one in (prices or {}).items()}, candidates, where
        ),
        outcomes=tuple(wanted),
        template=words.source, reaction=None if written is None else written.source,
        surrogate=policy.surrogate, preset=policy.preset, model=policy.model.name,
        acquisition=chosen.get("acquisition"), failed_as=failed_as,
        failed_words=failed_word, seed=seed, source=source, orders=orders,
        drawn_from=kept_lists(
            table.attrs.get("drawn_from", ""), candidates, of_table, where, notes
        ),
        candidates=table_sha256(candidates), keys=policy.typed(k for k in chosen if k not in NAMED),
    )  # fmt: skip
    notes += _about_model(policy, where)
    recorded, read = _results(created, candidates, rows, ids)
    for column in (objective, *also):
        found = recorded.results if recorded else ()
        values = [r.values[column] for r in found if column in r.values]
        _ask_sentinel(where, column, np.array(values, dtype=np.float64), said)
    _check_results(created, candidates, recorded, where)
    created, bounded = _bounded(created, candidates, recorded, where)
    if recorded is not None and any(one.said for one in recorded.results):
        recorded, read = _results(created, candidates, rows, ids)  # <5 counts within the bounds
    notes += bounded
    shown_as = tuple(_as_read(c, candidates, created) for c in roles.columns)
    return Start(created, candidates, recorded, (*notes, *read), words, shown_as)


def order_of(
    column: pd.Series, order: Sequence[str], notes: list[Note], where: str
) -> tuple[str, ...]:
    """The order of a column's names, as they are written there.

    Args:
        column: the cells.
        order: the names from first to last; those that no cell holds yet may be among them.
        notes: takes what was understood in a special way.
        where: file or campaign, for messages.

    Raises:
        DataError: a name is missing from it, or there twice, or the cells are numbers.
    """
    if pd.api.types.is_numeric_dtype(column):
        raise DataError(f"{where}: '{column.name}' holds numbers, which have an order already.")
    levels = [level for level in map(str, column.unique()) if level]
    names = [meant(str(name).strip(), levels, notes, where) for name in order]
    again = [name for i, name in enumerate(names) if name in names[:i]]
    if again or len(names) < 2:
        problem = f"has '{again[0]}' twice" if again else "needs two names or more"
        raise DataError(f"{where}: the order of '{column.name}' {problem}; correct it.")
    if missing := [level for level in levels if level not in names]:
        raise DataError(
            f"{where}: '{missing[0]}' of '{column.name}' is not in the order {' < '.join(names)}; "
            "say where it belongs."
        )
    return tuple(names)


def kept_lists(
    text: str, candidates: pd.DataFrame, cost: str | None, where: str, notes: list[Note]
) -> str:
    """Lists of options from which more may be suggested; '' and a note where that can't be.

    Args:
        text: the lists; '' where there are none.
        candidates: that were drawn from them.
        cost: column with the cost of each experiment.
        where: of a note.
        notes: takes it.
    """
    if not text:
        return ""
    unknown = [cost] if cost is not None else options_in(text).uncovered(candidates)
    if unknown:
        what = f"'{unknown[0]}' is known for those that were drawn only, so no others are suggested"
        notes.append(Note("only-drawn", where, f"{what}."))
    return "" if unknown else text


def _reaction(given: str | None, roles: Roles, where: str, notes: list[Note]) -> Template | None:
    """What writes experiments as reactions: what was said, or the one column that holds them."""
    if given is not None:
        written = Template.of(given)
        written.check(roles.inputs, where)
        return written
    called = [c.name for c in roles.columns if c.role == "input" and c.kind == "reaction"]
    if len(called) != 1:
        return None
    notes.append(_about("reaction", where, "taken for reaction SMILES", called))
    return Template.column(called[0])


def _about_model(policy: Policy, where: str) -> list[Note]:
    """A note if the language model has to be fetched first."""
    model = policy.model.name
    if not policy.has_model or policy.remote.url is not None or is_here(model):
        return []
    what = f"the language model '{model}' is not on this machine; fetch it by"
    ways = f"`gollum models get {model}`, or choose another by --model."
    return [Note("model-away", where, f"{what} {ways}")]


def _ask_sentinel(where: str, column: str, cells: NDArray[np.float64], said: Said) -> None:
    """Ask about numbers that may mean that a value is missing.

    Raises:
        DataError: there are some.
    """
    if column not in said.numbers and (what := sentinel(cells)):
        raise DataError(
            f"{where}: column '{column}': {what} may mean missing; leave those cells blank, or "
            f"say {said.by('number', column)} if it is a value."
        )


def _as_read(column: Column, candidates: pd.DataFrame, created: Created) -> Column:
    """What a column was proposed as, with what its cells were read as."""
    name, unit = column.name, created.units.get(column.name, "")
    wanted = {one.name: one.goal for one in created.outcomes}
    if name in wanted and len(wanted) > 1:
        column = column._replace(role="objective", reason=wanted[name].words())
    if name in created.structures:
        return column._replace(kind="molecule")
    if name in created.orders:
        return column._replace(kind="ordinal", example=" < ".join(created.orders[name]))
    numeric = name in candidates and pd.api.types.is_numeric_dtype(candidates[name])
    if numeric or (column.role in ("objective", "result") and column.kind != "blank"):
        return column._replace(kind="number", unit=unit)
    return column


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
    targeted = _pursued(goal).kind == "target"
    if targeted and not CRITERIA.fact(usual, "towards_target", False):
        chosen.setdefault("acquisition", TOWARDS_TARGET)
    return chosen


def _pursued(goal: Goal) -> Goal:
    return goal if goal.pursued else goal.alone


def check_policy(keys: Mapping[str, Any], outcomes: Sequence[Outcome]) -> Policy:
    """How experiments are chosen in a campaign, from dotted keys.

    Args:
        keys: of the policy.
        outcomes: what is wanted, the objective first.

    Raises:
        ConfigError: a key can't be used, or not for what is wanted.
    """
    given = dict(keys)
    own = getattr(_factory(given.get("surrogate")), "model", None)
    if own is not None and given.get("model.name") == DEFAULT_MODEL:
        given.pop("model.name")
    policy = Policy.of(given)
    model = policy.model.name
    known = model in CATALOG or "/" in model or Path(model).is_dir()
    if policy.has_model and policy.remote.url is None and not known:
        close = nearest(model, CATALOG)
        raise ConfigError(f"there is no model '{model}'.{close} `gollum models` lists them.")
    wanted = {"towards_target": "target"} if _pursued(outcomes[0].goal).kind == "target" else {}
    if any(one.goal.kind != "watch" for one in outcomes[1:]):
        wanted["within_limits"] = "limits and further objectives"
    for fact, what in wanted.items():
        if not getattr(CRITERIA[policy.acquisition], fact, False):
            able = [name for name in CRITERIA if CRITERIA.fact(name, fact, False)]
            raise ConfigError(
                f"acquisition '{policy.acquisition}' has no {what}; use {' or '.join(able)}."
            )
    if len(outcomes) > 1 and policy.surrogate in ("baybe", "baybe_chem"):
        raise ConfigError(
            f"'{policy.surrogate}' is asked for a single outcome here; take another surrogate."
        )
    return policy


def _factory(surrogate: Any) -> Any:
    return surrogate_factory(surrogate) if surrogate in surrogate_names() else None


def check_seed(seed: int) -> None:
    """Refuse what is no seed.

    Raises:
        ConfigError: it is below 0.
    """
    if seed < 0:
        raise ConfigError(f"a seed is a number from 0 on, not {seed}.")


def _check_settings(outcomes: Sequence[Outcome], seed: int) -> None:
    goal = outcomes[0].goal
    if (goal.kind == "target") != (goal.target is not None):
        raise ConfigError("goal 'target' and a target value belong together; give both or neither.")
    check_outcomes(outcomes)
    check_seed(seed)


def _refuse_names(
    table: pd.DataFrame, where: str, results: Sequence[str], failed: Sequence[str]
) -> None:
    """Refuse outcomes whose cells are names.

    Raises:
        DataError: one is such a column.
    """
    for column in results:
        if column not in table or pd.api.types.is_numeric_dtype(table[column]):
            continue
        cells = [text for text in map(cell_text, table[column].unique()) if not is_open(text)]
        tells = any(meaning(cell, failed) or any(map(str.isdigit, cell)) for cell in cells)
        if cells and not tells:
            raise DataError(
                f"{where}: column '{column}' holds names such as '{cells[0]}', and an objective is "
                "a number; name another column."
            )


def _known_before(table: pd.DataFrame, column: str, objective: str) -> bool:
    """Whether a table has a number for every candidate, though not all of them were measured."""
    if column not in table or not pd.api.types.is_numeric_dtype(table[column]):
        return False
    blank = [True] if objective not in table else blank_rows(table[[objective]])
    return bool(table[column].notna().all() and np.any(blank))


def _begun(created: Created, candidates: pd.DataFrame, recorded: Recorded | None) -> State:
    state = State.of([Logged(1, "", "", created)], lambda _: candidates)
    return state if recorded is None else state.after(Logged(2, "", "", recorded))


def _bounded(
    created: Created, candidates: pd.DataFrame, recorded: Recorded | None, where: str
) -> tuple[Created, list[Note]]:
    """The beginning with bounds that outcomes have by their unit, and notes on them."""
    state, outcomes, notes = _begun(created, candidates, recorded), list[Outcome](), list[Note]()
    for one in created.outcomes:
        values = state.observations(one)[1]
        bounds = one.bounds
        if "bounds" not in one.model_fields_set and state.known(one) is None:
            bounds = found_bounds(one.name, one.unit, values)
        found = one.found or bounds != one.bounds
        one = one.model_copy(update={"bounds": bounds, "found": found})
        if found:
            remedy = f"say --bounds {quoted(f'{one.name}=none')} if not"
            what = f"predictions stay within {spelt(bounds)}; {remedy}"
            notes.append(Note("found-bounds", where, what, one.name))
        outcomes.append(one)
    check_outcomes(outcomes)
    weighed = any(one.weight is not None for one in outcomes)
    for one in outcomes if weighed else ():
        if one.goal.pursued and None in one.bounds:
            raise ConfigError(
                f"'{one.name}' is weighed, which needs both bounds; give them as --bounds "
                f"{quoted(f'{one.name}=0:100')}."
            )
    return created.model_copy(update={"outcomes": tuple(outcomes)}), notes


def _check_results(
    created: Created, candidates: pd.DataFrame, recorded: Recorded | None, where: str
) -> None:
    """Refuse that a failed experiment counts as the best there is, or a reference beyond all."""
    state = _begun(created, candidates, recorded)
    if problem := state.praised_failure():
        raise ConfigError(f"{where}: {problem}; give a worse value.")
    check_reference(state)


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


def default_template(inputs: pd.DataFrame, created: Created) -> Template:
    """How experiments with these inputs are put into words if nobody says."""
    spoken = inputs[_spoken(inputs, created.structures)]
    return _of_columns(spoken, created.name, created.units)


def _of_columns(inputs: pd.DataFrame, where: str, units: Mapping[str, str]) -> Template:
    unknown = np.full(len(inputs), np.nan)
    return Template.from_columns(Pool(where, inputs, "", "maximize", unknown), units)


def _template(
    given: str | None,
    inputs: pd.DataFrame,
    where: str,
    units: Mapping[str, str],
    roles: Roles,
) -> Template:
    """The template, checked on a row that has every cell filled."""
    if given is None:
        return _of_columns(inputs, where, units)
    template = Template(given)
    for column in template.columns:
        role = roles.role(column)
        if column not in inputs.columns and role in ("objective", "result", "id", "cost", "remark"):
            raise TemplateError(
                f"{where}: the template reads '{column}', which is the {role} and does not "
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
    told = [c for c in table.columns if c in created.also or c.casefold() in OUTCOMES]
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
    intake = read_results(state, sheet, source=created.source, name=where, new_names=True)
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


def _about(code: str, where: str, what: str, columns: Iterable[str]) -> Note:
    """A note that lists columns."""
    return Note(code, where, f"{what}: {listed(columns)}.")
