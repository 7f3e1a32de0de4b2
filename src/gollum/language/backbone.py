"""Any Hugging Face encoder, decoder or encoder-decoder, by short name, folder or hub id."""

from __future__ import annotations

import copy
import json
import logging
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from torch import Tensor
from transformers import (
    MODEL_FOR_CAUSAL_LM_MAPPING,
    MODEL_FOR_MASKED_LM_MAPPING,
    AutoConfig,
    AutoModel,
    AutoTokenizer,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)
from transformers.utils import logging as transformers_logging

from gollum.errors import ModelError, nearest
from gollum.language import attention
from gollum.language.pooling import POOLINGS
from gollum.language.sources import CATALOG, find_model
from gollum.runtime import Runtime

HUB_ERRORS = (OSError, ValueError, ImportError, RuntimeError, KeyError, SafetensorError)
SENTENCE_TRANSFORMERS_POOLING = {
    "mean_tokens": "mean",
    "cls_token": "cls",
    "lasttoken": "last_token",
    "weightedmean_tokens": "weighted_mean",
}


@dataclass(frozen=True, eq=False)
class Backbone:
    """A language model that turns token ids into token vectors.

    Attributes:
        name: as the user gave it.
        model: the encoder (for encoder-decoders) or the whole model, frozen, in eval mode.
        tokenizer: its tokenizer.
        pooling: name of a function in `pooling.POOLINGS`.
        revision: sha256 of the weights, or the hub's commit.
        runtime: device and precision.
    """

    name: str
    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    pooling: str
    revision: str
    runtime: Runtime

    @property
    def hidden_size(self) -> int:
        """Length of a token vector, read from the model."""
        return int(self.model.config.hidden_size)

    @property
    def device(self) -> torch.device:
        """Where the model lives."""
        return self.runtime.device

    @property
    def pad_id(self) -> int:
        """Token id that fills the padding; masked, so any will do where the tokenizer has none."""
        return self._first_token("pad_token_id", "eos_token_id")

    @property
    def blank_id(self) -> int:
        """Token id that stands for a text without tokens."""
        return self._first_token("eos_token_id", "bos_token_id", "pad_token_id")

    def _first_token(self, *names: str) -> int:
        """The first of these special tokens that the tokenizer has, or 0."""
        ids = (getattr(self.tokenizer, name, None) for name in names)
        return int(next((i for i in ids if i is not None), 0))

    @property
    def max_tokens(self) -> int:
        """Longest text that the model's positions and its tokenizer allow."""
        positions = getattr(self.model.config, "max_position_embeddings", None) or 10**9
        for name, module in self.model.named_modules():
            # RoBERTa and MPNet count positions from behind their padding index.
            offset = getattr(module, "padding_idx", None)
            if name.endswith("position_embeddings") and offset is not None:
                positions = module.num_embeddings - offset - 1
        return int(min(positions, self.tokenizer.model_max_length))

    def hidden(self, ids: Tensor, mask: Tensor) -> Tensor:
        """Token vectors b x t x h of b x t token ids and mask, in the runtime's precision."""
        # Attention is faster without a mask; on a GPU the question would cost a synchronisation.
        needed = None if mask.device.type == "cpu" and bool(mask.all()) else mask
        hidden: Tensor = self.model(input_ids=ids, attention_mask=needed).last_hidden_state
        return hidden

    def pool(self, hidden: Tensor, mask: Tensor) -> Tensor:
        """Pool b x t x h token vectors (mask b x t) into b x h, float64.

        Sums are in twice the precision of the token vectors.
        """
        wider = torch.float32 if hidden.dtype == torch.bfloat16 else torch.float64
        return POOLINGS[self.pooling](hidden.to(wider), mask).double()


def load_backbone(
    name: str,
    runtime: Runtime,
    *,
    pooling: str | None = None,
    trust_remote_code: bool = False,
) -> Backbone:
    """Load a frozen language model; its files are read once per process.

    What is returned shares its weights with earlier ones but nothing else, so that adapters can be
    put into it.

    Args:
        name: short name of `sources.CATALOG`, a local folder, or a hub id.
        runtime: device and precision.
        pooling: overrides what the model's files or its family say.
        trust_remote_code: whether code that comes with a model may run; off by default.

    Raises:
        ModelError: the model can't be found or is incomplete, a hash does not match, or the
            pooling is unknown.
    """
    if pooling is not None and pooling not in POOLINGS:
        raise ModelError(
            f"pooling '{pooling}' is unknown; use one of {', '.join(POOLINGS)}."
            + nearest(pooling, POOLINGS)
        )
    source = find_model(name)
    options = {"trust_remote_code": trust_remote_code, **source.loading_options()}
    with _quiet(), _refusing(name):
        config = AutoConfig.from_pretrained(source.location, **options)
        tokenizer = AutoTokenizer.from_pretrained(source.location, **options)
        revision = source.revision()
        pooled = pooling or source.card.pooling or detect_pooling(source.folder(), config)
        settings = config.to_json_string(use_diff=False)
        options |= {"dtype": runtime.dtype, **_attention(runtime)}
        key = (str(source.location), revision, settings, runtime.device, *options.items())
        if key not in _LOADED:
            _LOADED.clear()  # one model at a time
            _LOADED[key] = _read(name, source.location, config, runtime, options)
    return Backbone(name, _sharing_weights(_LOADED[key]), tokenizer, pooled, revision, runtime)


