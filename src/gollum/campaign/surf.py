"""A campaign in SURF, the Simple User-Friendly Reaction Format: a table with a row per reaction.

Its columns have fixed names (D. F. Nippa et al., Simple User-Friendly Reaction Format, ChemRxiv
2023): conditions in fixed units, such as `temperature_deg_c` and `time_h`, and for each component a
name, a structure and an amount, such as `ligand_1_name`, `ligand_1_smiles` and `ligand_1_eq`. A
column of a campaign goes there by the words of its name, its unit and whether it holds SMILES. What
has no place among them keeps its own name, behind the others.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import pandas as pd

from gollum.campaign.events import Result
from gollum.campaign.sheets import head
from gollum.campaign.state import Logged, State
from gollum.data.pool import cell_text
from gollum.data.spreadsheets.units import alike, bare_name, converted, unit_in
from gollum.data.writers import harmless
from gollum.errors import ConfigError, UserError
from gollum.text.template import Template

ENDINGS = {".tsv": "\t", ".txt": "\t", ".csv": ","}  # and what stands between cells
What = Literal["surf", "surf-next"]
FIRST = (
    "rxn_id", "source_id", "source_type", "rxn_date", "rxn_type", "rxn_name", "rxn_tech",
    "temperature_deg_c", "time_h", "atmosphere", "stirring_shaking", "scale_mol",
    "concentration_mol_l",
)  # fmt: skip
LAST = ("provenance", "comment", "procedure")
FIELDS = ("name", "cas", "smiles", "eq", "fraction")  # of a component


def _set(words: str) -> frozenset[str]:
    return frozenset(words.split())


# Roles of components in the order of their columns, by words of names; the first that fits holds.
ROLES = {
    "catalyst": _set("catalyst precatalyst photocatalyst cat metal precursor katalysator"),
    "ligand": _set("ligand"),
    "solvent": _set("solvent cosolvent lösungsmittel lösemittel"),
    "startingmat": _set(
        "substrate reactant electrophile nucleophile halide bromide chloride iodide triflate "
        "boronic boronate partner amine alcohol aldehyde ketone alkene alkyne arene startingmat "
        "starting sm edukt"
    ),
    "product": _set("product produkt"),
    "additive": _set("additive salt additiv"),
    "reagent": _set(
        "reagent base acid oxidant reductant activator initiator coupling reagenz säure"
    ),
}
ORDER = ("startingmat", "catalyst", "ligand", "reagent", "additive", "solvent", "product")
# Conditions: words of names, unit; '' takes texts and quantities as they are.
CONDITIONS = {
    "temperature_deg_c": (_set("temperature temp t temperatur"), "°C"),
    "time_h": (_set("time duration zeit dauer"), "h"),
    "scale_mol": (_set("scale ansatz"), "mol"),
    "concentration_mol_l": (_set("concentration conc molarity konzentration"), "mol/L"),
    "atmosphere": (_set("atmosphere gas atmosphäre"), ""),
    "stirring_shaking": (_set("stirring stirrer shaking rpm rühren"), ""),
}
_AMOUNTS = _set("eq equiv equivalent equivalents loading amount fraction pct mol percent")
_KINDS = _set("smiles name cas structure")
_YIELDS = _set("yield yields ausbeute rendement")
_METHODS = _set("isolated nmr gc hplc lcms uplc sfc area assay")


@dataclass
class _Mapped:
    """Where the columns of a campaign go.

    Attributes:
        cells: column of SURF → what stands there for a row of candidates.
        others: columns that keep their names.
        notes: why some do, though they seem to have a place.
        count: role → number of its components.
    """

    cells: dict[str, Callable[[Any], object]] = field(default_factory=dict)
    others: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    count: dict[str, int] = field(default_factory=dict)


def surf(
    state: State, log: Sequence[Logged], what: What = "surf"
) -> tuple[pd.DataFrame, list[str]]:
    """Results or the experiments to do in SURF.

    Args:
        state: the campaign.
        log: its events.
        what: 'surf' for results, failed experiments included; 'surf-next' for what is pending.

    Returns:
        The table, a reaction per row, in which all cells are text; and which columns kept their
        own names though they seem to have a place.

    Raises:
        UserError: the campaign is not about reactions, or there is nothing to export.
    """
    mapped = _mapped(state)
    if what == "surf-next":
        plans = state.pending()
        told = [(p.suggestion.run, p.suggestion.id, _predicted(state, p.suggestion)) for p in plans]
        missing = "nothing is pending; ask for experiments first"
    else:
        told = [
            (run, m.result.id, _found(state, m.result, log[m.sequence - 1]))
            for run, m in state.measurements.items()
            if m.result.status != "not run"
        ]
        missing = "there is no result yet"
    if not told:
        raise UserError(f"{state.created.name}: {missing}.")
    place = {id_: i for i, id_ in enumerate(state.table.index)}
    rows = []
    for run, id_, more in told:
        candidate = state.table.loc[id_]
        row = {"rxn_id": f"{state.created.name}-{run}", "source_id": state.created.name}
        row |= {"source_type": "campaign"} | _reaction(state, place[id_], mapped)
        row |= {name: str(make(candidate)) for name, make in mapped.cells.items()}
        row |= {head(state, c): cell_text(candidate[c]) for c in mapped.others}
        rows.append(row | more)
    found = dict.fromkeys(name for row in rows for name in row)
    parts = sorted((n for n in found if _PART.fullmatch(n)), key=_rank)
    own = [n for n in found if n not in (*FIRST, *parts, *LAST)]
    names = [*FIRST, *parts, *LAST, *own]
    table = pd.DataFrame([[row.get(n, "") for n in names] for row in rows], columns=names)
    return table, mapped.notes


def surf_text(table: pd.DataFrame, ending: str) -> bytes:
    """The table as a file of UTF-8; what a spreadsheet would compute gets an apostrophe."""
    safe = table.map(lambda cell: cell if _NUMBER.fullmatch(cell) else harmless(cell))
    for name in table.columns[table.columns.str.endswith("_smiles")]:
        safe[name] = table[name]
    text: str = safe.to_csv(sep=ENDINGS[ending], index=False, lineterminator="\n")
    return text.encode("utf-8", "replace")


_NUMBER = re.compile(r"[+-]?[0-9.]+(?:e[+-]?\d+)?")
_PART = re.compile(rf"({'|'.join(ORDER)})_(\d+)_(\w+)")


def _rank(name: str) -> tuple[int, int, int]:
    """Where a column of a component stands."""
    match = _PART.fullmatch(name)
    assert match is not None  # noqa: S101 (they were chosen so)
    last = FIELDS.index(match[3]) if match[3] in FIELDS else len(FIELDS)
    return ORDER.index(match[1]), int(match[2]), last


def _mapped(state: State) -> _Mapped:
    """Where each input goes.

    Raises:
        ConfigError: none is a component, so that nothing is known to be a reaction.
    """
    found, groups = _Mapped(), dict[tuple[str, frozenset[str]], int]()
    for column in map(str, state.table.columns):
        if (condition := _condition(state, column)) is not None:
            name, unit = condition
            make = None if name in found.cells else _in_unit(state, column, unit)
            if make is not None:
                found.cells[name] = make
                continue
            if name not in found.cells:
                told = f"the unit of '{column}' is not known to be {unit}"
                found.notes.append(f"{told}, so it keeps its name beside {name}.")
            found.others.append(column)
            continue
        part, make = _component(state, column)
        role = _role(column)
        if make is None or role is None:
            found.others.append(column)
            continue
        key = (role, _words(bare_name(column)) - _AMOUNTS - _KINDS)
        if key not in groups:
            found.count[role] = groups[key] = found.count.get(role, 0) + 1
        name = f"{role}_{groups[key]}_{part}"
        if name in found.cells:
            found.others.append(column)
        else:
            found.cells[name] = make
    if not found.count and state.created.reaction is None:
        raise ConfigError(
            f"{state.created.name}: nothing says that this is about reactions, so there is no SURF "
            "of it: no column is called after a starting material, catalyst, ligand, base, "
            "reagent, additive or solvent; export results instead."
        )
    return found


def _words(name: str) -> frozenset[str]:
    return frozenset(re.findall(r"[^\W\d_]+", name.casefold()))


def _role(column: str) -> str | None:
    words = _words(bare_name(column))
    return next((role for role, known in ROLES.items() if words & known), None)


def _unit(state: State, column: str) -> str:
    named = unit_in(column)
    return state.created.units.get(column) or (named[0] if named else "")


def _is_numeric(state: State, column: str) -> bool:
    return pd.api.types.is_numeric_dtype(state.table[column])


def _condition(state: State, column: str) -> tuple[str, str] | None:
    """The condition that a column is, and the unit that it has in SURF."""
    if _role(column) is not None:
        return None
    words = _words(bare_name(column)) or _words(column)
    for name, (known, unit) in CONDITIONS.items():
        if words & known and (not unit or _is_numeric(state, column)):
            return name, unit
    return None


def _in_unit(state: State, column: str, wanted: str) -> Callable[[Any], object] | None:
    """What writes the cells of a column in a unit; None where there is no way."""
    unit = _unit(state, column)
    if not wanted:
        return lambda row: f"{cell_text(row[column])} {unit}".strip()
    if not unit or converted(1.0, unit, wanted) is None:
        return None
    return lambda row: _number(row[column], lambda value: converted(value, unit, wanted))


def _number(value: Any, change: Callable[[float], float | None]) -> str:
    return "" if pd.isna(value) else f"{change(float(value)):.10g}"


def _component(state: State, column: str) -> tuple[str, Callable[[Any], object] | None]:
    """Which field of a component a column is, and what writes it; None where it is none."""
    if column in state.created.structures or "smiles" in _words(column):
        return "smiles", lambda row: cell_text(row[column])
    if "cas" in _words(column):
        return "cas", lambda row: cell_text(row[column])
    if not _is_numeric(state, column):
        return "name", lambda row: cell_text(row[column])
    unit, solvent = _unit(state, column), _role(column) == "solvent"
    if unit and alike(unit, "mol%") and not solvent:
        return "eq", lambda row: _number(row[column], lambda value: value / 100)
    if (unit and alike(unit, "equivalents")) or _words(column) & _set(
        "eq equiv equivalent equivalents"
    ):
        return "eq", lambda row: _number(row[column], float)
    if solvent and (unit in ("%", "vol%") or "fraction" in _words(column)):
        share = 100 if unit else 1
        return "fraction", lambda row: _number(row[column], lambda value: value / share)
    return "", None


def _reaction(state: State, row: int, mapped: _Mapped) -> dict[str, str]:
    """Starting materials and product of the reaction SMILES, where no column says them."""
    if state.created.reaction is None:
        return {}
    text = Template.of(state.created.reaction).render_row(state.pool, row).text
    sides = text.split(">")
    if len(sides) != 3:
        return {}
    found = dict[str, str]()
    for role, side in (("startingmat", sides[0]), ("product", sides[2])):
        if role not in mapped.count:
            parts = filter(None, side.strip().split("."))
            found |= {f"{role}_{i}_smiles": part for i, part in enumerate(parts, 1)}
    return found


def _found(state: State, result: Result, entry: Logged) -> dict[str, str]:
    """What came of an experiment."""
    failed = result.status == "failed"
    comment = ["failed"] * failed
    comment += [f"{name}: {text}" for name, text in result.said.items()]
    comment += [result.note] if result.note else []
    told = {"rxn_date": entry.time[:10], "provenance": entry.event.by}
    for name in (state.created.objective, *state.created.also):
        value = result.values.get(name)
        text = "" if value is None else cell_text(value)
        if _is_yield(state, name) and "product_1_yield" not in told:
            told["product_1_yield"] = "0" if failed else text
            told["product_1_yieldtype"] = _method(name)
        else:
            told[head(state, name)] = text
    return told | {"comment": "; ".join(comment)}


def _predicted(state: State, suggestion: Any) -> dict[str, str]:
    """What is expected of an experiment to do, as its comment."""
    if suggestion.mean is None:
        return {"comment": "to do"}
    numbers = (f"{value:.4g}" for value in (suggestion.mean, suggestion.low, suggestion.high))
    mean, low, high = numbers
    return {"comment": f"to do; predicted {state.created.objective} {mean} ({low} to {high})"}


def _is_yield(state: State, name: str) -> bool:
    return bool(_words(name) & _YIELDS) and _unit(state, name) in ("", "%")


def _method(name: str) -> str:
    """How a yield was measured, as far as its name says."""
    found: Iterable[str] = sorted(_words(name) & _METHODS)
    return " ".join(found).upper() or "UNKNOWN"
