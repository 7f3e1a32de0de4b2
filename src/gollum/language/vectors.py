"""Vectors of a pool's texts, kept on disk so that the next process need not read them again."""

from __future__ import annotations

import hashlib
from contextlib import suppress
from pathlib import Path

import safetensors
import safetensors.torch
import torch
from torch import Tensor

from gollum.cachefile import CacheFile, cache_folder
from gollum.language.backbone import Backbone
from gollum.language.embed import Progress, Tokens, embed

FORMAT = "gollum vectors 1"


def kept_vectors(backbone: Backbone, tokens: Tokens, progress: Progress | None = None) -> Tensor:
    """As `embed`, from a file of an earlier process where there is a sound one.

    The file is named by a hash of the model's weights, of how texts become vectors, and of all
    token ids. One that is damaged is made anew, and one that can't be written is done without.

    Args:
        backbone: the language model.
        tokens: the N texts, tokenized.
        progress: called with (texts done, texts in all) while the model reads.

    Returns:
        N x h, float64.
    """
    path = place(backbone, tokens)
    vectors = _read(path, (len(tokens.index), backbone.hidden_size))
    if vectors is None:
        vectors = embed(backbone, tokens, progress)
        with suppress(OSError):
            _write(path, vectors.cpu())
    return vectors.to(backbone.device)


def place(backbone: Backbone, tokens: Tokens) -> Path:
    """Where the vectors of these texts are kept, if they are."""
    return cache_folder("vectors") / f"{_key(backbone, tokens)}.safetensors"


def _key(backbone: Backbone, tokens: Tokens) -> str:
    how = (
        FORMAT, backbone.revision, backbone.pooling, backbone.normalize, backbone.runtime.dtype,
        backbone.device.type, torch.__version__, type(backbone.model).__name__,
    )  # fmt: skip
    digest = hashlib.sha256("\0".join(map(str, how)).encode())
    for part in (tokens.ids, tokens.lengths, tokens.index):
        digest.update(f"\0{part.dtype}{part.shape}".encode())
        digest.update(part.tobytes())
    return digest.hexdigest()


def _read(path: Path, shape: tuple[int, int]) -> Tensor | None:
    """What is kept there, if all of it is."""
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            vectors: Tensor = file.get_tensor("vectors")
            sealed = (file.metadata() or {}).get("sha256")
    except (OSError, safetensors.SafetensorError):
        return None
    sound = vectors.shape == shape and vectors.dtype == torch.float64
    if not sound or sealed != _seal(vectors):
        return None
    with suppress(OSError):
        path.touch()  # so that the least recently used go first
    return vectors


def _write(path: Path, vectors: Tensor) -> None:
    content = safetensors.torch.save({"vectors": vectors.contiguous()}, {"sha256": _seal(vectors)})
    file = CacheFile()
    try:
        file.create(path, len(content))
        file.write(memoryview(content), 0)
        file.publish(path)
    finally:
        file.close()


def _seal(vectors: Tensor) -> str:
    return hashlib.sha256(vectors.contiguous().numpy().data).hexdigest()
