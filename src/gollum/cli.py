"""Command line of the package; each command imports what it needs when it runs."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
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
        print(download(get_task(known.download)))
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