_LOADED: dict[tuple[Any, ...], PreTrainedModel] = {}


def _read(
    name: str, location: str | Path, config: Any, runtime: Runtime, options: dict[str, Any]
) -> PreTrainedModel:
    """The frozen model as its files have it."""
    model, loading = AutoModel.from_pretrained(
        location,
        config=config,
        use_safetensors=True,
        output_loading_info=True,
        **options,
    )
    _refuse_missing(name, loading["missing_keys"], config)
    if config.is_encoder_decoder:
        model = model.get_encoder()
    frozen: PreTrainedModel = model.to(runtime.device).eval().requires_grad_(False)
    return frozen


def _sharing_weights(model: PreTrainedModel) -> PreTrainedModel:
    """Modules of its own around the same tensors."""
    tensors = [*model.parameters(), *model.buffers()]
    return copy.deepcopy(model, memo={id(tensor): tensor for tensor in tensors})


def detect_pooling(folder: Path, config: Any) -> str:
    """Pooling from sentence-transformers' files when there are any, else from the family.

    Encoder-decoders are averaged, decoders use the last token, encoders the first.

    Raises:
        ModelError: the file that says it is not readable.
    """
    file = folder / "1_Pooling" / "config.json"
    if file.is_file():
        try:
            modes = json.loads(file.read_text("utf-8"))
        except ValueError:
            raise ModelError(
                f"'{file}' is not readable; copy the model again, or give --model.pooling."
            ) from None
        for key, pooling in SENTENCE_TRANSFORMERS_POOLING.items():
            if modes.get(f"pooling_mode_{key}"):
                return pooling
    if config.is_encoder_decoder:
        return "mean"
    kind = type(config)
    decoder = kind in MODEL_FOR_CAUSAL_LM_MAPPING and kind not in MODEL_FOR_MASKED_LM_MAPPING
    return "last_token" if decoder or getattr(config, "is_decoder", False) else "cls"


def _refuse_missing(name: str, missing: Iterable[str], config: Any) -> None:
    """Weights that are not in the files would stay random; only unused ones may be absent."""
    unused = ("pooler.", "decoder.") if config.is_encoder_decoder else ("pooler.",)
    lacking = sorted(key for key in missing if not key.startswith(unused))
    if lacking:
        raise ModelError(
            f"model '{name}': its files lack {len(lacking)} weights, such as '{lacking[0]}'; "
            "copy the whole model again."
        )


def _attention(runtime: Runtime) -> dict[str, str]:
    """Our own attention for bfloat16 on processors; the model's default otherwise."""
    ours = runtime.device.type == "cpu" and runtime.dtype == torch.bfloat16
    return {"attn_implementation": attention.NAME} if ours else {}


@contextmanager
def _refusing(name: str) -> Iterator[None]:
    """Turn what the loader raises into one sentence with the ways out."""
    try:
        yield
    except HUB_ERRORS as error:
        lines = str(error).strip().splitlines() or [type(error).__name__]
        raise ModelError(
            f"model '{name}' could not be loaded ({lines[0].rstrip('.')}). If no model hub is in "
            "reach, give --model.name a local folder with the model's files, or use the embedded "
            "model: --model.name minilm." + nearest(name, CATALOG)
        ) from None


@contextmanager
def _quiet() -> Iterator[None]:
    """No progress bars or remarks of the loader while a model is read."""
    verbosity = transformers_logging.get_verbosity()
    bars = transformers_logging.is_progress_bar_enabled()
    hub = logging.getLogger("huggingface_hub")
    level = hub.level
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    hub.setLevel(logging.ERROR)
    try:
        yield
    finally:
        transformers_logging.set_verbosity(verbosity)
        hub.setLevel(level)
        if bars:
            transformers_logging.enable_progress_bar()
