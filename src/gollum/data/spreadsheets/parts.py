"""What a workbook holds, counted before anything is made of it.

A few kilobytes can unpack to millions of elements, each of which would become an object. They are
counted by the parser that reads them later, so that none is hidden from it by an encoding, a prefix
or an entity.
"""

from __future__ import annotations

import io
import zipfile
import zlib
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import IO
from xml.parsers import expat

from gollum.data.spreadsheets.encodings import LARGEST, too_large
from gollum.errors import DataError

MOST_ELEMENTS = 8_000_000  # more than cells of 100 MB have
MOST_OF = {"c": 5_000_000, "row": 2_000_000, "si": 2_000_000, "mergeCell": 100_000, "": 1_000_000}
_CALLED = {
    "c": "cells, empty ones included",
    "row": "rows, empty ones included",
    "si": "different texts",
    "mergeCell": "merged ranges",
    "": "formats, names and links",
}
# What is inside cells and texts, and the points of charts, which nobody reads.
_IN_CELLS = ("v", "f", "is", "t", "r", "rPh", "phoneticPr", "pt")
_IN_FORMATS = ("rPr", "rFont", "sz", "color", "family", "scheme", "charset", "vertAlign")
_WITHIN = frozenset((*_IN_CELLS, *_IN_FORMATS, "b", "i", "u", "strike"))
_LONGEST_TAG, _MOST_NAMES = 2**20, 10_000
_CHUNK = 2**16
# Whatever makes a part unreadable: if it is one that is needed, its reader says so.
_UNREADABLE = (
    zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, OSError,
    ValueError, expat.ExpatError,
)  # fmt: skip


def count_elements(file: Path, content: bytes) -> Counter[str]:
    """How many XML elements of each kind a workbook has; '' for those that format or link.

    Raises:
        DataError: there are more than fit, or something else that unpacks without end.
        zipfile.BadZipFile: it is no zip archive.
    """
    counts: Counter[str] = Counter()
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        size = sum(entry.file_size for entry in archive.infolist())
        if size > LARGEST:
            raise too_large(file, f"unpacks to {size / 2**20:.0f} MB")
        for entry in archive.infolist():
            with suppress(*_UNREADABLE), archive.open(entry) as part:
                _count(file, part, counts)
    return counts


def _count(file: Path, part: IO[bytes], counts: Counter[str]) -> None:
    names: list[str] = []
    parser = expat.ParserCreate()
    parser.StartElementHandler = lambda name, _: names.append(name)

    def refuse_entity(*_: object) -> None:
        raise _excessive(file, "abbreviations of its own (XML entities)")

    parser.EntityDeclHandler = refuse_entity
    fed = 0
    while chunk := part.read(_CHUNK):
        parser.Parse(chunk, False)
        fed += len(chunk)
        if fed - parser.CurrentByteIndex > _LONGEST_TAG or len(parser.intern) > _MOST_NAMES:
            raise _excessive(file, "XML that is none of a workbook's")
        for name, count in Counter(names).items():
            kind = name.rpartition(":")[2]
            counts[kind if kind in MOST_OF or kind in _WITHIN else ""] += count
        names.clear()
        for kind, most in MOST_OF.items():
            if counts[kind] > most:
                raise _excessive(file, f"more than {most} {_CALLED[kind]}")
        if counts.total() > MOST_ELEMENTS:
            raise _excessive(file, f"more than {MOST_ELEMENTS} XML elements")


def _excessive(file: Path, what: str) -> DataError:
    return DataError(
        f"{file} holds {what}; copy the rows and columns that you need into a new workbook, and "
        "save that."
    )
