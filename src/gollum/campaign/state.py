"""What is known at some moment: a pure function of the events so far."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, assert_never

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gollum.acquisition.policy import Policy
from gollum.campaign.events import (
    Added,
    Avoided,
    Cells,
    Configured,
    Created,
    Event,
    Learned,
    Met,
    Placed,
    Recorded,
    Renamed,
    Result,
    Retold,
    Span,
    Status,
    Suggested,
    Suggestion,
    Together,
)
from gollum.campaign.prices import COST, total
from gollum.data.extents import Extents
from gollum.data.fronts import desirability
from gollum.data.outcomes import Goal, Outcome, Scale
from gollum.data.pool import Direction, Pool, cell_text
from gollum.errors import ConfigError, DataError
from gollum.text.template import Template

CHANGEABLE = ("failed_as", "goal", "failed_words", "orders", "prices")  # of a beginning, later on
_KINDS = {str: "str", int: "int64", float: "float64"}


@dataclass(frozen=True)
class Logged:
    """An event with its place in the file.

    Attributes:
        sequence: 1, 2, …
        time: when it was written, ISO 8601 in UTC.
        version: of the package that wrote it.
        event: what happened.
        sha256: hash of all that, as the file has it.
    """

    sequence: int
    time: str
    version: str
    event: Event
    sha256: str = ""


@dataclass(frozen=True)
class Planned:
    """A suggestion with where it came from.

    Attributes:
        suggestion: the experiment.
        batch: number of its batch.
    """

    suggestion: Suggestion
    batch: int


@dataclass(frozen=True)
class Measurement:
    """The latest word on one run, with what was said before.

    Attributes:
        result: the latest.
        sequence: of the event that said so.
        time: of that event.
        earlier: what it replaced, oldest first.
    """

    result: Result
    sequence: int
    time: str
    earlier: tuple[Result, ...] = ()


@dataclass(frozen=True, eq=False)
class State:
    """A campaign at one moment.

    Attributes:
        created: how it began, with what a failed experiment counts as now.
        sequence: number of the last event.
        last: its sha256.
        table: N x k inputs; the index holds the ids.
        costs: N costs, or None.
        template: how experiments are put into words.
        plans: run → suggestion, in order, withdrawn ones included.
        withdrawn: runs that were replaced before they had a result.
        measurements: run → what came of it, in order of first arrival.
        avoided: (column, or None for ids and for what meets; value or span) → reason.
        batches: the events that suggested, in order.
        changed: number of the last event that is not a suggestion.
        learned: number of the last event that a model learns from.
        keys: how experiments are chosen: dotted keys of the policy.
        renamed: (column, former name of an option) → its name.
        sources: name → earlier campaign or table that is learned from.
        drawn_from: lists of options that candidates were drawn from, latest last.
        placed: the layout of a plate that was kept last; None where none was.
    """

    created: Created
    sequence: int
    last: str
    table: pd.DataFrame
    costs: NDArray[np.float64] | None
    template: str
    plans: dict[str, Planned] = field(default_factory=dict)
    withdrawn: frozenset[str] = frozenset()
    measurements: dict[str, Measurement] = field(default_factory=dict)
    avoided: dict[tuple[str | None, str | Span | Together], str] = field(default_factory=dict)
    batches: tuple[Suggested, ...] = ()
    changed: int = 1
    learned: int = 1
    keys: dict[str, Any] = field(default_factory=dict)
    renamed: dict[tuple[str, str], str] = field(default_factory=dict)
    sources: dict[str, Learned] = field(default_factory=dict)
    drawn_from: tuple[str, ...] = ()
    placed: Placed | None = None

    @classmethod
    def of(cls, log: Iterable[Logged], table: Callable[[str], pd.DataFrame]) -> State:
        """Fold the events.

        Args:
            log: all events, in order; the first is `Created`.
            table: the table of candidates by its sha256: inputs, and the cost column if there is
                one; its index holds the ids.
        """
        state: State | None = None
        for entry in log:
            state = _begin(entry, table) if state is None else _next(state, entry)
        assert state is not None  # noqa: S101 (the store refuses an empty log)
        return state

    def after(self, entry: Logged) -> State:
        """What would be known after a further event."""
        return _next(self, entry)

    def joined(self, cells: Cells) -> State:
        """What would be known with further candidates."""
        return _joined(self, cells)

    @property
    def own_cost(self) -> str | None:
        """The column in which new candidates bring their cost; None where nobody has to say it."""
        return None if self.created.prices else self.created.cost

    @property
    def batch(self) -> int:
        """Number of the last batch; 0 before the first."""
        return self.batches[-1].batch if self.batches else 0

    def pending(self) -> list[Planned]:
        """Suggestions without a result, in order.

        One whose experiment was done under the name of a withdrawn suggestion has its result.
        """
        answered = {
            m.result.id
            for run, m in self.measurements.items()
            if run in self.withdrawn and m.result.status != "not run"
        }
        return [
            plan
            for run, plan in self.plans.items()
            if run not in self.measurements
            and run not in self.withdrawn
            and plan.suggestion.id not in answered
        ]

    def without_pending(self) -> State:
        """With all that is pending withdrawn."""
        runs = {plan.suggestion.run for plan in self.pending()}
        return replace(self, withdrawn=self.withdrawn | runs)

    def asked(self, run: str) -> str | None:
        """The id that a run, or the one that it repeats, was suggested for; None if it never was.

        Another one may have been done: that is the id of the run's result.
        """
        plan = self.plans.get(run) or self.plans.get(run.rpartition("~")[0])
        return None if plan is None else plan.suggestion.id

    def otherwise(self, result: Result) -> bool:
        """Whether another experiment was done than the run asked for."""
        return self.asked(result.run) not in (None, result.id)

    def with_status(self, status: Status) -> list[Measurement]:
        """The runs whose latest word is this, in order of first arrival."""
        return [m for m in self.measurements.values() if m.result.status == status]

    def done(self) -> list[str]:
        """Ids of the experiments that were run, failed ones included."""
        return [m.result.id for m in self.measurements.values() if m.result.status != "not run"]

    @cached_property
    def outcomes(self) -> tuple[Outcome, ...]:
        """What is modelled, the objective first; of old files the objective alone, as it is."""
        created = self.created
        alone = Outcome(
            name=created.objective, unit=created.units.get(created.objective, ""),
            goal=created.goal, failed_as=created.failed_as,
        )  # fmt: skip
        return created.outcomes or (alone,)

    @property
    def objective(self) -> Outcome:
        """The first outcome."""
        return self.outcomes[0]

    @property
    def goal(self) -> Goal:
        """What is pursued of the first outcome, also where that is no more than a limit."""
        goal = self.objective.goal
        return goal if goal.pursued else goal.alone

    @property
    def pursued(self) -> tuple[Outcome, ...]:
        """The outcomes of which more is always wanted, the first one always among them."""
        return (self.objective, *(o for o in self.outcomes[1:] if o.goal.pursued))

    @property
    def weighed(self) -> bool:
        """Whether several objectives are weighed against each other."""
        return any(one.weight is not None for one in self.pursued)

    @property
    def seeks_front(self) -> bool:
        """Whether several objectives are pursued side by side."""
        return len(self.pursued) > 1 and not self.weighed

    def front_of(self, suggestion: Suggestion) -> bool:
        """Whether the chance of a suggestion is that to join the front.

        While a single objective has results, its chance is that to beat the best in it.
        """
        return self.seeks_front and any(o.name in suggestion.others for o in self.pursued[1:])

    @property
    def limits(self) -> tuple[Outcome, ...]:
        """Further outcomes that are limits."""
        return tuple(o for o in self.outcomes[1:] if o.goal.is_limit)

    def scale(self, outcome: Outcome | None = None) -> Scale:
        """On what an outcome, by default the objective, is learned where nothing is chosen.

        The objective stays as it is where earlier campaigns tell of it, as theirs does.
        """
        wanted = outcome or self.objective
        as_it_is = self.sources and wanted.name == self.objective.name
        return wanted.scale(self.observations(wanted)[1], "identity" if as_it_is else None)

    def known(self, outcome: Outcome) -> NDArray[np.float64] | None:
        """N values of an outcome that the table of candidates has for all of them; or None."""
        if self.costs is None or outcome.name != self.created.cost:
            return None
        return np.where(np.isnan(self.costs), np.nanmedian(self.costs), self.costs)

    def observations(self, outcome: Outcome | None = None) -> tuple[list[str], NDArray[np.float64]]:
        """Ids (replicates repeat) and values that a model learns from, in their unit.

        Failed runs count as `failed_as`, or are left out; so is a measured run without a value of
        the outcome, which is the objective by default.
        """
        wanted = outcome or self.objective
        if (values_of_all := self.known(wanted)) is not None:
            done = self.table.index.isin([m.result.id for m in self.with_status("measured")])
            return self.table.index[done].tolist(), values_of_all[done]
        known = [*self._observed(wanted)]
        values = [value for _, value in known]
        return [result.id for result, _ in known], np.array(values, dtype=np.float64)

    def extents(self, outcome: Outcome | None = None, scale: Scale | None = None) -> Extents | None:
        """What is known of `observations` that are no plain number; None where all are.

        Args:
            outcome: the objective by default.
            scale: on which it is learned; by default what is known is in the outcome's unit.
        """
        wanted = outcome or self.objective
        if self.known(wanted) is not None:
            return None
        observed = [*self._observed(wanted)]
        found = Extents.of([result.extents.get(wanted.name) for result, _ in observed])
        if found is None or scale is None:
            return found
        return found.on(scale, np.array([value for _, value in observed], dtype=np.float64))

    def _observed(self, outcome: Outcome) -> Iterator[tuple[Result, float]]:
        """Results from which a model learns an outcome, and the value of each."""
        for measurement in self.measurements.values():
            result = measurement.result
            value = result.values.get(outcome.name)
            if result.status == "failed":
                value = outcome.failed_as
            if result.status != "not run" and value is not None:
                yield result, value

    def means(self) -> pd.Series:
        """Id → mean of its observations, sorted by id."""
        ids, values = self.observations()
        return pd.Series(values, index=ids, dtype="float64").groupby(level=0).mean()

    def measured(self) -> pd.DataFrame:
        """Id → count, mean and std of the measured values of the objective; as they arrived."""
        results = [m.result for m in self.with_status("measured")]
        values = pd.Series(
            [r.values.get(self.created.objective) for r in results],
            index=[r.id for r in results],
            dtype="float64",
        ).dropna()
        return values.groupby(level=0, sort=False).agg(["count", "mean", "std"])

    @cached_property
    def means_of_all(self) -> pd.DataFrame:
        """Id → mean of the measured values of each outcome; NaN where missing, as they arrived."""
        results = [m.result for m in self.with_status("measured")]
        names = [outcome.name for outcome in self.outcomes]
        values = pd.DataFrame(
            [[r.values.get(name, np.nan) for name in names] for r in results],
            index=[r.id for r in results], columns=names, dtype="float64",
        )  # fmt: skip
        means = values.groupby(level=0, sort=False).mean()
        for outcome in self.outcomes:
            if (known := self.known(outcome)) is not None:
                means[outcome.name] = known[self.table.index.get_indexer(means.index)]
        return means

    def feasible(self, means: pd.DataFrame) -> NDArray[np.bool_]:
        """Which rows of `means_of_all` are known to meet all limits."""
        held = np.ones(len(means), dtype=bool)
        for outcome in self.limits:
            held &= outcome.goal.holds(means[outcome.name].to_numpy(dtype=np.float64))
        return held

    def praised_failure(self) -> str:
        """That a failed experiment counts as better than every result; '' where it doesn't."""
        for outcome in self.pursued:
            goal, failed = outcome.goal, outcome.failed_as
            goal = goal if goal.pursued else goal.alone
            values = self.means_of_all[outcome.name].dropna().to_numpy(dtype=np.float64)
            if failed is None or not len(values):
                continue
            if goal.merit(np.array([failed]))[0] <= goal.merit(values).max():
                continue
            low, high = f"{values.min():.6g}", f"{values.max():.6g}"
            wanted = {"maximize": "more is better", "minimize": "less is better"}
            of = "" if outcome is self.objective else f"{outcome.name} "
            return (
                f"a failed experiment counts as {of}{cell_text(failed)}, better than every result "
                f"so far ({low if low == high else f'{low} to {high}'}), as "
                f"{wanted.get(goal.kind, f'{cell_text(goal.target)} is wanted')}"
            )
        return ""

    def locked(self) -> NDArray[np.bool_]:
        """N flags: candidates with an avoided id or cell."""
        flags = np.zeros(len(self.table), dtype=bool)
        by_column: dict[str | None, set[str]] = {}
        for column, value in self.avoided:
            if isinstance(value, Together):
                flags |= np.logical_and.reduce([self._meets(met) for met in value.cells])
            elif isinstance(value, Span):
                flags |= within(self.table[column].to_numpy(dtype=np.float64), value)
            else:
                by_column.setdefault(column, set()).add(value)
        for column, values in by_column.items():
            codes, levels = pd.factorize(
                self.table.index if column is None else self.table[column], use_na_sentinel=False
            )
            flags |= np.array([cell_text(level) in values for level in levels], dtype=bool)[codes]
        return flags

    def _meets(self, met: Met) -> NDArray[np.bool_]:
        """N flags: candidates with a cell, or a number of a span."""
        cells = self.table[met.column]
        if isinstance(met.value, Span):
            return within(cells.to_numpy(dtype=np.float64), met.value)
        codes, levels = pd.factorize(cells, use_na_sentinel=False)
        return np.array([cell_text(level) == met.value for level in levels], dtype=bool)[codes]

    def avoidances(self) -> list[str]:
        """What is avoided, a phrase each: 'ligand XPhos (out of stock)'."""
        return [
            (str(value) if isinstance(value, Together) else f"{column or 'id'} {value}")
            + (f" ({reason})" if reason else "")
            for (column, value), reason in self.avoided.items()
        ]

    def open(self) -> NDArray[np.bool_]:
        """N flags: candidates that may be suggested: not run, not pending, not avoided."""
        busy = {p.suggestion.id for p in self.pending()}
        busy.update(self.done())
        return ~self.locked() & ~self.table.index.isin(list(busy))

    @cached_property
    def pool(self) -> Pool:
        """The candidates, with the mean of the replicates of each measured one."""
        known = np.array(self.means().reindex(self.table.index), dtype=np.float64)
        direction: Direction = "minimize" if self.objective.goal.sign < 0 else "maximize"
        return Pool(
            self.created.name, self.table, self.created.objective, direction, known,
            orders=self.created.orders,
        )  # fmt: skip

    @cached_property
    def policy(self) -> Policy:
        """How experiments are chosen.

        Raises:
            ConfigError: the file names a surrogate or another part that is not known here.
        """
        try:
            return Policy.of(self.keys)
        except ConfigError as error:
            raise ConfigError(
                f"{self.created.name}: {error} If it is an object of your own, give it to "
                "Campaign(path, …), or install the package that has it."
            ) from None

    def policy_with(self, surrogate: str) -> Policy:
        """The same numbers for another surrogate, in its own kernel."""
        own = {"surrogate": surrogate, "kernel": None, "representations": None}
        return Policy.of({**self.keys, **own})

    @property
    def structures(self) -> tuple[str, ...]:
        """Input columns that hold SMILES."""
        return self.created.structures

    def reads_texts(self) -> bool:
        """Whether the surrogate reads the experiments in words."""
        return self.policy.reads_texts

    def words(self) -> Template:
        """The template."""
        return Template(self.template)

    def worth(self, means: pd.DataFrame) -> NDArray[np.float64]:
        """How good experiments are by rows of `means_of_all`: −∞ where a limit is not met.

        Of several objectives, their weighted desirability; where a front is sought, the first.
        """
        if self.weighed:
            merits = [o.goal.merit(means[o.name].to_numpy(dtype=np.float64)) for o in self.pursued]
            worth = desirability(self.pursued, np.stack(merits, axis=1))
        else:
            worth = self.utility(means[self.objective.name].to_numpy(dtype=np.float64))
        return np.where(self.feasible(means) & ~np.isnan(worth), worth, -np.inf)

    def utility(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """How good objective values are: larger is better; minus the distance from a target."""
        return self.goal.merit(values)


def within(numbers: NDArray[np.float64], span: Span) -> NDArray[np.bool_]:
    """N flags: the number is in the span; rounding errors aside."""
    inside = ~np.isnan(numbers)
    for end, sign in ((span.low, 1), (span.high, -1)):
        if end is not None:
            at = np.isclose(numbers, end, 1e-9, 0)
            inside &= np.where(at, span.closed, sign * (numbers - end) > 0)
    return inside


def _begin(entry: Logged, table: Callable[[str], pd.DataFrame]) -> State:
    created = entry.event
    assert isinstance(created, Created)  # noqa: S101 (likewise)
    inputs = table(created.candidates)
    costs = None
    if created.prices:
        costs = total(created.prices, inputs)
    elif created.cost is not None:
        costs = inputs[created.cost].to_numpy(dtype=np.float64)
        inputs = inputs.drop(columns=created.cost)
    keys = {
        "surrogate": created.surrogate,
        "preset": created.preset,
        "model.name": created.model,
        **({} if created.acquisition is None else {"acquisition": created.acquisition}),
        **created.keys,
    }
    return State(
        created, entry.sequence, entry.sha256, inputs, costs, created.template, keys=keys,
        drawn_from=(created.drawn_from,) if created.drawn_from else (),
    )  # fmt: skip


def _next(state: State, entry: Logged) -> State:
    event, number = entry.event, entry.sequence
    state = replace(state, sequence=number, last=entry.sha256)
    match event:
        case Suggested():
            return _suggested(state, event)
        case Avoided():
            return _avoided(replace(state, changed=number), event)
        case Recorded():
            return _recorded(replace(state, changed=number, learned=number), entry, event)
        case Added():
            return _added(replace(state, changed=number, learned=number), event)
        case Retold():
            return replace(state, changed=number, learned=number, template=event.template)
        case Configured():
            keys = {**state.keys, **event.keys}
            kept = {key: value for key, value in keys.items() if value is not None}
            created = _reset(state.created, event)
            costs = state.costs
            if event.prices is not None:
                costs = total(event.prices, state.table) if event.prices else None
            return replace(
                state, changed=number, learned=number, keys=kept, created=created, costs=costs
            )
        case Renamed():
            return _renamed(replace(state, changed=number, learned=number), event)
        case Learned():
            sources = {n: s for n, s in state.sources.items() if n != event.name}
            if not event.forgotten:
                sources[event.name] = event
            return replace(state, changed=number, learned=number, sources=sources)
        case Placed():
            return replace(state, placed=event)
        case Created():
            raise AssertionError("one campaign begins once")
        case _:
            assert_never(event)


def _reset(created: Created, event: Configured) -> Created:
    """How the campaign began, with what is wanted now."""
    changes: dict[str, Any] = {
        key: value for key in CHANGEABLE if (value := getattr(event, key)) is not None
    }
    if event.prices is not None:
        changes["cost"] = COST if event.prices else None
    outcomes = event.outcomes or created.outcomes
    if outcomes:
        wanted = {key: value for key, value in changes.items() if key in ("goal", "failed_as")}
        outcomes = (outcomes[0].model_copy(update=wanted), *outcomes[1:])
        further = (o.name for o in outcomes[1:] if o.name not in (*created.also, created.cost))
        changes |= {
            "outcomes": outcomes, "goal": outcomes[0].goal, "failed_as": outcomes[0].failed_as,
            "also": (*created.also, *further),
        }  # fmt: skip
    return created.model_copy(update=changes)


def _suggested(state: State, event: Suggested) -> State:
    if event.joined is not None:
        state = state.joined(event.joined)
    _refuse_strangers(state, [s.id for s in event.suggestions])
    state = state.without_pending() if event.fresh else state
    new = {s.run: Planned(s, event.batch) for s in event.suggestions}
    return replace(state, plans=state.plans | new, batches=(*state.batches, event))


def _recorded(state: State, entry: Logged, event: Recorded) -> State:
    if event.joined is not None:
        state = state.joined(event.joined)
    _refuse_strangers(state, [result.id for result in event.results])
    measurements = dict(state.measurements)
    for result in event.results:
        before = measurements.get(result.run)
        earlier = () if before is None else (*before.earlier, before.result)
        measurements[result.run] = Measurement(result, entry.sequence, entry.time, earlier)
    return replace(state, measurements=measurements)


def _refuse_strangers(state: State, ids: Sequence[str]) -> None:
    """Refuse an event that speaks of other candidates than the campaign's.

    Raises:
        DataError: it does.
    """
    if strange := [name for name in ids if name not in state.table.index]:
        raise DataError(
            f"{state.created.name}: event {state.sequence} is about an experiment '{strange[0]}', "
            "which this campaign does not have, as if another campaign had been written into its "
            "file; go back to a copy of the file from before."
        )


def _joined(state: State, cells: Cells) -> State:
    rows = pd.DataFrame(
        {column: list(cells.columns[column]) for column in state.table.columns},
        index=pd.Index(cells.ids, name=state.table.index.name),
    )
    for column in state.table.columns:  # a number stays a number, a text a text
        kind = state.table[column].dtype
        blank = rows[column].isna()
        if not pd.api.types.is_numeric_dtype(kind):
            rows[column] = rows[column].where(~blank, "").astype(kind)
        elif pd.api.types.is_integer_dtype(kind) and _whole(rows[column]):
            rows[column] = rows[column].astype(kind)
        else:
            rows[column] = rows[column].astype("float64")
    costs, every = state.costs, pd.concat([state.table, rows])
    if state.created.prices:
        costs = total(state.created.prices, every)
    elif costs is not None:
        own = cells.columns.get(state.created.cost or "", (None,) * len(cells.ids))
        costs = np.append(costs, [np.nan if c is None else float(c) for c in own])
    return replace(state, table=every, costs=costs)


def _added(state: State, event: Added) -> State:
    size = len(state.table)
    table = state.table.assign(
        **{
            name: pd.Series([value] * size, index=state.table.index, dtype=_KINDS[type(value)])
            for name, value in event.columns.items()
        }
    )
    lists = (event.drawn_from,) if event.drawn_from else ()
    state = replace(state, table=table, drawn_from=state.drawn_from + lists)
    return state if event.joined is None else state.joined(event.joined)


def _renamed(state: State, event: Renamed) -> State:
    column, names = event.column, event.names
    former = {(c, old): names.get(new, new) if c == column else new
              for (c, old), new in state.renamed.items()}  # fmt: skip
    former |= {(column, old): new for old, new in names.items()}
    avoided = {
        (c, _told(value, c == column, column, names)): reason
        for (c, value), reason in state.avoided.items()
    }
    kind = state.table[column].dtype
    cells = state.table[column].map(lambda cell: names.get(cell, cell)).astype(kind)
    orders = {
        c: tuple(names.get(name, name) if c == column else name for name in order)
        for c, order in state.created.orders.items()
    }
    prices = {
        c: {names.get(o, o) if c == column else o: price for o, price in known.items()}
        for c, known in state.created.prices.items()
    }
    return replace(
        state,
        created=state.created.model_copy(update={"orders": orders, "prices": prices}),
        table=state.table.assign(**{column: cells}),
        avoided=avoided,
        renamed={key: new for key, new in former.items() if key[1] != new},
    )


def _told(
    value: str | Span | Together, own: bool, column: str, names: dict[str, str]
) -> str | Span | Together:
    """What is avoided, of its `own` column or not, in the new names of a column."""
    if not isinstance(value, Together):
        return names.get(value, value) if own and isinstance(value, str) else value
    cells = (
        m.model_copy(update={"value": names.get(m.value, m.value)})
        if m.column == column and isinstance(m.value, str)
        else m
        for m in value.cells
    )
    return Together(cells=tuple(cells))


def _whole(column: pd.Series) -> bool:
    return bool(column.notna().all() and (column.astype("float64") % 1 == 0).all())


def _avoided(state: State, event: Avoided) -> State:
    what: tuple[str | Span | Together, ...] = (*event.values, *event.spans, *event.together)
    keys = [(event.column, value) for value in what]
    if event.lifted:
        left = {k: v for k, v in state.avoided.items() if k not in set(keys)}
        return replace(state, avoided=left)
    return replace(state, avoided=state.avoided | dict.fromkeys(keys, event.reason))
