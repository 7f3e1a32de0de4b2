"""Candidates from lists of options: all combinations, less those that can't be run.

    factors:
      ligand: [XPhos, SPhos, dppf]
      additive: [none, LiCl, NaCl]
      temperature_C: {from: 40, to: 100, step: 20}
      ramp_C: [25, 40, 60]
    mixture: {parts: [water, THF, DMF], total: 100, step: 10, at_most: 2}
    exclude:
      - {ligand: dppf, temperature_C: [80, 100]}
      - {ligand: XPhos, temperature_C: {above: 80}}
    together:
      - {ligand: [XPhos, SPhos], ramp_C: [25, 40]}
      - {ligand: dppf, ramp_C: [40, 60]}
    relations:
      - ramp_C < temperature_C
      - 20 <= water + 2*THF <= 150
      - {only: {additive: [LiCl, NaCl]}, with: {ligand: SPhos}}
      - {at_most: 1, of: [additive, DMF]}
    sample: 5000
    columns: {ligand: category}

Each line below `exclude` takes away the combinations to which all of it applies: one option, any
option of a list, or the numbers above or below a limit, which itself stays. Lines of `together`
that name the same factors say which of their options go together. A line of `relations` says what
stays: numbers that compare so (`gollum.campaign.relations`), what is `only` there `with` something
else, or how many components may be there `at_most`, where 0 and none are not there. Each part of a
`mixture` is a column of numbers: all amounts in steps that add up to the total. `sample` draws so
many of what stays. An option is what is written: `NO` and `2024-01-01` are names, `007` is a code,
`80.0` is the number 80.

Instead of factors there may be a `table: conditions.csv`, seen from the file's folder. `columns`
says what columns are: also (a further result), category, number, remark, id, cost, structure or
ordinal, which are names in the order of the options, or in one that is said as in
`stirring: {ordinal: [low, medium, high]}`. `outcomes` says what is wanted of results
(`gollum.campaign.outcome_lines`), and `prices` what options cost: `ligand: {XPhos: 12, dppf: 3}`.
In a spreadsheet of options that is a column `ligand price` beside `ligand`.
"""

from __future__ import annotations

import json
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pandas as pd
from yaml.nodes import MappingNode, Node

from gollum.campaign.columns import read_columns
from gollum.campaign.drawn import Options
from gollum.campaign.grid import Bound, EntangledError, Grid, Together
from gollum.campaign.options import Factor, read_factor, read_mixture
from gollum.campaign.outcome_lines import read_outcomes
from gollum.campaign.prices import beside, read_prices
from gollum.campaign.rules import PAIR, Rules
from gollum.campaign.strict_yaml import Entries, YamlFile
from gollum.data.pool import cell_text
from gollum.data.readers import read_table
from gollum.errors import ConfigError, listed
from gollum.notes import Notes

MOST_COMBINATIONS = 1_000_000
PARTS = (
    "factors", "mixture", "exclude", "together", "relations", "sample", "columns", "outcomes",
    "prices",
)  # fmt: skip
LISTS = (".xlsx", ".ods", ".csv", ".tsv")  # endings of spreadsheets with a column for each factor
OF_TABLE = ("table", "columns", "outcomes", "prices")
NOTHING_LEFT = "with this line every combination is excluded; change it or take it away"
ENTANGLED = (
    "with this line more options are tied together than can be gone through; take larger steps, "
    "fewer factors or fewer such lines"
)


