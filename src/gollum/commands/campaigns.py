"""What the commands of a campaign do; each returns an exit code.

Those that need no model import none: they answer at once.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gollum.commands.benchmarks import names, overrides
from gollum.data.naming import meant
from gollum.errors import ConfigError, ModelError, UserError, listed, quoted

if TYPE_CHECKING:
    import pandas as pd
    from rich.console import Console

    from gollum.api import Campaign
    from gollum.campaign.begin import Start
    from gollum.campaign.events import Learned
    from gollum.campaign.learning import Match
    from gollum.campaign.state import State
    from gollum.notes import Note

    Taken = tuple[Learned, list[Match], list[Note]]

SHEETS, PAGES = (".xlsx", ".csv"), (".html", ".htm")
POLICY = ("surrogate", "preset", "acquisition", "model")  # options that are keys of the policy
DETAILS = ("bounds", "transform", "failed_as", "reference", "weight")  # options of outcomes
COLUMNS = 30  # of a table, that are shown
_AND = re.compile(r"\s+(?:and|&)\s+")  # between what is avoided where it meets
_SIGN = re.compile(r"[<>]=?|=")  # of what to avoid
_LIMIT = re.compile(r"\s*([^=]+)=\s*([0-9]+)\s*(?:,|$)")  # of --at-most
_LIMITS = re.compile(rf"(?:{_LIMIT.pattern})+")
SURF = ("surf", "surf-next")
WHAT = ("results", "suggestions", "history", "candidates", "predictions", *SURF)


LEARNED = "campaign, FILE:COLUMN with results, or public:TASK, to learn from"
TABLE_OPTIONS = {
    "inputs": "of a table: columns that describe an experiment",
    "also": "of a table: further results, not learned from",
    "category": "of a table: inputs whose numbers are names",
    "number": "of a table: inputs that are quantities",
    "remark": "of a table: columns that say nothing about the experiment",
    "structures": "of a table: inputs that hold SMILES",
}


def add_commands(known: Any) -> None:
    """Declare the commands of campaigns."""

    def command(name: str, handler: Callable[..., int], keys: bool = False, **options: Any) -> Any:
        parser = known.add_parser(name, **options)
        parser.set_defaults(handler=_with_keys(handler) if keys else _complete(name, handler))
        parser.add_argument("campaign", metavar="CAMPAIGN", help="the file, such as my.gollum")
        return parser

    begin = command(
        "init", init, keys=True,
        usage="gollum init CAMPAIGN --table FILE --objective COLUMN[:GOAL] [options] "
        "[--KEY VALUE …]",
        epilog="Any other --KEY VALUE says how experiments are chosen; `gollum run --help` lists "
        "the keys. For a campaign that exists, the goal, --template, --failed-as, --failed-word, "
        "--ordinal, --price and these keys change what it does from now on; null puts a key back "
        "to what the preset says.",
    )  # fmt: skip
    begin.add_argument("--table", metavar="FILE", help="possible experiments, one per row")
    begin.add_argument("--factors", metavar="FILE", help="instead: options, YAML or a spreadsheet")
    _add_reading(begin)
    begin.add_argument("--objective", action="append", metavar="COLUMN[:GOAL]",
                       help="what to optimize; several with goals such as ee:at-least=90, "
                       "cost:minimize, pH:range=6:8, purity:watch")  # fmt: skip
    goal = begin.add_mutually_exclusive_group()
    goal.add_argument("--maximize", action="store_true", help="the default")
    goal.add_argument("--minimize", action="store_true")
    goal.add_argument("--target", type=float, metavar="VALUE", help="come close to a value")
    for option, value, about in (
        ("bounds", "COLUMN=LOW:HIGH", "between which results lie [0:100 of percentages]; none"),
        ("transform", "COLUMN=NAME", "scale to learn on: identity, log, logit or auto [identity]"),
        ("reference", "COLUMN=VALUE", "what to be better than, of several objectives; none"),
        ("weight", "COLUMN=W", "weigh several objectives instead of seeking their front; none"),
    ):
        begin.add_argument(f"--{option}", action="append", metavar=value, help=about)
    for option, about in (
        ("also", "further results to keep"),
        ("inputs", "describe an experiment [all others that seem to]"),
        ("category", "inputs whose cells are names, such as catalysts 1 to 6"),
        ("number", "inputs that are quantities"),
        ("remark", "say nothing about the experiment"),
        ("structures", "hold SMILES"),
    ):
        begin.add_argument(
            f"--{option}", type=names, action="extend", metavar="COLUMNS", help=about
        )
    begin.add_argument("--ordinal", action="append", metavar="COLUMN=A,B,…",
                       help="names that have an order: stirring=low,medium,high")  # fmt: skip
    begin.add_argument("--id-column", metavar="COLUMN", help="names the rows")
    begin.add_argument("--cost", metavar="COLUMN", help="what each row costs")
    begin.add_argument("--price", action="append", metavar="COLUMN=FILE",
                       help="instead: what each option of a column costs, a table of options and "
                       "prices; an experiment costs their sum")  # fmt: skip
    begin.add_argument("--unit", action="append", metavar="COLUMN=UNIT",
                       help="of numbers, where neither name nor cells say it: time=h")  # fmt: skip
    begin.add_argument("--template", metavar="TEXT", help="'{ligand} at {temperature_C} °C'; for a "
                       "campaign that exists, its new template")  # fmt: skip
    begin.add_argument("--reaction", metavar="COLUMN", help="reaction SMILES, or their template")
    begin.add_argument("--failed-as", action="append", metavar="[COLUMN=]VALUE",
                       help="what a failed experiment counts as [it is left out]")  # fmt: skip
    begin.add_argument("--failed-word", action="append", metavar="WORD",
                       help="says in place of a result that it failed: n.d.")  # fmt: skip
    begin.add_argument("--surrogate", metavar="NAME", help="see gollum run --help")
    begin.add_argument("--preset", metavar="NAME", help="default, fast or paper [default]")
    begin.add_argument("--acquisition", metavar="NAME", help="[the preset's]")
    begin.add_argument("--model", metavar="NAME", help="see gollum models")
    begin.add_argument("--learn-from", action="append", default=[], metavar="SOURCE", help=LEARNED)
    _add_matching(begin)
    begin.add_argument("--seed", type=int, metavar="N", help="of everything random [0]")

    ask = command("suggest", suggest)
    ask.add_argument("-n", type=int, default=8, metavar="N", help="how many [%(default)s]")
    ask.add_argument("-o", "--output", metavar="FILE", help=".xlsx or .csv, to fill in")
    ask.add_argument("--fresh", action="store_true", help="withdraw what is pending, choose anew")
    ask.add_argument("--at-most", action="append", default=[], metavar="COLUMN=K,…",
                     help="one value of a column at most K times in a batch")  # fmt: skip
    ask.add_argument("--same", action="append", default=[], metavar="COLUMN,…",
                     help="one value across the batch, such as the temperature")  # fmt: skip
    ask.add_argument("--apart", type=int, default=0, metavar="K",
                     help="any two of the batch differ in at least K columns")  # fmt: skip
    ask.add_argument("--repeats", type=int, default=0, metavar="K",
                     help="up to K measured ones again, where noise decides")  # fmt: skip
    ask.add_argument("--cost-weight", type=float, default=0.0, metavar="W",
                     help="divide expected improvement by cost to this power [0]")  # fmt: skip
    ask.add_argument("--plate", type=int, metavar="WELLS",
                     help="a well for each, and a map of the plate: 24, 48, 96, 384")  # fmt: skip
    ask.add_argument("--quiet", action="store_true")

    take = command("record", record)
    take.add_argument("results", nargs="+", metavar="RESULTS", help="sheets with results")
    _add_reading(take)
    take.add_argument("--correct", action="store_true", help="a second value replaces the first")
    take.add_argument("--new", action="store_true",
                      help="names and numbers that look like slips are new options")  # fmt: skip

    take.add_argument("--as-done", action="store_true",
                      help="inputs other than a run asked for are what was done")  # fmt: skip

    more = command(
        "add", add,
        usage="gollum add CAMPAIGN [ROWS] [--option COLUMN=VALUE …] [--column NAME=VALUE …]",
    )  # fmt: skip
    more.add_argument("rows", nargs="?", metavar="ROWS",
                      help="a table of further experiments, or YAML with options")  # fmt: skip
    _add_reading(more)
    more.add_argument("--option", action="append", default=[], metavar="COLUMN=VALUE",
                      help="a new value, with everything else; COLUMN=VALUE,COLUMN=VALUE where "
                      "columns go together")  # fmt: skip
    more.add_argument("--range", action="append", default=[], metavar="COLUMN=FROM:TO:STEP",
                      help="new numbers, likewise")  # fmt: skip
    more.add_argument("--column", action="append", default=[], metavar="NAME=VALUE",
                      help="a new factor, and what all experiments so far had")  # fmt: skip
    more.add_argument("--new", action="store_true",
                      help="names spelt almost like known ones are new options")  # fmt: skip

    teach = command(
        "learn",
        learn,
        usage="gollum learn CAMPAIGN [SOURCE …] [--match OURS=THEIRS] [--rank ORDER] "
        "[--ask MODEL --url ADDRESS] [options]",
    )
    teach.add_argument("sources", nargs="*", metavar="SOURCE", help=LEARNED)
    _add_matching(teach)
    _add_reading(teach)
    for name, about in TABLE_OPTIONS.items():
        teach.add_argument(f"--{name}", type=names, action="extend", metavar="COLUMNS", help=about)
    teach.add_argument("--id-column", metavar="COLUMN", help="names the rows of a table")
    teach.add_argument(
        "--forget",
        action="append",
        default=[],
        metavar="SOURCE",
        help="do not learn from it any more",
    )
    teach.add_argument(
        "--rank",
        action="append",
        default=[],
        metavar="COLUMN=BEST > …",
        help='a ranking of options, such as "ligand=XPhos > SPhos, dppf > PPh3"',
    )
    teach.add_argument("--ask", metavar="MODEL", help="what a chat model expects of each option")
    teach.add_argument(
        "--url", help="of its OpenAI-compatible server; its key is in GOLLUM_API_KEY"
    )
    teach.add_argument("--about", type=names, action="extend", metavar="COLUMNS",
                       help="ask about these [one of each factor]")  # fmt: skip
    teach.add_argument("--price", type=float, metavar="DOLLARS", help="of a million tokens")
    teach.add_argument("--confirm", action="store_true", help="what is asked may be sent")
    other = command(
        "rename", rename,
        usage="gollum rename CAMPAIGN COLUMN OLD=NEW …",
    )  # fmt: skip
    other.add_argument("column", metavar="COLUMN")
    other.add_argument("names", nargs="+", metavar="OLD=NEW")

    lock = command(
        "avoid", avoid,
        usage='gollum avoid CAMPAIGN [COLUMN=VALUE | "COLUMN>VALUE" | COLUMN=FROM:TO | ID '
        '| "COLUMN=VALUE and COLUMN=VALUE" …] '
        "[--lift] [--reason TEXT]",
    )  # fmt: skip
    lock.add_argument("what", nargs="*", metavar="WHAT",
                      help="COLUMN=VALUE, of numbers also < <= > >= or FROM:TO; an id")  # fmt: skip
    lock.add_argument("--lift", action="store_true", help="free them again")
    lock.add_argument("--reason", default="", metavar="TEXT")

    command("status", status)
    page = command("report", report)
    page.add_argument("-o", "--output", metavar="FILE", help="[CAMPAIGN with .html]")
    page.add_argument("--quiet", action="store_true")
    again = command("replay", replay)
    again.add_argument("--batch", type=int, metavar="N", help="one of them [all]")
    again.add_argument("--quiet", action="store_true")
    out = command("export", export)
    out.add_argument("-o", "--output", required=True, metavar="FILE",
                     help=".xlsx, .csv or .json; of SURF .tsv, .txt or .csv")  # fmt: skip
    out.add_argument("--what", choices=WHAT, default="results",
                     help="[%(default)s]; surf: results in the Simple User-Friendly Reaction "
                     "Format, surf-next: what is pending; .json: all")  # fmt: skip
    rescue = command("recover", recover)
    rescue.add_argument("--to", required=True, metavar="FILE", help="a new file")


def _add_matching(parser: argparse.ArgumentParser) -> None:
    """Declare which columns of a source are which."""
    parser.add_argument("--match", action="append", default=[], metavar="OURS=THEIRS",
                        help="columns of a source that mean the same as ours")  # fmt: skip


def _add_reading(parser: argparse.ArgumentParser) -> None:
    """Declare how a table is read."""
    parser.add_argument("--sheet", metavar="NAME", help="of a workbook [the first with content]")
    parser.add_argument("--encoding", metavar="NAME", help="of a text, such as mac_roman [UTF-8]")


def init(known: argparse.Namespace) -> int:
    """Begin a campaign, or change what is wanted, the template and the policy of one."""
    from gollum.api import Campaign
    from gollum.data.outcomes import wanted_lines, wanted_words
    from gollum.report.campaign.status import next_step

    console = _console()
    file = Path(known.campaign).expanduser()
    policy = {n: _or_null(getattr(known, n)) for n in POLICY if getattr(known, n) is not None}
    details = {n: _by_name(n, texts) for n in DETAILS if (texts := getattr(known, n)) is not None}
    kind = "minimize" if known.minimize else "maximize" if known.maximize else None
    goal = kind if known.target is None else "target"
    if known.table is None and known.factors is None:
        if known.learn_from and file.exists():
            raise ConfigError(
                f"--learn-from is for a campaign that begins; {file.name} learns by gollum learn "
                f"{quoted(known.campaign)} {' '.join(map(quoted, known.learn_from))}"
            )
        keys = {"model.name" if n == "model" else n: v for n, v in policy.items()} | known.keys
        aims = goal is not None or known.objective or details
        others = (known.template, known.failed_word, known.ordinal, known.price)
        if not file.exists() or not (aims or keys or any(v is not None for v in others)):
            raise ConfigError("give --table FILE or --factors FILE with the possible experiments.")
        told = list[str]()
        with Campaign(file).together() as campaign:
            if known.failed_word is not None:
                given = [word for word in known.failed_word if word != "null"]
                words = campaign.call_failed(given, forget="null" in known.failed_word)
                what = f"{', '.join(words)} as well" if words else "the usual words only"
                told.append(f"a failed experiment says {what}")
            if known.ordinal is not None:
                orders = campaign.order(_orders(known.ordinal))
                told += [f"{c} has the order {' < '.join(order)}" for c, order in orders.items()]
            if known.price is not None:
                every = campaign.price(_pairs("price", known.price))
                told += [f"{len(prices)} options of {c} have prices" for c, prices in every.items()]
            if aims:
                said = known.objective or ()
                told += wanted_lines(
                    campaign.want(*said, goal=goal, target=known.target, **details)
                )
            more = _change(campaign, known.template, keys)
        for line in (*(f"{file}: from now on {what}." for what in told), *more):
            _say(console, line)
        return 0
    if known.objective is None and known.factors is None:
        raise ConfigError("give --objective COLUMN, the column to optimize.")
    names = (
        "also", "inputs", "category", "number", "remark", "id_column", "structures", "cost",
        "template", "reaction", "failed_word", "seed",
    )  # fmt: skip
    options = {n: getattr(known, n) for n in names if getattr(known, n) is not None} | policy
    options |= details
    if known.ordinal is not None:
        options["ordinal"] = _orders(known.ordinal)
    if known.price is not None:
        options["prices"] = _pairs("price", known.price)
    if known.unit is not None:
        options["unit"] = _pairs("unit", known.unit)
    options |= {"keys": {k: v for k, v in known.keys.items() if v is not None}}
    campaign, start = Campaign.create(
        file,
        table=known.table,
        factors=known.factors,
        sheet=known.sheet,
        encoding=known.encoding,
        objective=known.objective or (),
        goal=goal,
        target=known.target,
        **options,
    )
    taken = _learn_first(campaign, known)
    _show_columns(console, start)
    for note in start.notes:
        _say(console, f"Note: {note}")
    results = len(start.recorded.results) if start.recorded else 0
    _say(console, f"{file}: {len(start.candidates):,} possible experiments, {results} results; "
         f"{wanted_words(start.created.outcomes)}.")  # fmt: skip
    for line in _text_lines(start.template, campaign):
        _say(console, line)
    _show_learned(console, campaign, taken)
    _say(console, next_step(campaign.state(), known.campaign))
    return 0


def _learn_first(campaign: Campaign, known: argparse.Namespace) -> list[Taken]:
    """Take over what `init` names; where that fails, nothing is left behind."""
    try:
        return _learn(campaign, argparse.Namespace(match=known.match, sheet=None, encoding=None),
                      known.learn_from, {})  # fmt: skip
    except UserError:
        campaign.path.unlink()
        raise


def suggest(known: argparse.Namespace) -> int:
    """Choose experiments, show them, and write the sheet to fill in."""
    from gollum.api import Campaign
    from gollum.campaign.plates import check_plate
    from gollum.campaign.sheets import head
    from gollum.report.campaign.display import Display, print_suggestions

    campaign, console = Campaign(known.campaign), _console()
    if known.plate is not None:
        check_plate(known.plate, known.n)
    if known.output:
        _keep_results(campaign, campaign.output(known.output, SHEETS))
    with Display(console, known.quiet) as display, _changeable(known.campaign):
        sheet = campaign.suggest(
            known.n,
            fresh=known.fresh,
            at_most=_at_most(known.at_most),
            same=_same(known.same, campaign),
            cost_weight=known.cost_weight,
            apart=known.apart,
            repeats=known.repeats,
            listener=display,
        )
    print_suggestions(console, campaign.state(), sheet)
    if len(sheet) < known.n:
        _say(console, f"Note: only {len(sheet)} experiments meet the request.")
    if known.output:
        state = campaign.state()
        _write_batch(state, sheet, known.output, known.plate)
        heads = [head(state, one.name) for one in state.outcomes if state.known(one) is None]
        what = f"column{'s' * (len(heads) > 1)} {listed(heads)}"
        _say(console, f"{known.output}: fill in the {what}, then "
             f"gollum record {quoted(known.campaign)} {quoted(known.output)}")  # fmt: skip
    return 0


def _write_batch(state: State, sheet: pd.DataFrame, file: str, plate: int | None) -> None:
    """Write the sheet to fill in, and the map of its plate."""
    from gollum.campaign.plates import MAP, lines_of, plate_map, with_wells
    from gollum.campaign.sheets import head, headed, look_of
    from gollum.data.spreadsheets.looks import Look
    from gollum.data.writers import write_sheet

    more = None
    if plate is not None:
        more = {MAP: (plate_map(state, sheet, plate), Look(tall=lines_of(state)))}
        sheet = with_wells(state, sheet, plate)
    told = headed(state, sheet)
    look = look_of(state, told)
    rest = [column for column in told if column not in look.fill_in]
    inputs = 1 + max(rest.index(head(state, str(column))) for column in state.table)
    told = told[[*rest[:inputs], *look.fill_in, *rest[inputs:]]]  # what is printed comes first
    write_sheet(told, file, look, more)


def record(known: argparse.Namespace) -> int:
    """Take in one or more sheets; each wholly or not at all."""
    from gollum.api import Campaign
    from gollum.report.campaign.status import intake_words

    campaign, console = Campaign(known.campaign), _console()
    for results in known.results:
        intake = campaign.record(
            results,
            sheet=known.sheet,
            encoding=known.encoding,
            correct=known.correct,
            new=known.new,
            as_done=known.as_done,
        )
        for note in intake.notes:
            _say(console, f"Note: {note}")
        _say(console, f"{results}: {intake_words(intake)}")
    return 0


def add(known: argparse.Namespace) -> int:
    """Add candidates, options and factors."""
    from gollum.api import Campaign
    from gollum.campaign.adding import numbers_of_range

    campaign, console = Campaign(known.campaign), _console()
    factors = dict(_pair(text, "--column NAME=VALUE") for text in known.column)
    if len(factors) < len(known.column):
        raise ConfigError("--column names a column twice; give each once.")
    columns = [*map(str, campaign.state().table.columns), *factors]
    columns += filter(None, [campaign.state().own_cost])
    options = [_option(text, columns) for text in known.option]
    for text in known.range:
        column, span = _pair(text, "--range COLUMN=FROM:TO:STEP")
        options += [{column: number} for number in numbers_of_range(span)]
    count, notes = campaign.add(
        known.rows,
        options=options,
        columns=factors,
        sheet=known.sheet,
        encoding=known.encoding,
        new=known.new,
    )
    for note in notes:
        _say(console, f"Note: {note}")
    state = campaign.state()
    for name, value in factors.items():
        _say(console, f"column '{name}': {value} in all experiments so far.")
    _say(console, f"{count:,} candidates were added; there are {len(state.table):,} now, "
         f"{int(state.open().sum()):,} of them open.")  # fmt: skip
    for line in _text_lines(state.words(), campaign) if factors else ():
        _say(console, line)
    return 0


def learn(known: argparse.Namespace) -> int:
    """Learn from earlier campaigns, tables and opinions, or no longer."""
    from gollum.api import Campaign
    from gollum.report.campaign.display import Display

    if not (known.sources or known.forget or known.rank or known.ask):
        raise ConfigError("name a campaign or table to learn from, or --forget one.")
    if bool(known.ask) != bool(known.url):
        raise ConfigError("--ask MODEL and --url ADDRESS belong together; give both.")
    campaign, console = Campaign(known.campaign), _console()
    said = {option: getattr(known, option) for option in (*TABLE_OPTIONS, "id_column")}
    options = {option: value for option, value in said.items() if value is not None}
    with campaign.together() as all_or_none:
        for name in known.forget:
            all_or_none.forget(name)
        learned = _learn(all_or_none, known, known.sources, options)
        taken = [all_or_none.rank(text) for text in known.rank]
    for name in known.forget:
        _say(console, f"{known.campaign} does not learn from {name} any more.")
    _show_learned(console, campaign, learned)
    _show_opinions(console, campaign, taken)
    if known.ask:  # others need not wait until somebody agrees and a server has answered
        with Display(console) as display:
            asked = campaign.ask(
                known.ask, known.url, columns=known.about, confirm=known.confirm,
                price_per_million=known.price, listener=display,
            )  # fmt: skip
        _show_opinions(console, campaign, asked)
    return 0


def _show_opinions(console: Console, campaign: Campaign, taken: Sequence[Learned]) -> None:
    """The order of options that a campaign learns from."""
    from gollum.data.pool import cell_text

    for event in taken:
        (cells,) = event.results.columns.values()
        places: dict[float, list[str]] = {}
        for value, option in zip(event.values, cells, strict=True):
            places.setdefault(campaign.state().goal.sign * value, []).append(cell_text(option))
        order = " > ".join(", ".join(places[score]) for score in sorted(places, reverse=True))
        _say(console, f"{campaign.path} learns from {event.name}: {order}.")


def _learn(
    campaign: Campaign,
    known: argparse.Namespace,
    sources: Sequence[str],
    options: Mapping[str, Any],
) -> list[Taken]:
    """Take over sources one after the other."""
    from gollum.campaign.given import Given

    match = dict(_pair(text, "OURS=THEIRS") for text in known.match)
    return [
        campaign.learn_from(
            given.source, objective=given.objective, direction=given.direction, match=match,
            sheet=known.sheet, encoding=known.encoding, **options,
        )
        for given in map(Given.of, sources)
    ]  # fmt: skip


def _show_learned(console: Console, campaign: Campaign, taken: Sequence[Taken]) -> None:
    """What was matched of each source."""
    from rich.table import Table

    from gollum.report.campaign.status import visible

    for event, matches, notes in taken:
        table = Table(box=None, pad_edge=False, header_style="bold")
        for head in ("here", f"in {event.name}", "because"):
            table.add_column(visible(console, head).plain, overflow="fold")
        for found in matches:
            cells = (found.column, found.theirs, found.why)
            table.add_row(*(visible(console, cell) for cell in cells))
        if matches:
            console.print(table)
        for note in notes:
            _say(console, f"Note: {note}")
        _say(console, f"{campaign.path} learns from {len(event.values):,} results of {event.name}.")


def rename(known: argparse.Namespace) -> int:
    """Give options other names."""
    from gollum.api import Campaign
    from gollum.report.campaign.display import Display

    names = dict(_pair(text, "OLD=NEW") for text in known.names)
    if len(names) < len(known.names):
        raise ConfigError("a name is given twice; say once what it is to be.")
    campaign, console = Campaign(known.campaign), _console()
    with Display(console) as display:
        event = campaign.rename(known.column, names, listener=display)
    told = ", ".join(f"'{old}' is '{new}'" for old, new in event.names.items())
    _say(console, f"{event.column}: {told} from now on; sheets with the former names are read.")
    return 0


def avoid(known: argparse.Namespace) -> int:
    """Lock or free candidates; without any, list what is locked."""
    from gollum.api import Campaign
    from gollum.report.campaign.display import Display

    campaign, console = Campaign(known.campaign), _console()
    state = campaign.state()
    if not known.what:
        for phrase in state.avoidances():
            _say(console, phrase)
        if not state.avoided:
            _say(console, "Nothing is avoided.")
        return 0
    groups: dict[str | None, list[str]] = {}
    pairs = [_meeting(word, state) for word in known.what]
    for word, pair in zip(known.what, pairs, strict=True):
        if pair:
            continue
        column, value = _avoided(word, state)
        groups.setdefault(column, []).append(value)
    ids = groups.pop(None, [])
    cells = {str(column): values for column, values in groups.items()}
    with Display(console) as display:
        locked = campaign.avoid(
            ids,
            cells=cells,
            together=list(filter(None, pairs)),
            lift=known.lift,
            reason=known.reason,
            listener=display,
        )
    state = campaign.state()
    away = set(state.table.index[state.locked()])
    if busy := [p.suggestion.run for p in state.pending() if p.suggestion.id in away]:
        _say(console, f"Note: pending among them: {', '.join(busy)}; record them as 'not run', or "
             "replace all that is pending by gollum suggest --fresh.")  # fmt: skip
    _say(console, f"{locked:,} of {len(state.table):,} candidates are avoided now.")
    return 0


def status(known: argparse.Namespace) -> int:
    """Where the campaign stands."""
    from gollum.api import Campaign
    from gollum.report.campaign.status import print_status

    print_status(_console(), Campaign(known.campaign).state(), known.campaign)
    return 0


def report(known: argparse.Namespace) -> int:
    """Write the page."""
    from gollum.api import Campaign
    from gollum.report.campaign.display import Display

    campaign, console = Campaign(known.campaign), _console()
    output = campaign.output(known.output or campaign.path.with_suffix(".html"), PAGES)
    with Display(console, known.quiet) as display:
        campaign.report(output, listener=display)
    _say(console, f"{output} is written; open it in a browser.")
    return 0


def replay(known: argparse.Namespace) -> int:
    """Compute past suggestions again; exit code 1 where other experiments come out."""
    from gollum.api import Campaign
    from gollum.report.campaign.display import Display
    from gollum.report.campaign.status import judgement

    campaign, console = Campaign(known.campaign), _console()
    with Display(console, known.quiet) as display:
        replays = campaign.replay(known.batch, listener=display)
    for one in replays:
        _say(console, judgement(one))
    return 0 if all(one.same_experiments for one in replays) else 1


def export(known: argparse.Namespace) -> int:
    """Write results, suggestions, history, candidates, or everything."""
    from gollum.api import Campaign
    from gollum.campaign.sheets import headed, look_of
    from gollum.data.spreadsheets.looks import Look
    from gollum.data.writers import write_sheet
    from gollum.files import write_text

    campaign = Campaign(known.campaign)
    if known.what in SURF:
        return _export_surf(campaign, known)
    file = campaign.output(known.output, (*SHEETS, ".json"))
    if file.suffix.lower() == ".json":
        try:
            write_text(file, campaign.export_json())
        except OSError as error:
            raise UserError(
                f"{file} can't be written ({error.strerror}); choose another."
            ) from None
        _say(_console(), f"{file}: the whole campaign.")
        return 0
    _keep_results(campaign, file)
    if known.what == "predictions":
        from gollum.report.campaign.display import Display

        with Display(_console()) as display:
            table, cells = campaign.forecast(display)
        told = headed(campaign.state(), table)
        more = {"map": (cells, Look(heat=True))} if len(cells) else None
        write_sheet(told, file, look_of(campaign.state(), told), more)
    else:
        table = campaign.export(known.what)
        write_sheet(headed(campaign.state(), table), file)
    _say(_console(), f"{file}: {len(table)} rows of {known.what}.")
    return 0


def _export_surf(campaign: Campaign, known: argparse.Namespace) -> int:
    """Write reactions in SURF."""
    from gollum.campaign.surf import ENDINGS, FIRST, surf_text
    from gollum.files import write_file

    file = campaign.output(known.output, tuple(ENDINGS))
    if file.exists() and not file.read_bytes().startswith(FIRST[0].encode()):
        raise UserError(f"{file} is there already and no SURF file; choose another name.")
    table, notes = campaign.surf(known.what)
    try:
        write_file(file, surf_text(table, file.suffix.lower()))
    except OSError as error:
        raise UserError(f"{file} can't be written ({error.strerror}); choose another.") from None
    for note in notes:
        _say(_console(), f"Note: {note}")
    _say(_console(), f"{file}: {len(table)} reactions in SURF.")
    return 0


def recover(known: argparse.Namespace) -> int:
    """Save the readable beginning of a damaged file."""
    from gollum.campaign.store import recover as salvage

    count = salvage(Path(known.campaign).expanduser(), Path(known.to).expanduser())
    _say(_console(), f"{known.to}: {count} events were saved; {known.campaign} is as it was.")
    return 0


@contextmanager
def _changeable(campaign: str) -> Iterator[None]:
    """Say how a campaign gets another model if its own can't be loaded."""
    try:
        yield
    except ModelError as error:
        raise ModelError(
            f"{error} `gollum init {quoted(campaign)} --model NAME` gives the campaign another "
            "model."
        ) from error.__cause__


