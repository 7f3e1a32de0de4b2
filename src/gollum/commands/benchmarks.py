"""Tasks, models, sweeps and comparisons on the command line; each returns an exit code."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from functools import partial
from typing import Any

from gollum.errors import ConfigError


def tasks(known: argparse.Namespace, rest: list[str]) -> int:
    """List the benchmark tasks, show one, or fetch one."""
    from gollum.data.catalog import all_tasks, download, get_task

    if rest:
        raise ConfigError(f"'{rest[0]}' is not an option of gollum tasks.")
    if known.download:
        print(*download(get_task(known.download)), sep="\n")
        return 0
    from rich.console import Console

    from gollum.report.tasks import task_details, task_table

    console = Console(markup=False, emoji=False)  # brackets of a table are just that
    chosen = get_task(known.name) if known.name else None
    console.print(task_details(chosen) if chosen else task_table(all_tasks()))
    return 0


def doctor(known: argparse.Namespace, rest: list[str]) -> int:
    """Tell what is here, and what to do; or remove what can be computed again."""
    if rest:
        raise ConfigError(f"'{rest[0]}' is not an option of gollum doctor.")
    from rich.console import Console

    from gollum.report.doctor import clean, examine, table

    console = Console(markup=False, emoji=False)
    if known.clean:
        console.print(clean(), highlight=False, soft_wrap=True)
        return 0
    findings = examine()
    console.print(table(findings), highlight=False)
    advice = [one for one in findings if one.advice]
    console.print("\nWhat to do:" if advice else "\nAll is well.", highlight=False)
    for one in advice:
        console.print(f"- {one.name}: {one.advice}.", highlight=False, soft_wrap=True)
    return 0


def models(known: argparse.Namespace, rest: list[str]) -> int:
    """List the language models, show one, or fetch one."""
    words = [*known.words, *rest]
    if words[:1] == ["get"]:
        if len(words) != 2:
            raise ConfigError("name one model to fetch: gollum models get NAME.")
        return _get_model(words[1], known.yes)
    if len(words) > 1 or rest:
        raise ConfigError(f"'{words[-1]}' is not an option of gollum models.")
    from rich.console import Console

    from gollum.report.models import model_details, model_table

    console = Console(markup=False, emoji=False)  # brackets of a path are just that
    console.print(model_details(words[0]) if words else model_table())
    return 0


def bench(known: argparse.Namespace, rest: list[str]) -> int:
    """Run what a sweep is missing, and write its records."""
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    from pathlib import Path

    from rich.console import Console

    from gollum.benchmark.sweeps import conduct
    from gollum.benchmark.sweeps.spec import expand, load_spec
    from gollum.report.sweep import SweepDisplay, print_results, state_table

    console = Console(markup=False, emoji=False)  # brackets of a name are just that
    spec = load_spec(Path(known.spec)).overridden(
        known.output, _seeds(known.seeds), dict(overrides(rest))
    )
    # The cluster's machines work elsewhere, so they are given whole paths.
    whole = str(spec.folder.resolve()) if known.engine == "ray" else None
    expansion = expand(spec.overridden(whole, None, {}))
    conduct.check(expansion.cells)

    def say(note: str) -> None:
        console.print(f"Note: {note}", highlight=False, soft_wrap=True)

    for note in expansion.notes:
        say(note)
    if known.retry_failed and not known.dry_run:
        conduct.forget_failures(expansion.cells)
    states = {cell: cell.state() for cell in expansion.cells}
    if known.dry_run:
        console.print(state_table(states))
        return 0
    engine, jobs = _engine(known)
    if kept := conduct.write_spec(spec, expansion.cells):
        say(kept)
    missing = [cell for cell, state in states.items() if state == "missing"]
    try:
        with SweepDisplay(console, states, jobs, known.quiet) as display:
            conduct.run_sweep(missing, engine, display)
    finally:
        print_results(console, *conduct.write_results(spec.folder))
    return 1 if display.failed else 0


def compare(known: argparse.Namespace, rest: list[str]) -> int:
    """Compare methods, on the terminal and as files."""
    if rest:
        raise ConfigError(f"'{rest[0]}' is not an option of gollum compare.")
    from pathlib import Path

    import pandas as pd
    from rich.console import Console

    from gollum.analysis import comparison
    from gollum.benchmark.sweeps.records import read_records
    from gollum.report.comparison.page import Source, write_page
    from gollum.report.comparison.tables import heading, tables, write_csv

    paths = [Path(result).expanduser() for result in known.results]
    records = [read_records(path) for path in paths]
    table, traces = (
        pd.concat([getattr(r, part) for r in records], ignore_index=True)
        for part in ("table", "traces")
    )
    console = Console(markup=False, emoji=False)  # brackets of a name are just that
    with console.status("Comparing…"):
        found = comparison.compare(
            table,
            traces,
            known.metric,
            known.reference,
            joined=_joined(known.join),
            ladder=known.steps,
        )
        if known.csv:
            write_csv(found, Path(known.csv).expanduser())
        if known.html:
            write_page(found, [Source.of(path) for path in paths], Path(known.html).expanduser())
    for part in (*heading(found), *tables(found)):
        console.print(part)
    return 0


def analyze(known: argparse.Namespace, rest: list[str]) -> int:
    """Look into a run, a campaign or records, and write a folder."""
    if rest:
        raise ConfigError(f"'{rest[0]}' is not an option of gollum analyze.")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    from gollum.commands.analysis import analyze_one, analyze_records, kind_of

    kinds = {kind_of(word) for word in known.what}
    if kinds == {"records"}:
        if known.models or known.explain or known.interactive:
            raise ConfigError("--models, --explain and --interactive are for a run or campaign.")
        return analyze_records(known, _joined(known.join))
    if len(known.what) > 1:
        raise ConfigError("only records can be several; analyze one run or campaign at a time.")
    if known.join:
        raise ConfigError("--join is for records; a run has no methods to join.")
    return analyze_one(known, kinds.pop())


def overrides(rest: Sequence[str]) -> list[tuple[str, Any]]:
    """Dotted keys and their values as text, from `--key value` or `--key=value`.

    Raises:
        ConfigError: something is not a key, or a key has no value.
    """
    pairs: list[tuple[str, Any]] = []
    words = list(rest)
    while words:
        word = words.pop(0)
        if not word.startswith("--"):
            raise ConfigError(f"'{word}' is not a key; write --key value.")
        key, equals, text = word[2:].partition("=")
        if not equals:
            if not words or words[0].startswith("--"):
                raise ConfigError(f"--{key} needs a value.")
            text = words.pop(0)
        pairs.append((key, text))
    return pairs


def _get_model(name: str, agreed: bool) -> int:
    from gollum.language.obtain import obtain, plan, verified

    if folder := verified(name):
        print(f"{name} is here already, checked: {folder}")
        return 0
    order = plan(name)
    print(order)
    if not agreed and not _agreed(name):
        print("Nothing was fetched.")
        return 0
    print(f"{name} is here now, checked: {obtain(order)}")
    return 0


def _agreed(name: str) -> bool:
    """Ask whether to go on.

    Raises:
        ConfigError: there is nobody to ask.
    """
    if not sys.stdin.isatty():
        raise ConfigError(
            f"this is no terminal, so nobody can be asked; run `gollum models get {name} --yes`."
        )
    try:
        return input("Go on? [y/N] ").strip().lower() in ("y", "yes")
    except EOFError:
        return False


def _engine(known: argparse.Namespace) -> tuple[Any, int]:
    """What runs the cells, and how many at a time."""
    from gollum.benchmark.sweeps.cluster import cluster_size, on_ray
    from gollum.benchmark.sweeps.engines import on_processes
    from gollum.runtime import usable_processors

    threads = known.threads
    if known.engine == "ray":
        if known.jobs is not None:
            raise ConfigError("--jobs is for --engine local; a cluster runs what fits on it.")
        needs = {"threads": threads or 1, "gpus": known.gpus}
        return partial(on_ray, **needs), cluster_size(**needs)
    if known.gpus:
        raise ConfigError("--gpus is for --engine ray.")
    jobs = known.jobs or max(1, usable_processors() // (threads or 1))
    threads = threads or (1 if jobs > 1 else None)
    return partial(on_processes, jobs=jobs, threads=threads), jobs


def _joined(words: Sequence[str]) -> dict[str, list[str]]:
    """New name → the methods that count as one."""
    groups: dict[str, list[str]] = {}
    for word in words:
        name, _, listed = (part.strip() for part in word.partition("="))
        methods = names(listed)
        if not name or not methods or name in groups:
            raise ConfigError(f"--join '{word}': write a new name and its methods once, such as "
                              "plain=one_hot,morgan.")  # fmt: skip
        groups[name] = methods
    return groups


def names(text: str) -> list[str]:
    """Names between commas."""
    return [name.strip() for name in text.split(",") if name.strip()]


def _seeds(text: str | None) -> tuple[int, ...] | None:
    """The first N seeds, or those that are listed."""
    if text is None:
        return None
    words = text.split(",")
    numbers = tuple(int(word) for word in words if word.strip().isdecimal())
    if len(numbers) < len(words) or numbers == (0,):
        raise ConfigError(f"--seeds '{text}': give how many, from 1 on, or a list such as 0,3,4.")
    return tuple(range(numbers[0])) if len(numbers) == 1 else numbers
