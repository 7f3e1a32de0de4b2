"""What all pages have in common: how templates are read, and the one step of writing."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from gollum.errors import ConfigError
from gollum.files import write_text
from gollum.report.drawing import data_address

if TYPE_CHECKING:
    from jinja2 import Environment


def environment(package: str) -> Environment:
    """The templates of a package; what is put into them is escaped, and must be there."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    made = Environment(
        loader=PackageLoader(package), autoescape=True, undefined=StrictUndefined,
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    made.filters["image"] = data_address
    return made


def write(file: Path, page: str, option: str) -> None:
    """Write a page; `option` is what names another file.

    Raises:
        ConfigError: the file can't be written.
    """
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        write_text(file, page)
    except OSError as error:
        raise ConfigError(
            f"file '{file}' can't be written ({error.strerror}); choose another with {option}."
        ) from None