def _keep_results(campaign: Campaign, file: Path) -> None:
    """Refuse to write over a sheet that somebody has filled in, or over something else.

    Raises:
        UserError: it may hold results that are not recorded, or this campaign did not write it.
    """
    from gollum.campaign.intake import read_results
    from gollum.campaign.sheets import sheet_names
    from gollum.data.readers import read_table

    if not file.exists():
        return
    try:
        frame, names = read_table(file), sheet_names(campaign.state())
        here = set(frame.columns)
        if {names.id, names.state, names.results} <= here or {names.run, names.replaced} <= here:
            return  # exported candidates or history, in which nobody fills anything in
        if names.run not in here:
            raise UserError(f"{file} is no sheet of this campaign.")
        news = read_results(campaign.state(), frame, source=None, name=file.name).event
    except UserError:
        raise UserError(f"{file} is there, and not as this campaign wrote it; choose another name "
                        "for the new sheet.") from None  # fmt: skip
    if news is not None:
        command = f"gollum record {quoted(str(campaign.path))} {quoted(str(file))}"
        raise UserError(
            f"{file} holds results that are not recorded; run {command}, or choose another name."
        )


def _change(campaign: Campaign, template: str | None, keys: Mapping[str, Any]) -> list[str]:
    """Give a campaign another template, another policy, or both, and say so."""
    told = list[str]()
    if keys:
        policy = campaign.configure(keys)
        words = [f"surrogate {policy.surrogate}", f"preset {policy.preset}"]
        usual = ("surrogate", "preset", "representations", "kernel", "acquisition", "model.name")
        told_of = [f"{key} {policy.typed([key])[key]}" for key in keys if key not in usual]
        for key in ("representations", "kernel"):
            value = getattr(policy, key)
            words += [f"{key} {value if key == 'kernel' else ', '.join(value)}"] if value else []
        words += [f"acquisition {policy.acquisition}"] if policy.factory is not None else []
        words += [f"model {policy.model.name}"] if policy.has_model else []
        words += told_of
        told.append(f"{campaign.path}: from now on {', '.join(words)}.")
    if template is not None:
        known = campaign.retell(template)
        told += [f"Note: {note}" for note in campaign.lint()]
        told += _text_lines(known, campaign)
    return told


