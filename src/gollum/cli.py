"""Command line of the package; each command imports what it needs when it runs."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from functools import partial
from typing import Any

from gollum import __version__
from gollum.errors import ConfigError, GollumError

INTERRUPTED = 130
DEMO = {
    "data.task": "bh-ethyl",
    "surrogate": "pllm_phi",
    "preset": "paper",
    "model.name": "minilm",
    "model.precision": "auto",
    "n_iters": 12,
    "output": "runs/demo",
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; returns the exit code.

    0 done, 2 the user's mistake (one sentence on standard error), 130 interrupted, 1 a defect
    or a failed fit.
    """
    try:
        parser = _parser()
        known, rest = parser.parse_known_args(arguments)
        if known.command is None:
            parser.print_help()
            return 0
        code: int = known.handler(known, rest)
        return code
    except GollumError as error:
        print(f"gollum: {' '.join(str(error).split())}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("gollum: interrupted; a run goes on with the same command.", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


class _Parser(argparse.ArgumentParser):
    def __init__(self, **options: Any) -> None:
        super().__init__(**options, allow_abbrev=False)

    def error(self, message: str) -> Any:
        raise ConfigError(f"{message}; see {self.prog} --help.")


def _parser() -> _Parser:
    parser = _Parser(prog="gollum", description="Optimize experiments with language models.")
    parser.add_argument("--version", action="version", version=f"gollum {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", parser_class=_Parser)
    run = commands.add_parser("run", help="replay a labelled pool", add_help=False)
    run.set_defaults(handler=_run)
    run.add_argument("-h", "--help", action="store_true")
    run.add_argument("--config", metavar="FILE")
    run.add_argument("--print_config", action="store_true")
    run.add_argument("--quiet", action="store_true")
    demo = commands.add_parser("demo", help="a first optimization, a few minutes", add_help=False)
    demo.set_defaults(handler=_demo)
    demo.add_argument("-h", "--help", action="store_true")
    demo.add_argument("--quiet", action="store_true")
    tasks = commands.add_parser("tasks", help="list the benchmark tasks, or fetch one")
    tasks.set_defaults(handler=_tasks)
    tasks.add_argument("name", nargs="?", help="show one task in full")
    tasks.add_argument("--download", metavar="NAME", help="fetch a task that is not here")
    models = commands.add_parser(
        "models",
        help="list the language models, or fetch one",
        usage="gollum models [NAME | get NAME [--yes]]",
    )
    models.set_defaults(handler=_models)
    models.add_argument("words", nargs="*", metavar="NAME", help="show one model in full")
    models.add_argument("--yes", action="store_true", help="fetch without asking")
    bench = commands.add_parser(
        "bench",
        help="run a sweep of benchmark cells",
        usage="gollum bench SPEC [options] [--KEY VALUE …]",
        epilog="Any other --KEY VALUE sets a key of all runs; `gollum run --help` lists them.",
    )
    bench.set_defaults(handler=_bench)
    bench.add_argument("spec", metavar="SPEC", help="YAML file; see benchmarks/specs")
    bench.add_argument("--output", metavar="FOLDER", help="instead of the spec's")
    bench.add_argument("--seeds", metavar="N", help="how many, or which (0,3,4)")
    bench.add_argument("--engine", choices=("local", "ray"), default="local")
    bench.add_argument("--jobs", type=_number, metavar="N", help="processes [one per processor]")
    bench.add_argument(
        "--threads", type=_number, metavar="N", help="of each process [1 if there are several]"
    )
    bench.add_argument(
        "--gpus", type=float, default=0.0, metavar="N", help="of each cell, on a cluster [0]"
    )
    bench.add_argument("--dry-run", action="store_true", help="list what is done and missing")
    bench.add_argument("--retry-failed", action="store_true", help="run failed cells again")
    bench.add_argument("--quiet", action="store_true")
    compare = commands.add_parser("compare", help="compare methods from benchmark records")
    compare.set_defaults(handler=_compare)
    compare.add_argument(
        "results", nargs="+", metavar="RESULTS", help="files of records, or folders of sweeps"
    )
    compare.add_argument(
        "--reference", metavar="METHOD", help="whom to pair with [the best baseline]"
    )
    compare.add_argument(
        "--metric", default="top5_coverage", help="column of the records [%(default)s]"
    )
    compare.add_argument("--csv", metavar="FOLDER", help="write the tables there")
    compare.add_argument("--html", metavar="FILE", help="write a page with pictures")
    return parser


def _run(known: argparse.Namespace, rest: list[str]) -> int:
    from gollum.benchmark.config import load_config

    if known.help:
        _print_keys("gollum run --config FILE [--KEY VALUE …] [--print_config] [--quiet]")
        return 0
    config = load_config(known.config, _overrides(rest))
    if known.print_config:
        print(config.to_yaml(), end="")
        return 0
    return _execute(config, known.quiet)


def _demo(known: argparse.Namespace, rest: list[str]) -> int:
    from gollum.benchmark.config import load_config

    if known.help:
        _print_keys("gollum demo [--KEY VALUE …] [--quiet]")
        return 0
    return _execute(load_config(None, _overrides(rest), DEMO.items()), known.quiet)


def _execute(config: Any, quiet: bool) -> int:
    """Run with a live display, draw the picture and print the table."""
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    from rich.console import Console

    from gollum.analysis.metrics import random_search
    from gollum.benchmark.loggers import with_logger
    from gollum.benchmark.run import run
    from gollum.report.console import ConsoleWatcher, print_result
    from gollum.report.progress import plot_progress

    console = Console(markup=False, emoji=False)  # brackets of a table are just that
    with ConsoleWatcher(console, quiet) as watcher:
        result = run(config, with_logger(config, watcher))
    pool, n = result.problem.pool, config.n_init
    baseline = random_search(
        pool.utility, result.order[:n], len(result.order) - n, seed=config.seed
    )
    plot_progress(
        result.trace,
        pool.sign() * baseline.best,
        baseline.coverage,
        n_init=n,
        objective=pool.objective,
        unit=result.problem.unit or None,
        direction=pool.direction,
        title=f"{result.problem.title} — {config.surrogate}",
        path=result.folder.picture,
    )
    print_result(console, result, float(baseline.coverage[:, -1].mean()))
    return 0


def _overrides(rest: Sequence[str]) -> list[tuple[str, Any]]:
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


def _print_keys(usage: str) -> None:
    from gollum.benchmark.config import keys

    print(f"usage: {usage}\n\nKeys, with the default of the paper preset:")
    for key, (about, default) in keys().items():
        shown = "" if default is None else f" [{default}]"
        print(f"  --{key:<28} {about}{shown}")


def _tasks(known: argparse.Namespace, rest: list[str]) -> int:
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


def _models(known: argparse.Namespace, rest: list[str]) -> int:
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


def _bench(known: argparse.Namespace, rest: list[str]) -> int:
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    from pathlib import Path

    from rich.console import Console

    from gollum.benchmark.sweeps import conduct
    from gollum.benchmark.sweeps.spec import expand, load_spec
    from gollum.report.sweep import SweepDisplay, print_results, state_table

    console = Console(markup=False, emoji=False)  # brackets of a name are just that
    spec = load_spec(Path(known.spec)).overridden(
        known.output, _seeds(known.seeds), dict(_overrides(rest))
    )
    if known.engine == "ray":  # the cluster's machines work elsewhere
        spec = spec.overridden(str(spec.folder.resolve()), None, {})
    expansion = expand(spec)
    conduct.check(expansion.cells)
    for note in expansion.notes:
        console.print(f"Note: {note}", highlight=False, soft_wrap=True)
    if known.retry_failed and not known.dry_run:
        conduct.forget_failures(expansion.cells)
    states = {cell: cell.state() for cell in expansion.cells}
    if known.dry_run:
        console.print(state_table(states))
        return 0
    engine, jobs = _engine(known)
    conduct.write_spec(spec)
    missing = [cell for cell, state in states.items() if state == "missing"]
    try:
        with SweepDisplay(console, states, jobs, known.quiet) as display:
            conduct.run_sweep(missing, engine, display)
    finally:
        print_results(console, *conduct.write_results(spec.folder))
    return 1 if display.failed else 0


def _engine(known: argparse.Namespace) -> tuple[Any, int]:
    """What runs the cells, and how many at a time."""
    from gollum.benchmark.sweeps.cluster import cluster_size, on_ray
    from gollum.benchmark.sweeps.engines import on_processes
    from gollum.runtime import usable_processors

    threads = known.threads
    if known.engine == "ray":
        if known.jobs is not None:
            raise ConfigError("--jobs is for --engine local; a cluster runs what fits on it.")
        return partial(on_ray, threads=threads or 1, gpus=known.gpus), cluster_size(threads or 1)
    if known.gpus:
        raise ConfigError("--gpus is for --engine ray.")
    jobs = known.jobs or max(1, usable_processors() // (threads or 1))
    threads = threads or (1 if jobs > 1 else None)
    return partial(on_processes, jobs=jobs, threads=threads), jobs


def _seeds(text: str | None) -> tuple[int, ...] | None:
    """The first N seeds, or those that are listed."""
    if text is None:
        return None
    words = text.split(",")
    numbers = tuple(int(word) for word in words if word.strip().isdecimal())
    if len(numbers) < len(words) or numbers == (0,):
        raise ConfigError(f"--seeds '{text}': give how many, from 1 on, or a list such as 0,3,4.")
    return tuple(range(numbers[0])) if len(numbers) == 1 else numbers


def _number(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"'{text}' is not a number from 1 on")
    return int(text)


def _compare(known: argparse.Namespace, rest: list[str]) -> int:
    if rest:
        raise ConfigError(f"'{rest[0]}' is not an option of gollum compare.")
    from pathlib import Path

    import pandas as pd
    from rich.console import Console

    from gollum.analysis.comparison import compare
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
        found = compare(table, traces, known.metric, known.reference)
        if known.csv:
            write_csv(found, Path(known.csv).expanduser())
        if known.html:
            write_page(found, [Source.of(path) for path in paths], Path(known.html).expanduser())
    for part in (*heading(found), *tables(found)):
        console.print(part)
    return 0


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


if __name__ == "__main__":
    sys.exit(main())
