"""Files as bytes and bytes as text, with a bound on their size and a word for each disguise."""

from __future__ import annotations

import codecs
import gzip
import io
import os
import re
import zipfile
import zlib
from itertools import takewhile
from pathlib import Path

from gollum.errors import DataError
from gollum.notes import Note

LARGEST = (
    100 * 2**20
)  # bytes of a file, packed and unpacked; as Python objects it is twenty times that
MOST_PARTS = 10_000  # files in a workbook, pieces of a gzip file

_BOMS = (
    (codecs.BOM_UTF8, "UTF-8"),
    (codecs.BOM_UTF16_LE, "UTF-16-LE"),
    (codecs.BOM_UTF16_BE, "UTF-16-BE"),
)
_OLD_OFFICE = bytes.fromhex("d0cf11e0a1b11ae1")
_WEB = re.compile(rb"\s*<(?:!doctype|html|table|head|meta|\?xml|!--)", re.IGNORECASE)
# Western text has single letters and signs beyond ASCII; other alphabets have them in a row.
# Capitals such as Š are not inside of words, and °C of a Macintosh is ¡C.
_NOT_WESTERN = re.compile(
    rb"[\x80-\xff](?:[\x80-\xff]{2}"
    rb"|(?<=[A-Za-z][\x80-\x89\x93-\x95\x98\x99\x9b])[A-Za-z]"
    rb"|(?<=[a-z][\x8a\x8c\x8e\x9f])[a-z]"
    rb"|(?<=\xa1)C(?![A-Za-z]))"
)
_VALID = re.compile("[\x80-\ufffc\ufffe-\U0010ffff]")  # beyond ASCII, and decoded
_COMMON = [
    "cp1252", "mac_roman", "gb18030", "big5", "cp932", "cp949", "cp1250", "cp1251", "cp1253",
]  # fmt: skip
_SAMPLE = 100_000  # bytes in which an encoding is looked for
_ADVICE = {
    "an Excel workbook": "rename it to end in .xlsx",
    "a password-protected workbook": "save it without its password",
    "an old Excel workbook": "open it in Excel and save it as .xlsx",
    "an OpenDocument spreadsheet": "rename it to end in .ods",
    "a zip archive": "unpack it",
    "a Parquet table": "rename it to end in .parquet",
    "gzipped data": "rename it to end in .csv.gz, or unpack it",
    "a web page": "open it in Excel and save it as .xlsx",
    "text": "rename it to end in .csv",
    "nothing": "save it again",
    "binary data": "open it in the program that wrote it, and save it again",
}
_CONTROL = re.compile(rb"[\x00-\x08\x0e-\x1f]")


def read_bytes(file: Path) -> bytes:
    """The content of a file that nobody is writing to.

    Raises:
        DataError: it can't be opened, is larger than `LARGEST`, or changes meanwhile.
    """
    try:
        with file.open("rb") as stream:
            before = os.fstat(stream.fileno())
            if before.st_size > LARGEST:
                raise too_large(file, f"has {_megabytes(before.st_size)}")
            content = stream.read(LARGEST + 1)
            after = os.fstat(stream.fileno())
    except PermissionError:
        raise DataError(
            f"{file} cannot be opened: you may not read it, or another program holds it; close "
            "it there or change its permissions."
        ) from None
    except OSError as error:
        raise DataError(f"{file} cannot be opened: {error.strerror}; check the disk.") from None
    if (before.st_size, before.st_mtime_ns) != (len(content), after.st_mtime_ns):
        raise DataError(f"{file} changed while it was read; wait until it is written, try again.")
    return content


def unpacked(file: Path, content: bytes) -> bytes:
    """The content of a gzip file, as far as it fits.

    Raises:
        DataError: it is damaged, or larger than `LARGEST`.
    """
    if content.count(b"\x1f\x8b\x08") > MOST_PARTS:
        raise DataError(f"{file} is packed in more than {MOST_PARTS} pieces; pack it again as one.")
    try:
        with gzip.open(io.BytesIO(content)) as stream:
            text: bytes = stream.read(LARGEST + 1)
    except (OSError, EOFError, zlib.error):
        raise DataError(f"{file} is not a complete gzip file; fetch or pack it again.") from None
    if len(text) > LARGEST:
        raise too_large(file, f"unpacks to more than {_megabytes(LARGEST)}")
    return text


def too_large(file: Path, what: str) -> DataError:
    """The refusal of a file by its size; `what` says that size."""
    return DataError(
        f"{file} {what}, and tables of up to {_megabytes(LARGEST)} are read; keep only the rows "
        "and columns that you need."
    )


def _megabytes(size: int) -> str:
    return f"{size / 2**20:.0f} MB"


def check_kind(file: Path, content: bytes, expected: str) -> None:
    """Refuse a file that holds something else than its name says.

    Raises:
        DataError: it does; the message says what it holds and what to do.
    """
    kind = kind_of(content)
    # Of a damaged text, its decoding says more.
    if kind != expected and not (expected == "text" and kind in ("nothing", "binary data")):
        advice = _ADVICE[kind]
        if file.suffix and advice.startswith(f"rename it to end in {file.suffix.lower()}"):
            advice = f"{expected} is wanted here"
        raise DataError(f"{file} holds {kind}; {advice}.")