def read_factors(
    path: Path, *, seed: int = 0, sheet: str | None = None, encoding: str | None = None
) -> pd.DataFrame:
    """What a YAML file describes: combinations of options, or a table.

    Args:
        path: the file; or a spreadsheet with the options of each factor in a column of its own.
        seed: of a sample.
        sheet: which sheet, where the table is a workbook.
        encoding: as `read_table` takes it.

    Returns:
        N x k table; of combinations, the first factor varies slowest. `attrs['notes']` says how
        many there are and how many are excluded, `attrs['factors']` names their columns,
        `attrs['drawn_from']` is the text of the file where they are a sample of quantities,
        `attrs['columns']` says what columns are, `attrs['outcomes']` what is wanted of results, and
        `attrs['file']` where the rows come from.

    Raises:
        ConfigError: the file is not as this module describes it; the message names the line.
        DataError: the file or its table can't be read.
    """
    lists, prices = path.suffix.lower() in LISTS, dict[str, dict[str, float]]()
    if lists:
        options, prices = beside(read_table(path, sheet=sheet, encoding=encoding))
        file = YamlFile(path, _in_lines(options, path))
    else:
        file = YamlFile.read(path, encoding)
    parts = file.entries(file.root, "the file should begin with 'factors:' or 'table:'")
    file.refuse_unknown(parts, OF_TABLE if "table" in parts else PARTS)
    if "table" in parts:
        source = path.parent / file.word(parts["table"][1])
        table = read_table(source, sheet=sheet, encoding=encoding)
        table.attrs["notes"] = Notes((*file.notes, *table.attrs["notes"]))
    elif sheet is not None and not lists:
        raise ConfigError(f"{path}: only the table of a workbook has sheets; leave out '{sheet}'.")
    else:
        source, table = path, _combinations(file, parts, seed)
    columns = read_columns(file, parts["columns"][1], table) if "columns" in parts else {}
    outcomes = read_outcomes(file, parts["outcomes"][1]) if "outcomes" in parts else ()
    prices |= _prices(file, parts["prices"][1]) if "prices" in parts else {}
    table.attrs |= {"file": source, "columns": columns, "outcomes": outcomes, "prices": prices}
    return table


def _prices(file: YamlFile, node: Node) -> dict[str, dict[str, float]]:
    """Column → option → price, from lines such as 'ligand: {XPhos: 12, dppf: 3.5}'."""
    wanted, found = "'prices' needs lines such as 'ligand: {XPhos: 12}'", {}
    for column, (_, value) in file.entries(node, wanted).items():
        known = file.entries(value, wanted)
        found[column] = read_prices(column, {o: file.word(one) for o, (_, one) in known.items()})
    return found


def _in_lines(table: pd.DataFrame, path: Path) -> str:
    """Columns of options, of different lengths, as this module's YAML: numbers as such, or names.

    Raises:
        ConfigError: a column has an option twice, or none.
    """
    lines = ["factors:"]
    for name in map(str, table.columns):
        cells = [cell for cell in table[name].map(cell_text) if cell]
        twice = next((cell for i, cell in enumerate(cells) if cell in cells[:i]), None)
        if twice is not None:
            raise ConfigError(
                f"{path}: column '{name}' has the option '{twice}' twice; keep one in a list of "
                "options, or say --table if its rows are experiments."
            )
        if not cells:
            raise ConfigError(f"{path}: column '{name}' has no options; fill it in or delete it.")
        numeric = pd.api.types.is_numeric_dtype(table[name])
        options = ", ".join(cells if numeric else map(json.dumps, cells))
        lines.append(f"  {json.dumps(name)}: [{options}]")
    return "\n".join(lines)


@cache
def options_in(text: str) -> Options:
    """What the text of such a file leaves, as `read_factors` took it.

    Raises:
        ConfigError: it is not as this module describes it.
    """
    file = YamlFile(Path("the options"), text)
    parts = file.entries(file.root, "there are no 'factors'")
    product = _product(file, parts)
    grid = product.grid
    for _, bounds in _lines(file, parts, product):
        grid = grid.within(*bounds)
    return Options(product.factors, grid)


def _combinations(file: YamlFile, parts: Entries, seed: int) -> pd.DataFrame:
    """Those that no line rules out, or a sample of them."""
    product = _product(file, parts)
    grid, all_of_them = _allowed(file, parts, product), product.grid.total
    stay = (
        f", {all_of_them - grid.total:,} of them are excluded and {grid.total:,} stay"
        if grid.total < all_of_them
        else ""
    )
    told = f"{product.words} make {all_of_them:,} combinations{stay}"
    wanted = _sample(file, parts["sample"][1]) if "sample" in parts else grid.total
    if wanted > MOST_COMBINATIONS:
        raise ConfigError(
            f"{file.path}: {told}, and up to {MOST_COMBINATIONS:,} are taken; write "
            "'sample: 20000' to draw so many of them, or give fewer options or further relations."
        )
    file.note("combinations", told)
    drawn_from = ""
    if wanted < grid.total:
        codes = grid.draw(wanted, seed)
        what = f"{wanted:,} of these {grid.total:,} were drawn, all equally likely (seed {seed})"
        if moving := [factor.name for factor in product.factors if factor.continuous]:
            drawn_from = file.text
            what += f"; suggestions move {listed(moving)} on from there, in the steps given"
        file.note("sample", what)
    else:
        codes = grid.all()
    columns = zip(product.factors, codes.T, strict=True)
    table = pd.DataFrame({factor.name: factor.column(column) for factor, column in columns})
    names = tuple(factor.name for factor in product.factors)
    table.attrs = {"notes": Notes(file.notes), "first_row": 2, "factors": names}
    table.attrs["drawn_from"] = drawn_from
    few = (factor for factor in product.factors if not factor.continuous)
    table.attrs["options"] = {factor.name: tuple(factor.number_of) for factor in few}
    return table