def _with_keys(handler: Callable[..., int]) -> Callable[..., int]:
    """A handler to which further --KEY VALUE pairs are keys of the policy."""

    def run(known: argparse.Namespace, rest: Sequence[str]) -> int:
        known.keys = {key: _or_null(value) for key, value in overrides(rest)}
        return handler(known)

    return run


def _or_null(text: str) -> str | None:
    """What was typed; None for what puts a key back to what the preset says."""
    return None if text == "null" else text


def _complete(name: str, handler: Callable[..., int]) -> Callable[..., int]:
    """A handler that refuses what no option took."""

    def run(known: argparse.Namespace, rest: Sequence[str]) -> int:
        if rest:
            raise ConfigError(f"'{rest[0]}' is not an option of gollum {name}; see --help.")
        return handler(known)

    return run


def _console() -> Console:
    from rich.console import Console

    return Console(markup=False, emoji=False)  # brackets of a name are just that


def _say(console: Console, text: str) -> None:
    from gollum.report.campaign.status import visible

    console.print(visible(console, text), highlight=False, soft_wrap=True)


def _show_columns(console: Console, start: Start) -> None:
    """What each column was taken for."""
    from rich.table import Table

    from gollum.report.campaign.status import visible

    table = Table(box=None, pad_edge=False, header_style="bold")
    for head in ("column", "is", "as", "for example", "because"):
        table.add_column(head, overflow="fold")
    for column in start.columns[:COLUMNS]:
        kind = f"{column.kind} in {column.unit}" if column.unit else column.kind
        shown = [column.name, column.role, kind, column.example, column.reason]
        table.add_row(*(visible(console, cell) for cell in shown))
    console.print(table)
    if len(start.columns) > COLUMNS:
        _say(console, f"… and {len(start.columns) - COLUMNS:,} more columns.")


