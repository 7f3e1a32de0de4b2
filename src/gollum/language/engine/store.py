"""What enters the first adapted layer, kept for every later pass: in memory, or in a file."""

from __future__ import annotations

import hashlib
import json
import os
import re
import weakref
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib import metadata
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gollum.cachefile import KEY, CacheFile, amount, free
from gollum.errors import ModelError
from gollum.language.embed import Tokens

FORMAT = "gollum states 1"
DTYPES = {torch.float32: "F32", torch.bfloat16: "BF16", torch.float64: "F64"}
CPU = torch.device("cpu")
PIECE = 16 * 2**20  # bytes read at once while a file is hashed


class States(ABC):
    """A t_i x h matrix for each of N distinct texts: put once, then read in any order.

    Attributes:
        ready: whether everything is here, so that there is nothing to put and `padded` may be
            called; true from the start where a file of an earlier run holds it all.
        note: a sentence for the user about a file that could not be used, or empty.
    """

    def __init__(self, lengths: NDArray[np.int64], width: int, dtype: torch.dtype) -> None:
        self.ready = False
        self.note = ""
        self._lengths, self._width, self._dtype = lengths, width, dtype
        self._starts = np.cumsum(lengths) - lengths
        self._missing = np.ones(len(lengths), dtype=bool)
        self._total = int(lengths.sum())

    def put(self, sequences: NDArray[np.int64], hidden: Tensor) -> None:
        """Keep b x t x h, right-padded, of b sequences; what is behind their ends is dropped.

        Raises:
            ModelError: it can't be written; everything is discarded.
            ValueError: shape or precision are not those announced.
        """
        assert not self.ready, "nothing is left to put"  # noqa: S101
        longest = int(self._lengths[sequences].max(initial=0))
        wanted = (len(sequences), max(longest, hidden.shape[1]), self._width)
        if hidden.shape != wanted or hidden.dtype != self._dtype:
            raise ValueError(
                f"expected {self._dtype} of shape {wanted}, got {hidden.dtype} of shape "
                f"{tuple(hidden.shape)}"
            )
        self._write(sequences, hidden.detach())
        self._missing[sequences] = False

    def finish(self) -> None:
        """All is put: make it readable, and a file durable.

        Raises:
            ModelError: it can't be written; everything is discarded.
            ValueError: some sequences were never put.
        """
        assert not self.ready, "nothing is left to finish"  # noqa: S101
        if self._missing.any():
            raise ValueError(f"{self._missing.sum()} of {len(self._missing)} were never put")
        self._seal()
        self.ready = True

    def padded(self, sequences: NDArray[np.int64], device: torch.device, length: int = 0) -> Tensor:
        """What was put for b sequences: b x t x h, zeros behind each one's end.

        Args:
            sequences: which ones.
            device: where to.
            length: t, if it is to be more than the length of the longest.

        Raises:
            ModelError: the file can't be read any more.
        """
        assert self.ready, "finish comes before padded"  # noqa: S101
        longest = int(self._lengths[sequences].max(initial=0))
        return self._read(sequences, max(longest, length)).to(device)

    def discard(self) -> None:
        """Let go of everything; an unfinished file is removed, a finished one stays."""
        self.ready = False
        self._missing[:] = True

    @abstractmethod
    def _write(self, sequences: NDArray[np.int64], hidden: Tensor) -> None: ...

    @abstractmethod
    def _read(self, sequences: NDArray[np.int64], length: int) -> Tensor: ...

    @abstractmethod
    def _seal(self) -> None: ...