def kind_of(content: bytes) -> str:
    """What a file holds, by its first bytes, in words."""
    if content.startswith(b"PK\x03\x04"):
        return _kind_of_zip(content)
    if content.startswith(_OLD_OFFICE):
        locked = "EncryptedPackage".encode("utf-16-le") in content
        return "a password-protected workbook" if locked else "an old Excel workbook"
    if content.startswith(b"PAR1"):
        return "a Parquet table"
    if content.startswith(b"\x1f\x8b"):
        return "gzipped data"
    if _WEB.match(content.removeprefix(codecs.BOM_UTF8)):
        return "a web page"
    if not content:
        return "nothing"
    return "binary data" if _CONTROL.search(content[:1000]) else "text"


def _kind_of_zip(content: bytes) -> str:
    if content.count(b"PK\x01\x02") > MOST_PARTS:
        return "a zip archive"
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            names = archive.namelist()
    except (zipfile.BadZipFile, ValueError, OSError):
        return "an Excel workbook" if b"xl/" in content else "a zip archive"
    if any(name.startswith("xl/") for name in names):
        return "an Excel workbook"
    return "an OpenDocument spreadsheet" if "mimetype" in names else "a zip archive"


def decode(file: Path, content: bytes, encoding: str | None = None) -> tuple[str, tuple[Note, ...]]:
    """Bytes to text: in the encoding that is given, or UTF-8, UTF-16, or plausible Windows-1252.

    Args:
        file: for messages.
        content: its bytes.
        encoding: by a name that Python knows.

    Returns:
        The text, and a note if its encoding had to be guessed.

    Raises:
        DataError: there is no such encoding, or the bytes are no text in it, or in any of these.
    """
    if encoding is not None:
        return _whole(file, _in_encoding(file, content, encoding)), ()
    bom, known = next(((b, e) for b, e in _BOMS if content.startswith(b)), (b"", ""))
    name = known or _utf(content)
    try:
        return _whole(file, content[len(bom) :].decode(name)), ()
    except UnicodeDecodeError as error:
        if known or name != "UTF-8":
            raise _undecodable(file, content, error.start, name) from None
        return _western(file, content, error.start)


def _in_encoding(file: Path, content: bytes, encoding: str) -> str:
    try:
        return content.decode(encoding).removeprefix("\ufeff")
    except UnicodeError as error:
        raise _undecodable(file, content, getattr(error, "start", 0), encoding) from None
    except (LookupError, ValueError):
        raise DataError(
            f"{file}: {encoding!r} is no encoding of texts; name one such as utf-8, cp1252, "
            "mac_roman or gb18030."
        ) from None


def _whole(file: Path, text: str) -> str:
    if "\0" in text:
        line = _line(text[: text.index("\0")].encode("utf-8", "replace"))
        raise DataError(
            f"{file}: line {line} holds a zero byte, which no text has; save the table again."
        )
    return text


def _utf(content: bytes) -> str:
    """UTF-16 without a byte order mark shows by the zero bytes of its ASCII characters."""
    sample = content[:2000]
    even, odd = sample[::2].count(0), sample[1::2].count(0)
    if len(sample) > 3 and max(even, odd) > len(sample) / 5 and min(even, odd) == 0:
        return "UTF-16-LE" if odd else "UTF-16-BE"
    return "UTF-8"


def _western(file: Path, content: bytes, start: int) -> tuple[str, tuple[Note, ...]]:
    partly = _VALID.search(content.decode("utf-8", "replace"))
    macintosh = b"\r" in content and b"\n" not in content
    strange = _NOT_WESTERN.search(content)
    if partly or macintosh or strange:
        raise _undecodable(file, content, strange.start() if strange else start, "UTF-8")
    try:
        text = content.decode("cp1252")
    except UnicodeDecodeError as error:
        raise _undecodable(file, content, error.start, "UTF-8") from None
    if "\0" in text:
        raise _undecodable(file, content, content.index(0), "UTF-8")
    told = (
        "the text is not UTF-8 and was read as Windows-1252, with words such as "
        f"'{_word(text)}'; if they look wrong, name another one with the key encoding"
        f"{_hint(content, start)}, or save it as 'CSV UTF-8'."
    )
    return text, (Note("encoding", file.name, told),)


def _hint(content: bytes, place: int) -> str:
    """What else the lines from this place on may be, with a word to judge by.

    Guesses from the few words of a table are too often wrong to be acted on.
    """
    from charset_normalizer import from_bytes

    start = content.rfind(b"\n", 0, place) + 1
    end = content.rfind(b"\n", place, start + _SAMPLE)
    sample = content[start : end if end > 0 else None]
    found = {m.encoding: _word(str(m)) for m in from_bytes(sample, cp_isolation=_COMMON)}
    western = found.get("cp1252")
    better = takewhile(lambda name: name != "cp1252", found)
    words = [f"{name} makes it '{found[name]}'" for name in better if found[name] != western]
    return f" ({', '.join(words[:3])})" if words else ""


def _word(text: str) -> str:
    """The first word with a character beyond ASCII, without the far ends of a long one."""
    first = re.search(r"[^\x00-\x7f]", text)
    if not first:
        return ""
    around = text[max(0, first.start() - 30) : first.start() + 30]
    words: list[str] = re.findall(r"[^\s,;|\"]*[^\x00-\x7f][^\s,;|\"]*", around)
    return words[0][:30]


def _undecodable(file: Path, content: bytes, position: int, encoding: str) -> DataError:
    hint = _hint(content, position) if encoding == "UTF-8" else ""
    return DataError(
        f"{file}: line {_line(content[:position])} is not {encoding} text; save the table again "
        f"as 'CSV UTF-8', or name its encoding with the key encoding{hint}."
    )


def _line(before: bytes) -> int:
    return 1 + max(before.count(b"\n"), before.count(b"\r"))