def _text_lines(template: Any, campaign: Campaign) -> list[str]:
    """The template, and what it makes of an experiment."""
    state = campaign.state()
    reader = "The model reads" if state.reads_texts() else "A language model would read"
    text = template.render_row(state.pool, 0).text
    return [f"Template: {template.source}", f"{reader}, for example: {text}"]


def _meeting(word: str, state: State) -> dict[str, str]:
    """'ligand=XPhos and solvent=DMF' by column; empty for anything else."""
    parts = [_avoided(part, state) for part in _AND.split(word)]
    columns = {column for column, _ in parts if column is not None}
    if len(parts) < 2 or len(columns) < len(parts):
        return {}
    return {str(column): value for column, value in parts}


def _avoided(word: str, state: State) -> tuple[str | None, str]:
    """Column and value, of which '>' and the like are part; or None and an id."""
    columns = list(map(str, state.table.columns))
    found = [(word[: m.start()].strip(), m[0], word[m.end() :]) for m in _SIGN.finditer(word)]
    known = [one for one in found if meant(one[0], columns, []) in columns]
    if not found or (word in state.table.index and not known):
        return None, word
    column, sign, value = (known or found)[0]
    return column, value if sign == "=" else sign + value


def _pair(text: str, usage: str) -> tuple[str, str]:
    column, equals, value = text.partition("=")
    if not equals or not column.strip():
        raise ConfigError(f"write {usage}, not '{text}'.")
    return column.strip(), value.strip()


