"""The Python interface: a campaign with the verbs of the command line, tables in and out."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import copy
from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

import pandas as pd

from gollum.acquisition.policy import Policy, adopted
from gollum.campaign import adding
from gollum.campaign import begin as beginning
from gollum.campaign.changes import changed
from gollum.campaign.columns import check_columns_of, with_columns
from gollum.campaign.events import (
    Avoided,
    Configured,
    Learned,
    Placed,
    Renamed,
    Retold,
    Source,
)
from gollum.campaign.factors import read_factors
from gollum.campaign.given import Given
from gollum.campaign.intake import Intake, read_results
from gollum.campaign.learning import Match, learn_from
from gollum.campaign.lint import lint, lint_tokens, tokenizer_of
from gollum.campaign.opinions import Opinion, asked, ranking
from gollum.campaign.plates import layout
from gollum.campaign.prices import COST, checked, read_prices
from gollum.campaign.requests import (
    asked_for,
    cell_meant,
    check_cells,
    open_batch,
    span_meant,
    together_meant,
)
from gollum.campaign.sheets import export_frame, export_json, suggestion_sheet
from gollum.campaign.state import Logged, State
from gollum.campaign.store import Moved, Store
from gollum.campaign.surf import What as Surf
from gollum.campaign.surf import surf
from gollum.campaign.wanted import DETAILS, outcomes_of
from gollum.data.naming import meant
from gollum.data.outcomes import Goal, Outcome
from gollum.data.pool import check_columns
from gollum.data.readers import read_frame, read_table
from gollum.data.spreadsheets.numbers import composed
from gollum.data.statuses import check_failed
from gollum.errors import BusyError, ConfigError, DataError, UserError, nearest, quoted
from gollum.files import obstacle, sha256_of
from gollum.language.remote import Endpoint
from gollum.listener import SILENT, Listener
from gollum.notes import Note
from gollum.report import html
from gollum.settings import USUAL_PRESET, flatten
from gollum.surrogates.specs import SurrogateSpec, surrogate_factory, surrogate_names
from gollum.text.template import Template

if TYPE_CHECKING:
    from gollum.analysis.learned.cases import Understanding
    from gollum.benchmark.run import RunResult
    from gollum.benchmark.spec import RunConfig
    from gollum.campaign.insights import Insights
    from gollum.campaign.replay import Replayed

What = Literal["results", "suggestions", "history", "candidates"]

KEYS = ("kernel", "representations")  # of the policy, which `create` takes by name
NAMES = ("also", "inputs", "structures", "id_column", "cost", "template")  # options with columns
LISTS = (".yaml", ".yml")  # endings of lists of options
ATTEMPTS = 5  # of a suggestion that others overtake
MOST = 1000  # experiments in one suggestion


class Campaign:
    """Experiments to optimize, in one file, for as long as it takes.

    Every method reads the file anew, so several people may work on it at once.

    Args:
        path: the file, made by `Campaign.create` or `gollum init`.
        objects: own objects that the file names: 'surrogate', 'acquisition', 'kernel' or
            'representations', as given to `create`.

    Raises:
        UserError: there is no such file, or it is no campaign.
    """

    def __init__(self, path: str | Path, **objects: Any) -> None:
        adopted(objects)
        self._store = Store.open(Path(path))

    @classmethod
    def create(
        cls,
        path: str | Path,
        *,
        objective: str | Outcome | Sequence[str | Outcome] = (),
        table: pd.DataFrame | str | Path | None = None,
        factors: str | Path | None = None,
        sheet: str | None = None,
        encoding: str | None = None,
        goal: str | None = None,
        target: float | None = None,
        by: str = "",
        **options: Any,
    ) -> tuple[Campaign, beginning.Start]:
        """Begin a campaign.

        Args:
            path: the file to make.
            objective: column to optimize, which may be empty or missing so far; or several, each
                with what is wanted of it: 'yield', 'ee:at-least=90', 'cost:minimize'
                (`gollum.data.outcomes.Goal.of`), or an `Outcome`. None where the file of factors
                says it.
            table: possible experiments, one per row: a frame or a file.
            factors: instead of a table, a YAML file with the options of each column, or with what
                the columns of a table are.
            sheet: which sheet of a workbook.
            encoding: of a text file.
            goal: of the objective that says none: 'maximize' (by default), 'minimize' or 'target'.
            target: value to come close to.
            by: who begins it.
            options: unit (column → unit of its numbers), prices (as `price` takes them);
                bounds, transform, reference, weight and failed_as, each as a mapping of names
                of objectives to values, or as the value of the first one (`Outcome`); and further
                keywords of `gollum.campaign.begin.begin`; surrogate, acquisition,
                kernel and representations may be objects, which are recorded by their names.

        Returns:
            The campaign, and how it was understood.

        Raises:
            UserError: something of that can't be used.
        """
        file = Path(path).expanduser()
        if why := obstacle(file):
            raise DataError(f"{file} can't be written ({why}); choose another.")
        if file.exists():
            raise DataError(f"{file} exists already; choose another name, or go on with it.")
        start = cls.draft(
            file.stem, objective=objective, table=table, factors=factors, sheet=sheet,
            encoding=encoding, goal=goal, target=target, **options,
        )  # fmt: skip
        created, recorded = start.created, start.recorded
        if by:
            created = created.model_copy(update={"by": by})
            recorded = recorded and recorded.model_copy(update={"by": by})
        Store.create(file, created, start.candidates, recorded)
        return cls(file), start

    @staticmethod
    def draft(
        name: str,
        *,
        objective: str | Outcome | Sequence[str | Outcome] = (),
        table: pd.DataFrame | str | Path | None = None,
        factors: str | Path | None = None,
        sheet: str | None = None,
        encoding: str | None = None,
        goal: str | None = None,
        target: float | None = None,
        **options: Any,
    ) -> beginning.Start:
        """How a campaign would begin; nothing is written.

        Args:
            name: of the campaign.
            objective: and the others as `create` takes them.
            table: a frame may name the file that it is of by `attrs['source']`.
            factors: likewise.
            sheet: likewise.
            encoding: likewise.
            goal: likewise.
            target: likewise.
            options: likewise.

        Raises:
            UserError: something of that can't be used.
        """
        if (table is None) == (factors is None):
            raise UserError("give either a table or factors (and not both).")
        usual = [*inspect.signature(beginning.begin).parameters, *KEYS, *DETAILS]
        for key in sorted(options.keys() - set(usual)):
            raise UserError(f"a campaign has no option '{key}'.{nearest(key, usual)}")
        options |= {key: _composed(options[key]) for key in NAMES if key in options}
        keys = dict(options.pop("keys", {}))
        keys |= {k: options.pop(k) for k in KEYS if k in options}
        options |= adopted({k: options[k] for k in ("surrogate", "acquisition") if k in options})
        options["keys"] = adopted(keys)
        source = None
        if factors is not None:
            beginning.check_seed(seed := options.get("seed", 0))
            frame = read_factors(Path(factors), seed=seed, sheet=sheet, encoding=encoding)
            source = _source(frame.attrs["file"])
            options = with_columns(options, frame.attrs["columns"])
            options["prices"] = frame.attrs["prices"] | dict(options.get("prices") or {})
            if objective and frame.attrs["outcomes"]:
                raise ConfigError(
                    f"{Path(factors).name} says what is wanted, and so do options; keep one of "
                    "them."
                )
            objective = objective or frame.attrs["outcomes"]
        elif isinstance(table, pd.DataFrame):
            frame = read_frame(table)
            source = table.attrs.get("source")
        else:
            frame = read_table(
                Path(str(table)), sheet=sheet, encoding=encoding, wanted=_first_name(objective)
            )
            source = _source(Path(str(table)))
        details = {key: options.pop(key, None) for key in DETAILS}
        said = None if goal is None and target is None else _goal(goal or "target", target)
        columns = [composed(str(column)) for column in frame.columns]
        outcomes = outcomes_of(objective, said, columns, **details)
        start = beginning.begin(
            frame,
            objective=outcomes[0].name,
            goal=outcomes[0].goal,
            name=name,
            source=source,
            outcomes=outcomes,
            **options,
        )
        begun = start.state()
        _check_slots(begun)
        return replace(start, notes=(*start.notes, *_lint(begun)))

    @property
    def path(self) -> Path:
        """The file."""
        return self._store.path

    def output(self, path: str | Path, endings: Sequence[str]) -> Path:
        """A file that can be written: with one of these endings, and not the campaign itself.

        Raises:
            UserError: it can't.
        """
        file = Path(path).expanduser()
        if file.suffix.lower() not in endings:
            raise UserError(f"{file}: name a file that ends in {' or '.join(endings)}.")
        if why := obstacle(file):
            raise UserError(f"{file} can't be written ({why}); choose another with -o.")
        if file.exists() and file.resolve() == self.path.resolve():
            raise UserError(f"{file} is the campaign itself; choose another name.")
        return file

    def state(self) -> State:
        """Everything that is known now."""
        return self._store.state()

    def log(self) -> list[Logged]:
        """All events, in order."""
        return self._store.log()

    def version(self) -> str:
        """What changes whenever anything does: the sha256 of the last event."""
        return self._store.last()

    def at(self, version: str) -> Campaign:
        """The campaign for somebody who knows this version of it.

        What changes it raises `Moved`, and does nothing, once it is at another one; `suggest`
        goes on, as it replaces nothing that others did, unless it is to be fresh.
        """
        known = copy(self)
        known._store = replace(self._store, expected=version)
        return known

    def signed(self, by: str) -> Campaign:
        """The campaign for somebody by name, which its file keeps with what they do."""
        known = copy(self)
        known._store = replace(self._store, by=by)
        return known

    @contextmanager
    def together(self) -> Iterator[Campaign]:
        """The campaign for several changes, of which all are kept or, after an error, none."""
        with self._store.together() as store:
            known = copy(self)
            known._store = store
            yield known

    def _repr_html_(self) -> str:
        """Goal, counts and the best so far, for notebooks."""
        from html import escape

        from gollum.report.campaign.status import brief

        title, *lines = map(escape, brief(self.state()))
        return f"<p><b>{title}</b><br>{'<br>'.join(lines)}</p>"

    def lint(self) -> list[Note]:
        """What a user should know about the texts."""
        return _lint(self.state())

    def suggest(
        self,
        n: int = 8,
        *,
        fresh: bool = False,
        at_most: Mapping[str, int] | None = None,
        same: Sequence[str] = (),
        cost_weight: float = 0.0,
        apart: int = 0,
        repeats: int = 0,
        policy: Mapping[str, Any] | None = None,
        listener: Listener = SILENT,
    ) -> pd.DataFrame:
        """The next experiments, ranked, which are pending from now on.

        Asked again before anything has changed, the same batch comes back; a larger n extends it.

        Args:
            n: how many.
            fresh: withdraw all that is pending and choose anew.
            at_most: column → how often one value of it may occur.
            same: columns with one value across the batch.
            cost_weight: power of the cost that the expected improvement is divided by.
            apart: in how many columns any two experiments of the batch differ at least.
            repeats: how many may be measured ones again, where noise leaves enough to gain.
            policy: keys to change before choosing and from then on, as `configure` takes them.
            listener: told what it is at.

        Returns:
            n rows, or as many as there can be, with predictions, reasons and empty columns for the
            results.

        Raises:
            UserError: the request can't be met.
            FitError: the model could not be fitted.
        """
        if not 1 <= n <= MOST:
            raise UserError(f"-n is the number of experiments, from 1 to {MOST}, not {n}.")
        expected = self._store.expected if fresh else None  # others' pending would be withdrawn
        for _ in range(ATTEMPTS):
            state = self.state()
            if expected not in (None, state.last):
                raise Moved(
                    "somebody else changed the campaign meanwhile, so nothing was withdrawn; look, "
                    "and ask again."
                )
            known, change = state.last, _configured(state, policy) if policy else None
            if change is not None:
                state = state.after(Logged(state.sequence + 1, "", "", change))
            notes = list[Note]()
            request = asked_for(state, at_most or {}, same, cost_weight, apart, repeats, notes)
            listener.noted(notes)
            already = [] if fresh else open_batch(state)
            if already:
                last = state.batches[-1]
                if last.request != request:
                    raise UserError(
                        f"batch {state.batch} is pending and was chosen under other limits; ask "
                        "again under those, record its results first, or replace it with --fresh."
                    )
                if max(len(already), last.asked) >= n or not state.open().any():
                    return suggestion_sheet(state, already[:n])
            problem = state.praised_failure() if state.with_status("failed") else ""
            if problem:
                raise UserError(
                    f"{self.path.name}: {problem}; give a worse value: gollum init "
                    f"{quoted(str(self.path))} --failed-as VALUE"
                )
            from gollum.campaign.planning import propose

            event = propose(
                state, n, request=request, fresh=fresh, extends=bool(already), listener=listener
            )
            try:
                changes = () if change is None else (change,)
                self._store.append(*changes, event, expected=known)
            except Moved:
                listener.noted(("Somebody else wrote to the campaign meanwhile; choosing again.",))
                continue
            state = self.state()
            batch = [plan for plan in state.pending() if plan.batch == event.batch]
            return suggestion_sheet(state, batch)
        raise BusyError(f"{self.path} changed again and again while choosing; try once more.")

    def record(
        self,
        results: pd.DataFrame | Mapping[str, Any] | Sequence[Mapping[str, Any]] | str | Path,
        *,
        sheet: str | None = None,
        encoding: str | None = None,
        correct: bool = False,
        new: bool = False,
        as_done: bool = False,
        check: bool = False,
    ) -> Intake:
        """Take in results: all or part of a sheet, in any order, also twice.

        Args:
            results: a frame, a file, or rows: a dict, or a list of dicts, column → cell.
            sheet: which sheet of a workbook.
            encoding: of a text file.
            correct: whether a second value of an experiment replaces the first, where a sheet
                does not say which run it belongs to; otherwise both are kept as repeats.
            new: whether names and numbers that look like slips for known ones are new options;
                otherwise they are refused.
            as_done: whether a run that stands beside other inputs than it asked for was done so;
                otherwise such a row is refused.
            check: only say what would be understood; nothing is recorded.

        Returns:
            What was understood.

        Raises:
            DataError: a row can't be understood; nothing is recorded then.
        """
        if isinstance(results, str | Path):
            file, wanted = Path(results), self._store.created().objective
            frame = read_table(file, sheet=sheet, encoding=encoding, wanted=wanted)
            source, name = _source(file), file.name
        else:
            frame, source, name = read_frame(_frame(results)), None, "the table"
        read = partial(
            read_results, frame=frame, source=source, name=name, correct=correct, new_names=new,
            as_done=as_done,
        )  # fmt: skip
        if check:  # nobody has to wait for what is not written
            return read(self.state())
        with self._store.deciding() as ledger:
            intake = read(ledger.state)
            if intake.event is not None:
                ledger.append(intake.event)
        return intake

    def add(
        self,
        rows: pd.DataFrame | str | Path | None = None,
        *,
        options: Sequence[Mapping[str, str]] = (),
        columns: Mapping[str, str] | None = None,
        sheet: str | None = None,
        encoding: str | None = None,
        new: bool = False,
    ) -> tuple[int, list[Note]]:
        """Add candidates, options and factors; all or nothing.

        Args:
            rows: further experiments, a frame or a file with all inputs, which may list options
                as those of `create` do.
            options: column → new value, with those of the columns that go with it; each is combined
                with everything that the other columns hold, other options included.
            columns: new input column → what all experiments so far had there.
            sheet: which sheet of a workbook.
            encoding: of a text file.
            new: whether names that are spelt almost like known ones are new options.

        Returns:
            How many candidates were added, and what was understood in a special way.

        Raises:
            DataError: something can't be understood, or there is nothing new.
        """
        frame, source, name = None, None, "options"
        if isinstance(rows, pd.DataFrame):
            frame, name = read_frame(rows), "the table"
        elif rows is not None:
            file = Path(rows)
            if file.suffix.lower() in LISTS:
                seed = self._store.created().seed
                frame = read_factors(file, seed=seed, sheet=sheet, encoding=encoding)
                check_columns_of(self.state(), frame.attrs["columns"], file.name)
                if frame.attrs["outcomes"]:
                    raise ConfigError(
                        f"{file.name}: what is wanted is said once, by gollum init CAMPAIGN "
                        "--objective …; leave 'outcomes' out."
                    )
            else:
                frame = read_table(file, sheet=sheet, encoding=encoding)
            source, name = _source(file), file.name
        if frame is None and not options and not columns:
            raise DataError("nothing to add was named; give rows, options or columns.")
        notes = list[Note]()
        with self._store.deciding() as ledger:
            before = len(ledger.state.table)
            for event in adding.with_factors(ledger.state, columns or {}):
                ledger.append(event)
            if options:
                state = ledger.state
                known = [*map(str, state.table.columns), state.own_cost or ""]
                options = [{meant(c, known, notes): v for c, v in o.items()} for o in options]
                made = adding.rows_of_options(ledger.state, options)
                found, _ = adding.candidates(ledger.state, made, name="options", new_names=new)
                if found is None:
                    raise DataError("all that these options make are candidates already.")
                ledger.append(found)
            if frame is not None:
                found, told = adding.candidates(
                    ledger.state, frame, name=name, source=source, new_names=new
                )
                notes += told
                if found is not None:
                    ledger.append(found)
            return len(ledger.state.table) - before, notes

    def avoid(
        self,
        ids: Sequence[str] = (),
        *,
        cells: Mapping[str, Sequence[object]] | None = None,
        together: Sequence[Mapping[str, object]] = (),
        lift: bool = False,
        reason: str = "",
        listener: Listener = SILENT,
    ) -> int:
        """Lock candidates, such as what is out of stock, or free them again.

        Args:
            ids: candidates.
            cells: input column → values whose candidates are meant; of numbers also '> 100',
                '<= 40' or '90:120', for candidates to come as well.
            together: columns with the value of each, avoided only where all of them meet:
                [{'ligand': 'XPhos', 'solvent': 'DMF'}].
            lift: free them.
            reason: kept in the file.
            listener: told what was understood in a special way.

        Returns:
            How many candidates are locked now.

        Raises:
            UserError: there is no such column, cell or id, or nothing to lift; nothing is changed.
        """
        groups: dict[str | None, Sequence[object]] = dict((cells or {}).items())
        if ids:
            groups[None] = ids
        notes = list[Note]()
        with self._store.deciding() as ledger:
            table = ledger.state.table
            for name, values in groups.items():
                column = None if name is None else meant(name, map(str, table.columns), notes)
                spans = [span_meant(ledger.state, column, value) for value in values]
                wanted = [
                    span or cell_meant(ledger.state, column, value, notes)
                    for span, value in zip(spans, values, strict=True)
                ]
                check_cells(ledger.state, column, wanted, lift)
                event = Avoided(
                    column=column,
                    values=tuple(v for v in wanted if isinstance(v, str)),
                    spans=tuple(filter(None, spans)),
                    lifted=lift,
                    reason=reason,
                )
                if lift or any(ledger.state.avoided.get((column, v)) != reason for v in wanted):
                    ledger.append(event)
            pairs = tuple(together_meant(ledger.state, one, notes) for one in together)
            check_cells(ledger.state, None, pairs if lift else (), lift)
            if lift or any(ledger.state.avoided.get((None, p)) != reason for p in pairs):
                event = Avoided(values=(), together=pairs, lifted=lift, reason=reason)
                if pairs:
                    ledger.append(event)
        listener.noted(notes)
        return int(self.state().locked().sum())

    def learn_from(
        self,
        source: str | Path | pd.DataFrame,
        *,
        objective: str | None = None,
        direction: str | None = None,
        match: Mapping[str, str] | None = None,
        name: str | None = None,
        sheet: str | None = None,
        encoding: str | None = None,
        **options: Any,
    ) -> tuple[Learned, list[Match], list[Note]]:
        """Learn from the results of an earlier campaign or table from now on.

        Its results are copied into this campaign's file; the other file is not touched, and
        nothing that happens to it later is noticed.

        Args:
            source: a campaign's file, a table, or 'public:TASK' for a benchmark task.
            objective: column of a table with its results; this campaign's objective by default.
            direction: 'maximize' or 'minimize', where that is another outcome than this one's.
            match: column of this campaign → column of the source, where names and cells do not
                tell.
            name: what the source is called; its file's name by default.
            sheet: which sheet of a workbook.
            encoding: of a text file.
            options: how a table is read, as `create` takes them (inputs, also, remark, category,
                number, id_column, structures, failed_as).

        Returns:
            What was taken over, which columns were matched, and what was understood in a special
            way.

        Raises:
            UserError: there is nothing to learn, or nothing joins the two; nothing is changed.
        """
        given = Given(source, objective, direction, sheet, encoding, options)
        theirs, file, start, notes = given.read(self.state())
        called = name or given.name
        if start and start == self._store.beginning:
            raise DataError(f"{called} is this campaign itself; give another one.")
        if self._store.beginning in {known.beginning for known in theirs.sources.values()}:
            raise DataError(f"{called} has learned from this campaign; it can't learn from itself.")
        with self._store.deciding() as ledger:
            event, matches, told = learn_from(
                ledger.state, theirs, name=called, source=file, said=match, beginning=start
            )
            ledger.append(event)
        return event, matches, [*notes, *told]

    def rank(self, text: str) -> Learned:
        """Learn from a ranking of the options of a column, as from a source that may be wrong.

        Args:
            text: best first, such as 'ligand=XPhos > SPhos, dppf > PPh3', with ties between commas.

        Raises:
            UserError: it is no ranking, or names what is not there; nothing is changed.
        """
        return self._take_over(lambda state: [ranking(state, text)])[0]

    def ask(
        self,
        model: str,
        url: str,
        *,
        columns: Sequence[str] | None = None,
        confirm: Callable[[str], bool] | bool = False,
        price_per_million: float | None = None,
        listener: Listener = SILENT,
    ) -> list[Learned]:
        """Learn from what a chat model expects of each option, as from sources that may be wrong.

        The names of all columns and up to some dozens of their options are sent; nothing that was
        measured is. Answers are kept, so that the same question is paid for once.

        Args:
            model: what the server calls it.
            url: an OpenAI-compatible address, such as https://api.example.com/v1; the key is in
                GOLLUM_API_KEY or OPENAI_API_KEY.
            columns: about which; by default one of each factor that varies.
            confirm: whether that may be sent, or who is asked with a sentence that says what goes
                where; the listener by default.
            price_per_million: dollars for a million tokens, for that sentence.
            listener: told what it is at.

        Returns:
            What was taken over, one source for each column.

        Raises:
            UserError: nobody agrees, the server has no answer, or nothing can be learned from it;
                nothing is changed.
        """
        endpoint = Endpoint(
            url, model, attempts=3, price_per_million=price_per_million, options=("--url", "--ask")
        )
        listener.stage(f"Asking {model}")

        def agrees(sentence: str) -> bool:
            if callable(confirm):
                return confirm(sentence)
            return confirm or listener.consents(sentence)

        opinions = asked(
            self.state(), endpoint, confirm=agrees, columns=columns, progress=listener.advanced
        )
        return self._take_over(lambda _: opinions)

    def _take_over(self, opinions: Callable[[State], list[Opinion]]) -> list[Learned]:
        """All of some opinions, or none."""
        with self._store.deciding() as ledger:
            events = [opinion.event(ledger.state) for opinion in opinions(ledger.state)]
            for event in events:
                ledger.append(event)
        return events

    def forget(self, name: str) -> None:
        """Do not learn from a source any more; its results stay in the file.

        Raises:
            UserError: there is no such source.
        """
        with self._store.deciding() as ledger:
            known = [*ledger.state.sources]
            found = meant(name, known, [])
            if found not in known:
                raise UserError(
                    f"{self.path.name} does not learn from '{name}'.{nearest(name, known)}"
                )
            ledger.append(Learned(name=found, forgotten=True))

    def retell(self, template: str) -> Template:
        """Put experiments into other words from now on.

        Raises:
            TemplateError: it can't be read, or names a column that is not there.
        """
        with self._store.deciding() as ledger:
            new = Template(template)
            new.check([str(c) for c in ledger.state.table.columns], self.path.name)
            if template != ledger.state.template:
                ledger.append(Retold(template=template))
        return new

    def configure(self, keys: Mapping[str, Any]) -> Policy:
        """Choose experiments in another way from now on; what was suggested stays as it was.

        Args:
            keys: dotted keys of the policy ('surrogate', 'preset', 'acquisition', 'kernel',
                'model.name', 'lora.rank' …) and their values; None for what the preset says.

        Returns:
            The policy.

        Raises:
            ConfigError: a key or value can't be used; nothing is changed.
        """
        with self._store.deciding() as ledger:
            event = _configured(ledger.state, keys)
            if event is not None:
                ledger.append(event)
            return ledger.state.policy

    def count_failed_as(self, value: float | Mapping[str, float]) -> None:
        """Let failed experiments count as another value from now on, of one outcome or several.

        Raises:
            ConfigError: it is no finite number, or better than every result so far.
        """
        self.want(failed_as=value)

    def call_failed(self, words: Sequence[str], *, forget: bool = False) -> tuple[str, ...]:
        """Let further words say from now on that an experiment failed.

        Args:
            words: in result cells, such as 'n.d.'.
            forget: whether those that were said so far no longer do.

        Returns:
            All of them.

        Raises:
            DataError: one is blank, a number, or has another meaning.
        """
        words = (words,) if isinstance(words, str) else words
        check_failed(words)
        with self._store.deciding() as ledger:
            known = ledger.state.created.failed_words
            every = tuple(dict.fromkeys([*(() if forget else known), *words]))
            if every != known:
                ledger.append(Configured(failed_words=every))
        return every

    def order(self, orders: Mapping[str, Sequence[str]]) -> dict[str, tuple[str, ...]]:
        """Say the order of names from now on.

        Args:
            orders: input column → its names from first to last, future ones included.

        Returns:
            These orders, in the words of the campaign.

        Raises:
            DataError: there is no such column of names, or one of these is missing or there twice;
                nothing is changed.
        """
        notes = list[Note]()
        with self._store.deciding() as ledger:
            table, found = ledger.state.table, dict[str, tuple[str, ...]]()
            for name, order in orders.items():
                column = meant(name, map(str, table.columns), notes)
                check_columns(table, [column], self.path.name)
                former = {old: new for (c, old), new in ledger.state.renamed.items() if c == column}
                today = [former.get(str(name).strip(), name) for name in order]
                found[column] = beginning.order_of(table[column], today, notes, self.path.name)
            before = ledger.state.created.orders
            if before | found != before:
                ledger.append(Configured(orders=before | found))
        return found

    def price(self, prices: Mapping[str, Any]) -> dict[str, dict[str, float]]:
        """Say from now on what options cost; an experiment costs the sum over these columns.

        Args:
            prices: input column → what each of its options costs, as a mapping, or a frame or file
                with options and prices. None takes those of a column back.

        Returns:
            Column → option → price, of all columns.

        Raises:
            UserError: a price can't be read, an option has none, or a column of the table holds
                costs already; nothing is changed.
        """
        with self._store.deciding() as ledger:
            state = ledger.state
            if state.own_cost is not None:
                raise ConfigError(
                    f"{self.path.name}: the column '{state.own_cost}' says what experiments cost, "
                    "so options can't have prices besides."
                )
            columns = list(map(str, state.table.columns))
            said = {meant(column, columns, []): given for column, given in prices.items()}
            read = {c: read_prices(c, one) for c, one in said.items() if one is not None}
            kept = {c: one for c, one in state.created.prices.items() if c not in said}
            every = kept | checked(read, state.table, self.path.name, state.renamed)
            if COST in (*columns, state.created.objective, *state.created.also):
                raise ConfigError(f"{self.path.name}: there is a column '{COST}' already.")
            if every != state.created.prices:
                ledger.append(Configured(prices=every))
        return every

    def aim(self, goal: str, target: float | None = None) -> None:
        """Want something else of the objective from now on.

        Args:
            goal: 'maximize', 'minimize' or 'target'.
            target: value to come close to.

        Raises:
            ConfigError: there is no such goal, how experiments are chosen knows no targets, or a
                failed experiment would count as better than every result.
        """
        self.want(goal=goal, target=target)

    def want(
        self,
        *objectives: str | Outcome,
        goal: str | None = None,
        target: float | None = None,
        **details: Any,
    ) -> tuple[Outcome, ...]:
        """Want something else of outcomes from now on, or model further results.

        Args:
            objectives: 'ee:at-least=95' and the like, of outcomes or results that are kept.
            goal: of the first outcome: 'maximize', 'minimize' or 'target'.
            target: value that it should come close to.
            details: bounds, transform, failed_as, reference and weight, as `create` takes them;
                a reference or weight of None for a name takes it back.

        Returns:
            All outcomes.

        Raises:
            ConfigError: what is said contradicts itself, the results, or how experiments are
                chosen; nothing is changed.
        """
        said = None if goal is None and target is None else _goal(goal or "target", target)
        with self._store.deciding() as ledger:
            event = changed(ledger.state, objectives, said, details)
            if event is not None:
                ledger.append(event)
            return ledger.state.outcomes

    def rename(
        self, column: str, names: Mapping[str, str], *, listener: Listener = SILENT
    ) -> Renamed:
        """Give options of a column other names; old sheets may say the old ones.

        Args:
            column: an input with names.
            names: name so far → new name.
            listener: told what was understood in a special way.

        Returns:
            What was renamed, in the words of the campaign.

        Raises:
            DataError: there is no such column or name, or the new name is taken or blank.
        """
        notes = list[Note]()
        with self._store.deciding() as ledger:
            event = adding.renamed(ledger.state, column, names, notes)
            ledger.append(event)
        listener.noted(notes)
        return event

    def place(
        self,
        wells: Mapping[str, str],
        *,
        size: int = 96,
        controls: Sequence[str] = (),
        order: str = "rows",
    ) -> Placed:
        """Keep which experiment stands in which well of a plate, for all to see.

        Args:
            wells: well → run, such as {'A1': 'b2-1'}.
            size: number of wells: 6, 12, 24, 48, 96 or 384.
            controls: wells that are kept free for controls.
            order: in which wells are read: 'rows', 'columns' or 'snake'.

        Raises:
            ConfigError: there is no such plate, well, order or run, or something has two places.
        """
        with self._store.deciding() as ledger:
            event = layout(ledger.state, size, wells, controls, order)
            before = ledger.state.placed
            if before is None or before.model_copy(update={"by": ""}) != event:
                ledger.append(event)
        return event

    def export(self, what: What = "results") -> pd.DataFrame:
        """A table: 'results', 'suggestions', 'history' or 'candidates'.

        Raises:
            UserError: it is none of these.
        """
        if what not in get_args(What):
            raise UserError(f"export {', '.join(get_args(What))}, not '{what}'.")
        return export_frame(self.state(), what)

    def surf(self, what: Surf = "surf") -> tuple[pd.DataFrame, list[str]]:
        """Results ('surf') or what is pending ('surf-next') in SURF, a common format of reactions.

        Returns:
            The table, and which columns kept their own names though they seem to have a place.

        Raises:
            UserError: the campaign is not about reactions, or there is nothing to export.
        """
        state = self.state()
        return surf(state, self._store.log()[: state.sequence], what)

    def forecast(self, listener: Listener = SILENT) -> tuple[pd.DataFrame, pd.DataFrame]:
        """What the model expects of every candidate, and the map of the two telling columns.

        Args:
            listener: told what it is at.

        Raises:
            UserError: there is no model yet.
            FitError: it could not be fitted.
        """
        from gollum.campaign.forecast import forecast

        return forecast(self.state(), listener)

    def export_json(self) -> str:
        """The whole campaign, every event included."""
        return export_json(self.state(), self._store.log())

    def replay(self, batch: int | None = None, listener: Listener = SILENT) -> list[Replayed]:
        """Compute past suggestions again, each from what was known then.

        Args:
            batch: number of one; all by default.
            listener: told what it is at.

        Raises:
            UserError: there is no such batch.
        """
        from gollum.campaign.replay import replays

        found = replays(self._store.log(), self._store.table, batch, listener)
        if not found:
            which = "no suggestion" if batch is None else f"no batch {batch}"
            raise UserError(f"{self.path} holds {which} so far; `gollum status` shows what it has.")
        return found

    def insights(self, listener: Listener = SILENT) -> Insights | None:
        """What the model has learned; None before there are enough results."""
        from gollum.campaign.insights import insights

        return insights(self.state(), listener)

    def predictions(self, listener: Listener = SILENT) -> pd.DataFrame | None:
        """What is predicted of every candidate; None before there are enough results.

        Returns:
            By id, for each outcome that has a model 'predicted', 'low' and 'high' below its name,
            as suggestions have them.

        Raises:
            FitError: the model could not be fitted.
        """
        from gollum.campaign.forecast import predictions

        return predictions(self.state(), listener)

    def report(self, path: str | Path, listener: Listener = SILENT) -> Path:
        """Write what is known as one HTML page.

        Raises:
            UserError: the file can't be written.
        """
        file = self.output(path, (".html", ".htm"))
        html.write(file, self.page(listener), "-o")
        return file

    def page(self, listener: Listener = SILENT) -> str:
        """What is known as one HTML page."""
        from gollum.campaign.insights import insights
        from gollum.report.campaign.page import render

        state = self.state()
        log = self._store.log()[: state.sequence]
        return render(state, log, insights(state, listener))


def run(
    config: RunConfig | Mapping[str, Any], *, listener: Listener = SILENT, **objects: Any
) -> RunResult:
    """Replay a labelled pool as `gollum run` does, or go on with a run that was interrupted.

    Args:
        config: from `load_config`, or dotted keys with their values.
        listener: told what happens.
        objects: own objects instead of names: 'surrogate', 'acquisition', 'kernel' or
            'representations'; they are recorded by their names.

    Raises:
        UserError: configuration, data or model can't be used, or another run has the folder.
        FitError: a surrogate could not be fitted.
    """
    from gollum.benchmark.config import load_config
    from gollum.benchmark.run import run as replay
    from gollum.benchmark.spec import RunConfig

    given = config.model_dump() if isinstance(config, RunConfig) else config
    keys = {**dict(flatten(given)), **objects}
    return replay(load_config(None, adopted(keys).items()), listener)


def analyze(
    path: str | Path,
    models: Sequence[str] = (),
    *,
    rounds: int = 5,
    explain: Sequence[str] = (),
    umap: bool = True,
    listener: Listener = SILENT,
) -> Understanding:
    """Look into what a model has learned in a run or campaign; tidy tables.

    Args:
        path: folder of a run, or a campaign's file.
        models: surrogates to fit, the most important one first; by default its own and some to
            compare with.
        rounds: how many are looked at.
        explain: ids of experiments whose predictions are taken apart.
        umap: whether to draw maps by UMAP too, where that is installed.
        listener: told what it is at.

    Raises:
        UserError: there is no run or campaign, or there are too few results.
        FitError: the first model could not be fitted.
    """
    from gollum.analysis.learned.study import understand
    from gollum.benchmark.learned import case_of_run
    from gollum.campaign.learned import case_of_campaign

    place = Path(path).expanduser()
    if place.is_dir():
        case = case_of_run(place, models, listener)
    else:
        store = Store.open(place)
        case = case_of_campaign(store.log(), cache(store.table), models, listener)
    return understand(case, rounds=rounds, explain=explain, umap=umap, listener=listener)


def load_task(name: str) -> pd.DataFrame:
    """The table of a benchmark task; `gollum tasks` lists them.

    Args:
        name: such as 'bh-ethyl', which comes with the package.

    Returns:
        N rows by id, with the inputs and, in the last column, the objective. Its `attrs` say
        'objective', 'direction' and 'title'.

    Raises:
        UserError: there is no such task, or it is not here.
    """
    from gollum.data.catalog import get_task

    task = get_task(name)
    pool = task.load()
    table = pool.table.assign(**{pool.objective: pool.values})
    table.attrs = {"objective": pool.objective, "direction": pool.direction, "title": task.title}
    return table


def _lint(state: State) -> list[Note]:
    """What a user should know about the texts of a campaign."""
    about: dict[str, Any] = {"name": state.created.name, "structures": state.created.structures}
    notes = lint(state.words(), state.table, **about)
    tokenizer = tokenizer_of(state.policy.model.name) if state.reads_texts() else None
    if tokenizer is not None:
        notes += lint_tokens(state.words(), state.table, *tokenizer, **about)
    return notes


def _first_name(objective: str | Outcome | Sequence[str | Outcome]) -> str:
    """Name of the first objective, by which the head of a table is found."""
    first = objective if isinstance(objective, str | Outcome) else next(iter(objective), "")
    if isinstance(first, Outcome):
        return first.name
    name = composed(first).partition(":")[0]
    return name.strip()


def _composed(names: Any) -> Any:
    """Names of columns in the Unicode form in which they are compared."""
    if isinstance(names, str):
        return composed(names)
    return names if names is None else [composed(name) for name in names]


def _frame(results: Any) -> pd.DataFrame:
    """A frame as it is, or rows as one.

    Raises:
        DataError: it is neither.
    """
    if isinstance(results, pd.DataFrame):
        return results
    rows = [results] if isinstance(results, Mapping) else results
    if isinstance(rows, Sequence) and rows and all(isinstance(row, Mapping) for row in rows):
        cells = [cell for row in rows for cell in row.values()]
        if all(pd.api.types.is_scalar(cell) for cell in cells):
            return pd.DataFrame(list(rows))
    raise DataError(
        f"results are a DataFrame, a file, or rows as a list of dicts such as "
        f"[{{'ligand': 'XPhos', 'yield': 44}}], not {type(results).__name__}."
    )


def _configured(state: State, keys: Mapping[str, Any]) -> Configured | None:
    """The event that changes keys of a policy; None where nothing changes.

    Raises:
        UserError: a key or value can't be used.
    """
    usual = {"preset": USUAL_PRESET, "model.name": beginning.DEFAULT_MODEL}
    values = {k: usual.get(k) if v is None else v for k, v in adopted(keys).items()}
    if values.get("surrogate", "") is None:
        raise ConfigError("a campaign has a surrogate; name another one.")
    if "surrogate" in values:  # which has representations of its own, and perhaps no kernel
        own = values["surrogate"] in surrogate_names() and isinstance(
            surrogate_factory(values["surrogate"]), SurrogateSpec
        )
        values = (
            dict.fromkeys(("representations",) if own else ("representations", "kernel")) | values
        )
    wanted = {k: v for k, v in {**state.keys, **values}.items() if v is not None}
    policy = beginning.check_policy(wanted, state.outcomes)
    if "structures" in policy.needs and not state.structures:
        raise UserError(
            f"surrogate '{policy.surrogate}' needs columns with SMILES, which this campaign does "
            "not have."
        )
    if "reactions" in policy.needs and state.created.reaction is None:
        raise UserError(
            f"surrogate '{policy.surrogate}' needs reaction SMILES, which this campaign does not "
            "have."
        )
    given = {key: value for key, value in values.items() if value is not None}
    changed = dict.fromkeys(values) | policy.typed(given)
    if "surrogate" in given:
        changed["model.name"] = policy.model.name
    after = {k: v for k, v in {**state.keys, **changed}.items() if v is not None}
    if after == state.keys:
        return None
    _check_slots(replace(state, keys=after))
    return Configured(keys=changed)


def _check_slots(state: State) -> None:
    """Refuse a kernel that names slots which the campaign's features don't have."""
    if "(" in (state.policy.kernel or ""):
        from gollum.campaign.planning import surrogate_of

        surrogate_of(state)


def _goal(kind: str, target: float | None) -> Goal:
    options = ("maximize", "minimize", "target")
    if kind not in options:
        raise UserError(
            f"goal '{kind}' is unknown; use {', '.join(options)}.{nearest(kind, options)}"
        )
    if target is not None and not math.isfinite(target):
        raise UserError(f"a target can't be {target}; give a finite number.")
    return Goal(kind=kind, target=target)


def _source(file: Path) -> Source:
    return Source(name=file.name, sha256=sha256_of(file.expanduser()))
