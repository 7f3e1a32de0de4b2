"""Writing files so that each is there whole or not at all."""

from __future__ import annotations

import os
from pathlib import Path


def write_file(file: Path, content: bytes) -> None:
    """Write a file in one step, on disk before it gets its name.

    Raises:
        OSError: it can't be written; an earlier file of that name is untouched.
    """
    temporary = file.with_name(f".{file.name}.{os.getpid()}.part")
    try:
        with temporary.open("wb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(file)
    finally:
        temporary.unlink(missing_ok=True)


def write_text(file: Path, text: str) -> None:
    """Write UTF-8 text in one step; as `write_file`."""
    write_file(file, text.encode("utf-8"))
