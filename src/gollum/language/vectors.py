"""Vectors of a pool's texts, kept on disk so that the next process need not read them again."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import safetensors
import safetensors.torch
import torch
from torch import Tensor

from gollum import __version__
from gollum.cachefile import CacheFile, cache_folder
from gollum.language.embed import Progress, Tokens, embed
from gollum.notes import Note
from gollum.runtime import Runtime
from gollum.settings import ModelSettings

if TYPE_CHECKING:
    from gollum.language.backbone import Backbone

FORMAT = "gollum vectors 1"
RECALLED = "gollum recalled 1"
BLOCK, FEW = 4096, 64  # texts in a file at most, and those that are not divided


def kept_vectors(backbone: Backbone, tokens: Tokens, progress: Progress | None = None) -> Tensor:
    """As `embed`, from files of an earlier process where there are sound ones.

    Texts are kept in blocks, the last ones smaller and smaller, so that candidates that are added
    later cost little. A file
    is named by a hash of the model's weights, of how texts become vectors, and of its token ids.
    One that is damaged is made anew, and one that can't be written is done without.

    Args:
        backbone: the language model.
        tokens: the N texts, tokenized.
        progress: called with (texts done, texts in all) while the model reads.

    Returns:
        N x h, float64.
    """
    parts = []
    for start, block in _blocks(tokens):
        path = _place(backbone, block)
        vectors = _read(path, (len(block), backbone.hidden_size))
        if vectors is None:
            vectors = embed(backbone, block, _further(progress, start, len(tokens)))
            with suppress(OSError):
                _write(path, vectors.cpu())
        parts.append(vectors.to(backbone.device))
    distinct = torch.cat(parts)
    if np.array_equal(tokens.index, np.arange(len(tokens))):
        return distinct
    return distinct[torch.as_tensor(tokens.index, device=distinct.device)]


def are_kept(backbone: Backbone, tokens: Tokens) -> bool:
    """Whether there are files for all of these texts."""
    return all(_place(backbone, block).is_file() for _, block in _blocks(tokens))


@dataclass(frozen=True, eq=False)
class Recall:
    """Vectors of texts by the texts themselves, so that no model and no tokenizer is loaded.

    What is kept for it is small: which files of `kept_vectors` they are in, and what the model was.

    Attributes:
        path: the file of these texts, read by that model in that way.
    """

    path: Path

    @classmethod
    def of(
        cls, words: Sequence[str], folder: Path, model: ModelSettings, runtime: Runtime
    ) -> Recall:
        """Where texts are looked for.

        Args:
            words: the texts.
            folder: the model's files; told apart by name, size and time of change.
            model: how it reads.
            runtime: where, and how precisely.
        """
        files = [(f.name, f.stat().st_size, f.stat().st_mtime_ns) for f in sorted(folder.iterdir())]
        versions = [__version__, *map(metadata.version, ("torch", "transformers", "tokenizers"))]
        how = [
            RECALLED, *versions, str(folder.resolve()), files, model.model_dump(mode="json"),
            str(runtime.dtype), runtime.device.type,
        ]  # fmt: skip
        digest = hashlib.sha256(json.dumps(how).encode())
        for text in words:
            digest.update(f"\0{text}".encode(errors="surrogatepass"))
        return cls(cache_folder("vectors") / f"{digest.hexdigest()}.safetensors")

    def read(self) -> tuple[Tensor, Note, str] | None:
        """Vectors N x h, float64, a note on the model and its revision; None if any is gone."""
        try:
            with safetensors.safe_open(self.path, framework="pt") as file:
                index, told = file.get_tensor("index"), file.metadata() or {}
            blocks = [cache_folder("vectors") / name for name in json.loads(told["blocks"])]
            note = Note(*json.loads(told["note"]))
            if told["sha256"] != _seal(index):
                return None
        except (OSError, safetensors.SafetensorError, KeyError, TypeError, ValueError):
            return None
        parts = [_read(block) for block in blocks]
        found = [part for part in parts if part is not None]
        if len(found) < len(parts) or sum(map(len, found)) <= int(index.max()):
            return None
        with suppress(OSError):
            self.path.touch()
        return torch.cat(found)[index], note, told["revision"]

    def write(self, backbone: Backbone, tokens: Tokens) -> None:
        """Keep where the vectors of the texts are; nothing where one was cut or it can't be."""
        if tokens.truncated:
            return
        index, note = torch.from_numpy(tokens.index), backbone.describe()
        told = {
            "blocks": json.dumps([_place(backbone, block).name for _, block in _blocks(tokens)]),
            "note": json.dumps([note.code, note.place, note.text]),
            "revision": backbone.revision,
            "sha256": _seal(index),
        }
        with suppress(OSError):
            _publish(self.path, safetensors.torch.save({"index": index}, told))


def _blocks(tokens: Tokens) -> Iterator[tuple[int, Tokens]]:
    """The distinct texts in pieces, each with the number of its first one.

    As many are in a piece as the largest power of two that is left, or a few: of 2,004, 1,024 stay
    the same until there are 4,096.
    """
    start = 0
    while start < len(tokens):
        left = len(tokens) - start
        size = left if left < FEW else min(BLOCK, 1 << left.bit_length() - 1)
        lengths = tokens.lengths[start : start + size]
        first = int(tokens.starts[start])
        ids = tokens.ids[first : first + int(lengths.sum())]
        yield (
            start,
            replace(tokens, ids=ids, lengths=lengths, index=np.arange(len(lengths)), read={}),
        )
        start += size


def _further(progress: Progress | None, start: int, total: int) -> Progress | None:
    return None if progress is None else lambda done, _: progress(start + done, total)


def _place(backbone: Backbone, tokens: Tokens) -> Path:
    """Where the vectors of a block are kept, if they are."""
    return cache_folder("vectors") / f"{_key(backbone, tokens)}.safetensors"


def _key(backbone: Backbone, tokens: Tokens) -> str:
    how = (
        FORMAT, backbone.revision, backbone.pooling, backbone.normalize, backbone.runtime.dtype,
        backbone.device.type, torch.__version__, type(backbone.model).__name__,
    )  # fmt: skip
    digest = hashlib.sha256("\0".join(map(str, how)).encode())
    for part in (tokens.ids, tokens.lengths):
        digest.update(f"\0{part.dtype}{part.shape}".encode())
        digest.update(part.tobytes())
    return digest.hexdigest()


def _read(path: Path, shape: tuple[int, int] | None = None) -> Tensor | None:
    """What is kept there, if all of it is; of that shape, where one is given."""
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            vectors: Tensor = file.get_tensor("vectors")
            sealed = (file.metadata() or {}).get("sha256")
    except (OSError, safetensors.SafetensorError):
        return None
    sound = (shape is None or vectors.shape == shape) and vectors.dtype == torch.float64
    if not sound or sealed != _seal(vectors):
        return None
    with suppress(OSError):
        path.touch()  # so that the least recently used go first
    return vectors


def _write(path: Path, vectors: Tensor) -> None:
    told = {"sha256": _seal(vectors)}
    _publish(path, safetensors.torch.save({"vectors": vectors.contiguous()}, told))


def _publish(path: Path, content: bytes) -> None:
    file = CacheFile()
    try:
        file.create(path, len(content))
        file.write(memoryview(content), 0)
        file.publish(path)
    finally:
        file.close()


def _seal(vectors: Tensor) -> str:
    return hashlib.sha256(vectors.contiguous().numpy().data).hexdigest()