@dataclass(frozen=True)
class _Product:
    """All combinations before any line rules some out.

    Attributes:
        factors: in order, parts of mixtures behind the others.
        grid: of their options, in which mixtures add up.
        words: how many options of what.
    """

    factors: Sequence[Factor]
    grid: Grid
    words: str


def _product(file: YamlFile, parts: Entries) -> _Product:
    if not parts.keys() & {"factors", "mixture"}:
        raise ConfigError(f"{file.path}: there are no 'factors'; list the options of each column.")
    factors, words, bounds = list[Factor](), list[str](), list[Bound]()
    if "factors" in parts:
        wanted = "'factors' needs lines such as 'ligand: [XPhos, dppf]'"
        described = file.entries(parts["factors"][1], wanted)
        factors += [read_factor(file, name, node) for name, (_, node) in described.items()]
        words += [f"{len(factor.options)} {factor.name}" for factor in factors]
    for node in _mixtures(file, parts):
        made, kept = read_mixture(file, node)
        known = {factor.name for factor in factors}
        if taken := [factor.name for factor in made if factor.name in known]:
            raise file.refusal(node, f"'{taken[0]}' is there already; give the part another name")
        mixtures = Grid([len(factor.options) for factor in made]).within(*kept)
        if problem := _problem(mixtures):
            raise file.refusal(node, problem)
        words.append(f"{mixtures.total:,} mixtures of {', '.join(f.name for f in made)}")
        bounds += [bound.moved(len(factors)) for bound in kept]
        factors += made
    grid = Grid([len(factor.options) for factor in factors]).within(*bounds)
    return _Product(factors, grid, " × ".join(words))


def _mixtures(file: YamlFile, parts: Entries) -> list[Node]:
    """The one mixture, or those of a list."""
    if "mixture" not in parts:
        return []
    node = parts["mixture"][1]
    wanted = "'mixture' needs parts, total and step, or is a list of several with these"
    return [node] if isinstance(node, MappingNode) else file.items(node, wanted)


def _lines(
    file: YamlFile, parts: Entries, product: _Product
) -> Iterator[tuple[Node, Sequence[Bound | Together]]]:
    """What rules out combinations: where it stands, and what it says."""
    rules = Rules(file, product.factors)

    def nodes(part: str, example: str) -> list[Node]:
        wanted = f"'{part}' needs lines such as {example}; leave it out if there are none"
        return file.items(parts[part][1], wanted) if part in parts else []

    for node in nodes("exclude", "'- {ligand: dppf}'"):
        yield node, rules.exclusion(node)
    for node in nodes("relations", "'- a + b <= 10'"):
        yield node, rules.relation(node)
    for node, options in rules.together(nodes("together", PAIR)):
        yield node, [options]


def _allowed(file: YamlFile, parts: Entries, product: _Product) -> Grid:
    """What no line rules out."""
    grids, at = [product.grid], [file.root]
    for node, bounds in _lines(file, parts, product):
        try:
            if not grids[-1].loses(*bounds):
                rest = " that the lines above it leave" if grids[0].loses(*bounds) else ""
                file.note("excludes-nothing", f"line {file.line(node)} excludes nothing{rest}")
        except EntangledError:
            raise file.refusal(node, ENTANGLED) from None
        grids.append(grids[-1].within(*bounds))
        at.append(node)
    problem, line = _problem(grids[-1]), -1
    if problem == NOTHING_LEFT:
        line = bisect_left(grids, True, key=lambda grid: _problem(grid.within()) == NOTHING_LEFT)
    if problem:
        raise file.refusal(at[line], problem)
    return grids[-1]


def _problem(grid: Grid) -> str:
    """Why there are no combinations to choose from, if so."""
    try:
        return "" if grid.total else NOTHING_LEFT
    except EntangledError:
        return ENTANGLED


def _sample(file: YamlFile, node: Node) -> int:
    number = file.number(node)
    if not isinstance(number, int) or not 2 <= number <= MOST_COMBINATIONS:
        problem = f"'sample' is how many combinations to draw, from 2 to {MOST_COMBINATIONS:,}"
        raise file.refusal(node, problem)
    return number
