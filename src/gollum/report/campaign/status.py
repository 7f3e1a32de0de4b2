"""Where a campaign stands, on the terminal; no model is needed."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from rich.console import Console
from rich.table import Table
from rich.text import Text

from gollum.campaign.advice import best, progress
from gollum.campaign.front import Binding, Front, bindings, front_of
from gollum.campaign.sheets import in_unit
from gollum.campaign.state import State
from gollum.data.outcomes import alone_words, wanted_words
from gollum.data.pool import cell_text, telling_columns
from gollum.errors import quoted
from gollum.report.drawing import shortened

if TYPE_CHECKING:
    from gollum.campaign.intake import Intake
    from gollum.campaign.replay import Replayed

PLOT_WIDTH, PLOT_HEIGHT = 60, 9  # characters
LISTED = 24  # pending experiments, and what is avoided
BATCH = 8
RECENT = 8  # results, of which is told what they added
HOPELESS = 0.02  # chance below which an experiment is not done for its result
FORESEEN = 4  # measured suggestions of which a mean says something
WORDS = {  # of representations
    "one_hot": "value", "morgan": "Morgan fingerprint", "fragments": "functional groups",
    "minimol": "MiniMol", "text": "text", "text_levels": "words",
}  # fmt: skip
Write = Callable[[float | None], str]


def print_status(console: Console, state: State, file: str | None = None) -> None:
    """Print counts, the best so far, progress, what is pending and what to do next.

    Args:
        console: where to; without a terminal, plain lines.
        state: the campaign.
        file: its file as the user wrote it, for the commands to type.
    """

    def say(text: str = "") -> None:
        console.print(visible(console, text), soft_wrap=True)

    created = state.created
    table = progress(state)
    write = written_like(table["value"])
    say(f"{created.name}: {wanted(state)}")
    say(counts(state))
    for line in sources(state):
        say(line)
    say()
    for line in _best(state, write):
        say(line)
    for line in outlook(state):
        say(line)
    values, reached = (table[c].to_numpy(dtype=np.float64) for c in ("value", "best"))
    if np.isfinite(values).sum() > 1:
        say()
        say(f"Best {created.objective} so far, after each result:")
        unicode = console.encoding.lower().startswith("utf")
        for line in text_plot(values, reached, write, unicode=unicode):
            say(line)
    _print_pending(console, say, state)
    if avoided := state.avoidances():
        say()
        more = f" and {len(avoided) - LISTED} more" * (len(avoided) > LISTED)
        say(f"Avoided: {'; '.join(avoided[:LISTED])}{more}")
    say()
    say(next_step(state, file or f"{created.name}.gollum"))


def brief(state: State) -> list[str]:
    """A campaign in a few lines: what is wanted, how much is known, the best so far."""
    write = written_like(progress(state)["value"])
    return [f"{state.created.name}: {wanted(state)}", counts(state), *_best(state, write)]


def wanted(state: State) -> str:
    """The goal in words."""
    return wanted_words(state.outcomes)


def counts(state: State) -> str:
    """How many candidates and results there are, a line."""
    measured = state.with_status("measured")
    distinct = len({m.result.id for m in measured})
    repeats = f" ({distinct} different)" if distinct < len(measured) else ""
    parts = [f"{len(state.table)} candidates", f"{len(measured)} measured{repeats}"]
    others = {
        "failed": len(state.with_status("failed")),
        "not run": len(state.with_status("not run")),
        "pending": len(state.pending()),
        "avoided": int(state.locked().sum()),
    }
    parts += [f"{count} {name}" for name, count in others.items() if count]
    return f"{', '.join(parts)}; {int(state.open().sum())} open."


def sources(state: State) -> list[str]:
    """What is learned from besides the results, and how much that counted in the last batch."""
    if not state.sources:
        return []
    trust = state.batches[-1].trust if state.batches else {}
    lines = []
    for name, source in state.sources.items():
        columns = ", ".join(
            ours if ours == theirs else f"{ours} (there {theirs})"
            for ours, theirs in source.matched.items()
        )
        what = "options" if source.opinion else "results"
        told = f"Learns from {name}: {len(source.values)} {what}, joined by {columns or 'words'}"
        lines.append(f"{told}.")
    lines += [
        f"In batch {state.batch} what {name} says counted {mean:.2f} ({low:.2f} to {high:.2f}), "
        "where 1 is as it stands and 0 not at all."
        for name, (mean, low, high) in [*trust.items()][:1]
    ]
    known = foreseen(state)
    if len(known) >= FORESEEN:
        write, off = written_like(known["observed"]), (known.inherited - known.observed).abs()
        lines.append(
            f"Of {len(known)} experiments earlier results alone let expect "
            f"{write(known.inherited.mean())} on average, and {write(known.observed.mean())} came "
            f"out; each was off by {write(off.mean())}."
        )
    return lines


def foreseen(state: State) -> pd.DataFrame:
    """Measured suggestions with what earlier results alone let expect of them.

    Returns:
        Columns inherited and observed, by run.
    """
    found = {
        run: (state.plans[run].suggestion.inherited, m.result.values[state.created.objective])
        for run, m in state.measurements.items()
        if run in state.plans
        and state.plans[run].suggestion.inherited is not None
        and state.created.objective in m.result.values
        and not state.otherwise(m.result)
    }
    columns = ["inherited", "observed"]
    return pd.DataFrame.from_dict(found, "index", columns=columns, dtype="float64")


def next_step(state: State, file: str) -> str:
    """What to do now, with the command to type."""
    name = quoted(file)
    suggest = f"gollum suggest {name} -n {state.batches[-1].asked if state.batches else BATCH}"
    pending = len(state.pending())
    if pending:
        runs = "the experiment" if pending == 1 else f"the {pending} experiments"
        return f"Next: do {runs} and record what came out:  gollum record {name} next.xlsx"
    if not state.open().any():
        return (
            f"Next: no candidate is left; see what was learned:  gollum report {name}, or add some."
        )
    return f"Next: ask what to do:  {suggest} -o next.xlsx"


def outlook(state: State) -> list[str]:
    """Whether to go on, as it was told with the last batch, and how many of it have no chance."""
    last = state.batches[-1] if state.batches else None
    if last is None or not last.advice:
        return []
    if state.learned > last.basis:
        return [f"Before the last results: {last.advice}"]
    hopeless = sum(s.chance is not None and s.chance < HOPELESS for s in last.suggestions)
    if 2 * hopeless < len(last.suggestions):
        return [last.advice]
    success = "join the front" if any(map(state.front_of, last.suggestions)) else "beat the best"
    return [
        last.advice,
        f"{hopeless} of these {len(last.suggestions)} {success} with less than "
        f"{100 * HOPELESS:.0f} %: they are there for what the model learns from them; a smaller -n "
        "leaves some of them out.",
    ]


def conditions(state: State, candidate: str, columns: Iterable[str]) -> list[tuple[str, str]]:
    """Columns and cells of a candidate, as text with their unit; blank ones are left out."""
    row, units = state.table.loc[candidate], state.created.units
    return [(c, in_unit(text, units.get(c))) for c in columns if (text := cell_text(row[c]))]


def telling(state: State) -> list[str]:
    """Input columns to know an experiment by: those that differ, structures only without names."""
    return telling_columns(state.table, state.created.structures)


def written_like(values: Iterable[float]) -> Write:
    """How to write numbers with as many decimals as tell these values apart; a dash for none."""
    finite = [v for v in values if math.isfinite(v)]
    spread = (max(finite) - min(finite) or max(map(abs, finite))) if finite else 0.0
    largest = max(map(abs, finite), default=0.0)
    plain = spread == 0 or (spread >= 1e-4 and largest < 1e7)
    decimals = max(0, 2 - math.floor(math.log10(spread))) if spread else 0

    def write(value: float | None) -> str:
        if value is None or not math.isfinite(value):
            return "–"
        return f"{value:.{decimals}f}" if plain else f"{value:.6g}"

    return write


def text_plot(
    values: Sequence[float] | np.ndarray,
    best: Sequence[float] | np.ndarray,
    write: Write,
    *,
    unicode: bool,
) -> list[str]:
    """Lines of text that show results as dots and the best so far as a line.

    Args:
        values: n results; NaN where there is none.
        best: the best so far after each.
        write: how numbers are written.
        unicode: whether the terminal knows more than ASCII.
    """
    dot, line, edge, corner, floor = "•━┤└─" if unicode else "o=|+-"
    count = len(values)
    step = max(1, min(4, PLOT_WIDTH // count))
    width = min(PLOT_WIDTH, step * count)
    everything = np.concatenate([values, best])
    low, high = float(np.nanmin(everything)), float(np.nanmax(everything))
    height = PLOT_HEIGHT if high > low else 1
    grid = [[" "] * width for _ in range(height)]

    def place(value: float) -> int:
        return 0 if height == 1 else round((value - low) / (high - low) * (height - 1))

    for x in range(width):
        reached = best[x * count // width]
        if np.isfinite(reached):
            grid[place(reached)][x] = line
    for number, value in enumerate(values):
        if np.isfinite(value):
            grid[place(value)][number * width // count] = dot
    labels = {height - 1: write(high), 0: write(low)}
    margin = max(map(len, labels.values()))
    rows = [
        f"  {labels.get(y, ''):>{margin}} {edge}{''.join(grid[y]).rstrip()}"
        for y in reversed(range(height))
    ]
    ends = "1" + f"{count}".rjust(width - 1) if width > len(str(count)) else ""
    return [*rows, f"  {'':>{margin}} {corner}{floor * width}", f"  {'':>{margin}}  {ends}"]


def _best(state: State, write: Write) -> list[str]:
    if (front := front_of(state)) is not None:
        return [*front_words(front), *all_limit_words(state, write)]
    found = best(state)
    if found is None and not len(state.means_of_all):
        return ["No result yet."]
    told = all_limit_words(state, write)
    if found is None:
        return ["No experiment is known to meet all limits so far.", *told]
    often = f", mean of {found.count} measurements" if found.count > 1 else ""
    if found.desirability is not None:
        often += f", desirability {found.desirability:.2f}"
    lines = [f"Best so far: {state.created.objective} {write(found.value)} ({found.id}{often})"]
    further = state.means_of_all.loc[found.id].iloc[1:].dropna()
    cells = [
        *((str(name), f"{value:.6g}") for name, value in further.items()),
        *conditions(state, found.id, telling(state)),
    ]
    margin = max((len(column) for column, _ in cells), default=0)
    return lines + [f"  {column:<{margin}}  {cell}" for column, cell in cells] + told


def front_words(front: Front) -> list[str]:
    """The experiments on the front, and the hypervolume."""
    members = front.members
    if not len(members):
        return ["No experiment is known to meet all limits so far."]
    names = [outcome.name for outcome in front.outcomes]
    write = {name: written_like(front.table[name]) for name in names}
    lines = [
        f"On the front: {len(members)} of {len(front.table)} experiments with all of "
        f"{', '.join(names)}."
    ]
    for candidate, row in members.head(LISTED).iterrows():
        lines.append(f"  {candidate}: " + ", ".join(f"{n} {write[n](row[n])}" for n in names))
    if len(members) > LISTED:
        lines.append(f"  … and {len(members) - LISTED} more")
    return [*lines, *volume_words(front)]


def volume_words(front: Front) -> list[str]:
    """The hypervolume, and what the last results added to it."""
    names = [outcome.name for outcome in front.outcomes]
    write = {name: written_like(front.table[name]) for name in names}
    point = ", ".join(f"{n} {write[n](v)}" for n, v in zip(names, front.reference, strict=True))
    volume = front.table["volume"].to_numpy(dtype=np.float64)
    lines = [
        f"Hypervolume: {100 * volume[-1]:.0f} % of what an experiment would have that is as good "
        f"in all of them as the best so far is in each, from {point} on."
    ]
    if len(volume) > RECENT and volume[-1] > 0:
        grown = 1.0 - volume[-1 - RECENT] / volume[-1]
        lines.append(f"The last {RECENT} results made {100 * grown:.0f} % of it.")
    return lines


def all_limit_words(state: State, write: Write) -> list[str]:
    """What each limit costs; of one that nothing is pursued beside, what is pursued instead."""
    told = [limit_words(binding, state, write) for binding in bindings(state)]
    if alone := alone_words(state.outcomes):
        first = state.objective
        values = state.means_of_all[first.name].dropna().to_numpy(dtype=np.float64)
        met = f"{int(first.goal.holds(values).sum())} of {len(values)} meet it"
        what = f"the campaign goes on to {alone}, as there is no objective beside the limit"
        told.insert(0, f"{first.name} {first.goal.words()}: {met}; {what}.")
    return told


def limit_words(binding: Binding, state: State, write: Write) -> str:
    """What a limit costs, a sentence."""
    outcome, gain = binding.outcome, binding.gain
    met = f"{outcome.name} {outcome.goal.words()}: {binding.met} of {binding.known} meet it"
    if not binding.known or math.isnan(gain):
        return f"{met}."
    if math.isinf(gain):
        return f"{met}, none of them within the other limits."
    if gain <= 0:
        return f"{met}; so far it costs nothing."
    if state.seeks_front:
        return f"{met}; without it, the hypervolume would be {100 * gain:.0f} % larger."
    if state.weighed:
        return f"{met}; without it, the best desirability would be {gain:.2g} higher."
    what = f"the best {state.created.objective} would be {write(gain)} better"
    return f"{met}; without it, {what}."


def _print_pending(console: Console, say: Callable[[str], None], state: State) -> None:
    pending = state.pending()
    if not pending:
        return
    columns = telling(state)
    say("")
    say(f"Pending ({len(pending)}):")
    rows = [
        (plan.suggestion.run, plan.suggestion.id, conditions(state, plan.suggestion.id, columns))
        for plan in pending[:LISTED]
    ]
    if console.is_terminal:
        table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False)
        for name in ("run", "id", *columns):
            table.add_column(visible(console, name), overflow="fold")
        for run, candidate, cells in rows:
            texts = dict(cells)
            shown = (run, candidate, *(shortened(texts.get(c, "")) for c in columns))
            table.add_row(*(visible(console, text) for text in shown))
        console.print(table)
    else:
        for run, candidate, cells in rows:
            what = ", ".join(f"{column} {shortened(cell)}" for column, cell in cells)
            say(f"  {run} ({candidate}): {what}")
    if len(pending) > LISTED:
        say(f"  … and {len(pending) - LISTED} more")


def visible(console: Console, text: str) -> Text:
    """What the terminal can show of a text, as it stands: no markup, no control characters."""
    visible = "".join(c if c.isprintable() else " " for c in text)
    return Text(visible.encode(console.encoding, "replace").decode(console.encoding))


def slot_words(slot: str) -> dict[str, str]:
    """Column and representation of a slot as people read them."""
    name, _, column = slot.partition(":")
    return {"column": column or "whole row", "representation": WORDS.get(name, name)}


def intake_words(intake: Intake) -> str:
    """What a sheet brought, in numbers."""
    counts = {
        "measured": intake.measured,
        "failed": intake.failed,
        "not run": intake.not_run,
        "of them corrections": intake.corrected,
        "of them repeats": intake.repeated,
        "of them done differently": intake.otherwise,
        "known already": intake.known,
        "new candidates": intake.joined,
        "without a result": intake.waiting,
    }
    parts = [f"{count} {what}" for what, count in counts.items() if count]
    parts[:0] = [f"{c} added to {n} run{'s' * (n > 1)}" for c, n in intake.added.items()]
    told = ", ".join(parts)
    return (told or "no rows with results") + "."


def judgement(one: Replayed) -> str:
    """Whether a suggestion that was computed again agrees, and what changed since, a sentence."""
    head = f"batch {one.batch} ({len(one.event.suggestions)} experiments): "
    if one.agrees:
        return head + "agrees."
    if one.same_experiments:
        head += "the same experiments, other predictions"
    else:
        then = {s.id for s in one.event.suggestions}
        common = len(then & {s.id for s in one.again.suggestions})
        head += f"differs: {common} experiments in common"
    changes = "; ".join(f"{k} was {a or 'unknown'}, is {b}" for k, (a, b) in one.changed.items())
    return f"{head}. {'Changed since: ' + changes + '.' if changes else 'Nothing else changed.'}"
