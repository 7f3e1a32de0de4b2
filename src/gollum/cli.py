"""Command line of the package; each command imports what it needs when it runs."""

from __future__ import annotations

import argparse
import atexit
import errno
import gc
import os
import sys
from collections.abc import Sequence
from typing import Any

from gollum import __version__
from gollum.commands import benchmarks, campaigns, serving
from gollum.commands.benchmarks import overrides
from gollum.commands.completion import COMPLETING, complete
from gollum.commands.guide import GUIDES, examples, overview
from gollum.data.spreadsheets.numbers import composed
from gollum.errors import ConfigError, GollumError, UserError

INTERRUPTED = 130
FORBIDDEN = (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENAMETOOLONG, errno.ENOSPC)
KEPT = 100_000  # new objects between two collections: what is imported stays, and is a lot
DEMO = {
    "data.task": "bh-ethyl",
    "preset": "default",
    "n_iters": 50,
    "output": "runs/demo",
}


def program() -> int:
    """`main` in a process of its own, whose end needs no look for what could be freed."""
    gc.set_threshold(KEPT)
    atexit.register(gc.freeze)
    return main()


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; returns the exit code.

    0 done, 2 the user's mistake (one sentence on standard error), 130 interrupted, 1 a defect
    or a failed fit.
    """
    try:
        parser = _parser()
        if COMPLETING in os.environ:
            complete(parser)
        words = sys.argv[1:] if arguments is None else arguments
        known, rest = parser.parse_known_args([_composed(word) for word in words])
        if known.command is None:
            parser.print_help()
            return 0
        code: int = known.handler(known, rest)
        return code
    except GollumError as error:
        sentence = "".join(c if c.isprintable() else " " for c in " ".join(str(error).split()))
        print(f"gollum: {sentence}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("gollum: interrupted; a run goes on with the same command.", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        if error.errno not in FORBIDDEN or error.filename is None:
            raise
        print(
            f"gollum: '{error.filename}' can't be used ({error.strerror}); check the path, and who "
            "may read and write there.",
            file=sys.stderr,
        )
        return UserError.exit_code


class _Once(argparse.Action):
    """Keep a value; a second one is refused, as it would replace the first."""

    def __call__(
        self, parser: argparse.ArgumentParser, known: argparse.Namespace, values: Any, _: Any = None
    ) -> None:
        given = vars(known).setdefault("_given", {})
        if self.dest in given and self.option_strings:
            name = self.option_strings[-1]
            raise ConfigError(
                f"{name} is given twice, as '{given[self.dest]}' and as '{values}'; give it once."
            )
        given[self.dest] = values
        setattr(known, self.dest, values)


def _composed(word: str) -> str:
    """A word in the Unicode form in which names are compared, unless it is that of a file."""
    value = word.partition("=")[2] or word
    return word if word.isascii() or os.path.exists(value) else composed(word)


class _Parser(argparse.ArgumentParser):
    """Knows what its command is for, and shows examples below its options."""

    def __init__(self, **options: Any) -> None:
        self._command = options["prog"].partition(" ")[2]
        if self._command:
            about = GUIDES[self._command].about
            options = {"description": f"{about[0].upper()}{about[1:]}."} | options
        super().__init__(**options, allow_abbrev=False)
        for action in (None, "store"):
            self.register("action", action, _Once)

    def format_help(self) -> str:
        """Usage and options, then examples; of no command, all commands."""
        if not self._command:
            return f"{self.format_usage()}\n{self.description}\n\n{overview()}\n"
        return f"{super().format_help()}\n{examples(self._command)}\n"

    def error(self, message: str) -> Any:
        raise ConfigError(f"{message}; see {self.prog} --help.")


def _parser() -> _Parser:
    parser = _Parser(
        prog="gollum", usage="gollum COMMAND …",
        description="Optimize experiments with language models.",
    )  # fmt: skip
    parser.add_argument("--version", action="version", version=f"gollum {__version__}")
    known = parser.add_subparsers(
        prog="gollum", dest="command", metavar="COMMAND", parser_class=_Parser
    )
    run = known.add_parser("run", add_help=False)
    run.set_defaults(handler=_run)
    run.add_argument("-h", "--help", action="store_true")
    run.add_argument("--config", metavar="FILE")
    run.add_argument("--print_config", action="store_true")
    run.add_argument("--quiet", action="store_true")
    campaigns.add_commands(known)
    serving.add_command(known)
    demo = known.add_parser("demo", add_help=False)
    demo.set_defaults(handler=_demo)
    demo.add_argument("-h", "--help", action="store_true")
    demo.add_argument("--quiet", action="store_true")
    tasks = known.add_parser("tasks")
    tasks.set_defaults(handler=benchmarks.tasks)
    tasks.add_argument("name", nargs="?", help="show one task in full")
    tasks.add_argument("--download", metavar="NAME", help="fetch a task that is not here")
    models = known.add_parser(
        "models",
        usage="gollum models [NAME | get NAME [--yes]]",
    )
    models.set_defaults(handler=benchmarks.models)
    models.add_argument("words", nargs="*", metavar="NAME", help="show one model in full")
    models.add_argument("--yes", action="store_true", help="fetch without asking")
    doctor = known.add_parser("doctor")
    doctor.set_defaults(handler=benchmarks.doctor)
    doctor.add_argument("--clean", action="store_true", help="remove cached features")
    bench = known.add_parser(
        "bench",
        usage="gollum bench SPEC [options] [--KEY VALUE …]",
        epilog="Any other --KEY VALUE sets a key of all runs; `gollum run --help` lists them.",
    )
    bench.set_defaults(handler=benchmarks.bench)
    bench.add_argument("spec", metavar="SPEC", help="YAML file; see benchmarks/specs")
    bench.add_argument("--output", metavar="FOLDER", help="instead of the spec's")
    bench.add_argument("--seeds", metavar="N", help="how many, or which (0,3,4)")
    bench.add_argument("--engine", choices=("local", "ray"), default="local")
    bench.add_argument("--jobs", type=_number, metavar="N", help="processes [one per processor]")
    bench.add_argument(
        "--threads", type=_number, metavar="N", help="of each process [1 if there are several]"
    )
    bench.add_argument(
        "--gpus", type=_gpus, default=0.0, metavar="N", help="of each cell, on a cluster [0]"
    )
    bench.add_argument("--dry-run", action="store_true", help="list what is done and missing")
    bench.add_argument("--retry-failed", action="store_true", help="run failed cells again")
    bench.add_argument("--quiet", action="store_true")
    compare = known.add_parser("compare")
    compare.set_defaults(handler=benchmarks.compare)
    compare.add_argument(
        "results", nargs="+", metavar="RESULTS", help="files of records, or folders of sweeps"
    )
    compare.add_argument(
        "--reference", metavar="METHOD", help="whom to pair with [the best baseline]"
    )
    compare.add_argument(
        "--metric", default="top5_coverage", help="column of the records [%(default)s]"
    )
    compare.add_argument(
        "--join", action="append", default=[], metavar="NAME=METHOD,METHOD",
        help="methods that count as one, each on tasks of its own",
    )  # fmt: skip
    compare.add_argument(
        "--steps", type=benchmarks.names, metavar="METHOD,METHOD",
        help="what each adds to the one before [those of random,static-random_embeddings,static,"
        "pllm,pllm_phi that are there, if three or more]",
    )  # fmt: skip
    compare.add_argument("--csv", metavar="FOLDER", help="write the tables there")
    compare.add_argument("--html", metavar="FILE", help="write a page with pictures")
    analyze = known.add_parser("analyze")
    analyze.set_defaults(handler=benchmarks.analyze)
    analyze.add_argument(
        "what", nargs="+", metavar="WHAT",
        help="folder of a run, a campaign, or records of a sweep (files or its folder)",
    )  # fmt: skip
    analyze.add_argument("-o", "--output", metavar="FOLDER", help="[beside it, named analysis]")
    analyze.add_argument(
        "--models", type=benchmarks.names, default=[], metavar="NAME,NAME",
        help="surrogates to fit, the most important one first [its own and some to compare]",
    )  # fmt: skip
    analyze.add_argument(
        "--rounds",
        type=_number,
        default=5,
        metavar="N",
        help="how many are looked at [%(default)s]",
    )
    analyze.add_argument(
        "--explain", type=benchmarks.names, default=[], metavar="ID,ID",
        help="experiments to take apart [the best one, and the most promising]",
    )  # fmt: skip
    analyze.add_argument(
        "--interactive", action="store_true", help="also maps with a script, as maps.html"
    )
    analyze.add_argument("--no-umap", action="store_true", help="principal components alone")
    analyze.add_argument(
        "--join", action="append", default=[], metavar="NAME=METHOD,METHOD",
        help="of records: methods that count as one",
    )  # fmt: skip
    analyze.add_argument("--quiet", action="store_true")
    return parser


def _run(known: argparse.Namespace, rest: list[str]) -> int:
    from gollum.benchmark.config import load_config

    if known.help:
        _print_keys("run", "gollum run --config FILE [--KEY VALUE …] [--print_config] [--quiet]")
        return 0
    config = load_config(known.config, overrides(rest))
    if known.print_config:
        print(config.to_yaml(), end="")
        return 0
    return _execute(config, known.quiet)


def _demo(known: argparse.Namespace, rest: list[str]) -> int:
    from gollum.benchmark.config import load_config

    if known.help:
        _print_keys("demo", "gollum demo [--KEY VALUE …] [--quiet]")
        return 0
    return _execute(load_config(None, overrides(rest), DEMO.items()), known.quiet)


def _execute(config: Any, quiet: bool) -> int:
    """Run with a live display, draw the picture and print the table."""
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    from rich.console import Console

    from gollum.analysis.metrics import random_search
    from gollum.benchmark.loggers import with_logger
    from gollum.benchmark.run import run
    from gollum.report.console import ConsoleListener, print_result
    from gollum.report.progress import plot_progress

    console = Console(markup=False, emoji=False)  # brackets of a table are just that
    with ConsoleListener(console, quiet) as listener:
        result = run(config, with_logger(config, listener))
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


def _print_keys(command: str, usage: str) -> None:
    from gollum.benchmark.config import keys

    print(f"usage: {usage}\n\nKeys, with what the default preset gives them:")
    for key, (about, default) in keys().items():
        shown = "" if default is None else f" [{default}]"
        print(f"  --{key:<28} {about}{shown}")
    print(f"\n{examples(command)}")


def _number(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"'{text}' is not a number from 1 on")
    return int(text)


def _gpus(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = -1.0
    if 0 <= number <= 1 or number in range(1, 1000):
        return number
    raise argparse.ArgumentTypeError(f"'{text}' is no number of GPUs such as 0, 0.5, 1 or 2")


if __name__ == "__main__":
    sys.exit(program())