def _pairs(option: str, texts: Sequence[str]) -> dict[str, str]:
    """'ligand=prices.csv' by column."""
    pairs = [_pair(text, f"--{option} COLUMN={'UNIT' * (option == 'unit') or 'FILE'}")
             for text in texts]  # fmt: skip
    if len(dict(pairs)) < len(pairs):
        raise ConfigError(f"--{option} names a column twice; give each once.")
    return dict(pairs)


def _orders(texts: Sequence[str]) -> dict[str, list[str]]:
    """'stirring=low,medium,high' by column."""
    pairs = [_pair(text, "--ordinal COLUMN=LOW,MEDIUM,HIGH") for text in texts]
    if len(dict(pairs)) < len(pairs):
        raise ConfigError("--ordinal names a column twice; give each one order.")
    return {column: names(order) for column, order in pairs}


def _option(text: str, columns: Sequence[str]) -> dict[str, str]:
    """'ligand=NewPhos,ligand_smiles=CP' by column; a comma inside a value stays one."""
    parts = list[str]()
    for piece in text.split(","):
        column, equals, _ = piece.strip().partition("=")
        if parts and not (equals and meant(column.strip(), columns, []) in columns):
            parts[-1] += f",{piece}"
        else:
            parts.append(piece.strip())
    pairs = [_pair(part, "--option COLUMN=VALUE") for part in parts]
    if len(dict(pairs)) < len(pairs):
        raise ConfigError(f"the option '{text}' names a column twice; give one option for each.")
    return dict(pairs)