class MemoryStates(States):
    """All matrices below each other in one tensor, on the model's device."""

    def __init__(
        self,
        lengths: NDArray[np.int64],
        width: int,
        dtype: torch.dtype,
        device: torch.device = CPU,
    ) -> None:
        super().__init__(lengths, width, dtype)
        self._rows = torch.empty(self._total + 1, width, dtype=dtype, device=device)
        self._rows[-1] = 0  # what padding reads

    def discard(self) -> None:
        """Free the memory."""
        super().discard()
        self._rows = self._rows.new_empty(0, self._width)

    def _write(self, sequences: NDArray[np.int64], hidden: Tensor) -> None:
        place = self._places(sequences, hidden.shape[1])
        real = (place < self._total).nonzero().squeeze(1)
        self._rows[place[real]] = hidden.to(self._rows.device).flatten(0, 1)[real]

    def _read(self, sequences: NDArray[np.int64], length: int) -> Tensor:
        rows = self._rows.index_select(0, self._places(sequences, length))
        return rows.view(len(sequences), length, self._width)

    def _places(self, sequences: NDArray[np.int64], length: int) -> Tensor:
        """Row of each of b · length tokens; the row of zeros behind a sequence's end."""
        token = np.arange(length)
        real = token < self._lengths[sequences, None]
        place = np.where(real, self._starts[sequences, None] + token, self._total)
        return torch.from_numpy(place.reshape(-1)).to(self._rows.device)

    def _seal(self) -> None:
        """Nothing to do."""


class FileStates(States):
    """All matrices below each other in `<folder>/<key>.safetensors`, for later runs too.

    A file that is there already is used if it is, byte for byte, what would be written now;
    anything else is replaced. It is read at positions, not mapped: resident memory stays that of
    one batch, and where a file shrinks underneath, a short read is an exception while a mapping
    ends the process (SIGBUS). It stays open, so whatever later happens to its name is harmless.

    Raises:
        ModelError: the file can't be created.
        ConfigError: GOLLUM_CACHE_GB is not a size.
    """

    def __init__(
        self, lengths: NDArray[np.int64], width: int, dtype: torch.dtype, *, key: str, folder: Path
    ) -> None:
        assert re.fullmatch(KEY, key), "a key is a sha256"  # noqa: S101
        super().__init__(lengths, width, dtype)
        self.path = folder / f"{key}.safetensors"
        self._key = key
        self._row = width * dtype.itemsize
        self._data = len(self._header(hashlib.sha256().hexdigest()))  # where the data begins
        self._size = self._data + self._total * self._row
        self._file = CacheFile()
        weakref.finalize(self, self._file.close)
        self.ready = self._is_found()
        if not self.ready:
            with self._refusing():
                self._file.create(self.path, self._size)

    def discard(self) -> None:
        """Close the file; it is removed if it was not finished."""
        super().discard()
        self._file.close()

    def _is_found(self) -> bool:
        """Whether there is a file and all of it is right; it is open then."""
        if not os.path.lexists(self.path):
            return False
        try:
            if self.path.is_file():  # opening a pipe could wait forever
                self._file.open(self.path)
                if self._is_right():
                    with suppress(OSError):
                        os.utime(self.path)  # tells `trim` that it was used just now
                    return True
        except OSError:
            pass
        self._file.close()
        self.note = (
            f"'{self.path}' is damaged, or not what its name says, so what it should hold is "
            "computed anew."
        )
        return False

    def _is_right(self) -> bool:
        if self._file.size() != self._size:
            return False
        header = bytearray(self._data)
        self._file.read(memoryview(header), 0)
        return header == self._header(self._digest())

    def _write(self, sequences: NDArray[np.int64], hidden: Tensor) -> None:
        texts = _bytes(hidden.to("cpu"))
        with self._refusing():
            for text, sequence in zip(texts, sequences, strict=True):
                rows = text[: self._lengths[sequence]]
                self._file.write(rows.reshape(-1).data, self._position(sequence))

    def _read(self, sequences: NDArray[np.int64], length: int) -> Tensor:
        hidden = torch.zeros(len(sequences), length, self._width, dtype=self._dtype)
        try:
            for text, sequence in zip(_bytes(hidden), sequences, strict=True):
                rows = text[: self._lengths[sequence]]
                self._file.read(rows.reshape(-1).data, self._position(sequence))
        except OSError as error:
            raise ModelError(
                f"'{self.path}' can't be read any more ({error.strerror or error}); start again, "
                "and what it holds is checked and, if need be, computed anew."
            ) from None
        return hidden

    def _position(self, sequence: np.int64) -> int:
        """Where in the file a sequence begins."""
        return int(self._data + self._starts[sequence] * self._row)

    def _seal(self) -> None:
        with self._refusing():
            self._file.write(memoryview(self._header(self._digest())), 0)
            self._file.publish(self.path)

    def _header(self, digest: str) -> bytes:
        """What comes before the data; its length does not depend on the digest."""
        shape, size = [self._total, self._width], self._total * self._row
        head = {
            "__metadata__": {"format": FORMAT, "key": self._key, "sha256": digest},
            "states": {"dtype": DTYPES[self._dtype], "shape": shape, "data_offsets": [0, size]},
        }
        text = json.dumps(head).encode()
        text += b" " * (-(8 + len(text)) % 64)
        return len(text).to_bytes(8, "little") + text

    def _digest(self) -> str:
        digest, piece = hashlib.sha256(), memoryview(bytearray(PIECE))
        for start in range(self._data, self._size, PIECE):
            part = piece[: self._size - start]
            self._file.read(part, start)
            digest.update(part)
        return digest.hexdigest()

    @contextmanager
    def _refusing(self) -> Iterator[None]:
        """Whatever interrupts writing, discard; of what the system refuses, say what to do."""
        try:
            yield
        except BaseException as error:
            self.discard()
            if not isinstance(error, OSError):
                raise
            folder, reason = self.path.parent, error.strerror or error
            raise ModelError(
                f"the activations of the frozen layers could not be written ({reason}): "
                f"they need {amount(self._size)} in '{folder}', where {amount(free(folder))} "
                "are free; make room there, set GOLLUM_CACHE to another folder, or allow more "
                "memory with --memory_gb."
            ) from None