def _by_name(detail: str, texts: Sequence[str]) -> Any:
    """'yield=0:100' by name, of all options together; a value alone is that of the first outcome.

    Raises:
        ConfigError: one is said twice, or with a name and without.
    """
    pairs = [text.rpartition("=") for text in texts]
    if [name for name, *_ in pairs] == [""]:
        return pairs[0][2].strip()
    found = {name.strip(): value.strip() for name, _, value in pairs}
    if "" in found or len(found) < len(pairs):
        option = f"--{detail.replace('_', '-')}"
        raise ConfigError(f"say {option} once for each objective, as in {option} yield=…")
    return found


def _at_most(texts: Sequence[str]) -> dict[str, int]:
    """'Ligand=2,Base=3' by column, of all options together."""
    limits = dict[str, int]()
    for text in texts:
        for column, number in _LIMIT.findall(text) if _LIMITS.fullmatch(text) else [("", "0")]:
            most = int(number)
            if most < 1:
                raise ConfigError(f"--at-most is COLUMN=K with K from 1 on, not '{text}'.")
            if limits.setdefault(column.strip(), most) != most:
                raise ConfigError(
                    f"--at-most limits '{column.strip()}' to {limits[column.strip()]} and to "
                    f"{most}; keep one."
                )
    return limits


def _same(texts: Sequence[str], campaign: Campaign) -> list[str]:
    """'Base,Temperature' as columns; one that has a comma in its name stays one."""
    columns = list(map(str, campaign.state().table.columns))
    return [
        name
        for text in texts
        for name in ([text] if meant(text, columns, []) in columns else names(text))
    ]