def open_states(
    lengths: NDArray[np.int64],
    width: int,
    dtype: torch.dtype,
    *,
    budget: int,
    key: str,
    folder: Path,
    device: torch.device = CPU,
) -> States:
    """A store in memory if all of it takes at most `budget` bytes, else in a file.

    Args:
        lengths: number of tokens of each of N distinct texts.
        width: length h of a token vector.
        dtype: float32, bfloat16 or float64.
        budget: bytes of memory that it may take.
        key: names the content; see `states_key`.
        folder: where files are kept; made if need be.
        device: whose memory it is.

    Raises:
        ModelError: a file is needed and can't be created.
        ConfigError: GOLLUM_CACHE_GB is not a size.
    """
    if int(lengths.sum()) * width * dtype.itemsize <= budget:
        return MemoryStates(lengths, width, dtype, device)
    return FileStates(lengths, width, dtype, key=key, folder=folder)


def states_key(tokens: Tokens, *parts: str | int | torch.dtype) -> str:
    """A sha256 that differs where the states do.

    Args:
        tokens: the texts.
        parts: whatever else decides them, in a fixed order: the model's revision and
            configuration, the layer, the precision, the kind of device.
    """
    versions = [metadata.version(name) for name in ("torch", "transformers")]
    digest = hashlib.sha256(json.dumps([FORMAT, *versions, *map(str, parts)]).encode())
    for numbers in (np.array([len(tokens)]), tokens.lengths, tokens.ids):
        digest.update(numbers.astype("<i8").data)
    return digest.hexdigest()


def _bytes(hidden: Tensor) -> NDArray[np.uint8]:
    """The same memory as bytes, where it is contiguous; NumPy has no bfloat16."""
    raw: NDArray[np.uint8] = hidden.contiguous().view(torch.uint8).numpy()
    return raw
