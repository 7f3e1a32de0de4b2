"""Loading any Hugging Face encoder, decoder or encoder-decoder: by short name, folder or hub id."""

from __future__ import annotations

import copy
import json
import logging
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from torch import nn
from transformers import (
    MODEL_FOR_CAUSAL_LM_MAPPING,
    MODEL_FOR_MASKED_LM_MAPPING,
    AutoConfig,
    AutoModel,
    AutoTokenizer,
    BitsAndBytesConfig,
    PreTrainedModel,
)
from transformers.utils import logging as transformers_logging

from gollum.errors import MissingExtraError, ModelError, nearest
from gollum.language.backbone import Backbone
from gollum.language.catalog import CATALOG
from gollum.language.engine import ATTENTION
from gollum.language.pooling import POOLINGS
from gollum.language.sources import find_model, find_prefix
from gollum.runtime import Runtime

HUB_ERRORS = (OSError, ValueError, ImportError, RuntimeError, KeyError, SafetensorError)
SENTENCE_TRANSFORMERS_POOLING = {
    "mean_tokens": "mean",
    "cls_token": "cls",
    "lasttoken": "last_token",
    "weightedmean_tokens": "weighted_mean",
}


def load_backbone(
    name: str,
    runtime: Runtime,
    *,
    pooling: str | None = None,
    normalize: bool = False,
    prefix: str | None = None,
    bits: int | None = None,
    trust_remote_code: bool = False,
) -> Backbone:
    """Load a frozen language model; its files are read once per process.

    What is returned shares its weights with earlier ones but nothing else, so that adapters can be
    put into it.

    Args:
        name: short name of `catalog.CATALOG`, a local folder, or a hub id.
        runtime: device and precision.
        pooling: overrides what the model's files or its family say.
        normalize: whether pooled vectors are scaled to length 1.
        prefix: what is put before every text; None for what its authors say.
        bits: 4 or 8 to keep the weights of linear modules in so many bits each.
        trust_remote_code: whether code that comes with a model may run; off by default.

    Raises:
        MissingExtraError: fewer bits need a package that is not installed.
        ModelError: the model can't be found or is incomplete, a hash does not match, the pooling is
            unknown, it needs code that may not run, or it can't compute in that precision.
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
        before = find_prefix(source.card, source.folder()) if prefix is None else prefix
        settings = config.to_json_string(use_diff=False)
        options |= {"dtype": runtime.dtype}
        key = (str(source.location), revision, settings, runtime.device, bits, *options.items())
        if key not in _LOADED:
            _LOADED.clear()  # one model at a time
            options |= _quantization(bits, runtime)
            _LOADED[key] = _read(name, source.location, config, runtime, options)
    model = _sharing_weights(_LOADED[key])
    return Backbone(
        name, model, tokenizer, pooled, revision, runtime, normalize, before, source.card.reads
    )


def weights_size(
    name: str, dtype: torch.dtype, *, bits: int | None = None, trust_remote_code: bool = False
) -> int:
    """Bytes that a model's weights will take, told from its configuration before any is read.

    Args:
        name: as for `load_backbone`.
        dtype: precision.
        bits: of the weights in linear modules, where it is not that of the precision.
        trust_remote_code: whether code that comes with a model may run; off by default.

    Raises:
        ModelError: the model can't be found, or needs code that may not run.
    """
    source = find_model(name)
    trust = {"trust_remote_code": trust_remote_code}
    with _quiet(), _refusing(name):
        config = AutoConfig.from_pretrained(source.location, **trust, **source.loading_options())
        with torch.device("meta"):  # shapes without numbers
            model = _text_part(AutoModel.from_config(config, **trust))
    total, usual = 0, 8 * dtype.itemsize
    linear = {id(m.weight) for m in model.modules() if type(m) is nn.Linear}
    for parameter in model.parameters():
        total += int(parameter.numel()) * (bits if bits and id(parameter) in linear else usual)
    return total // 8


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
    frozen: PreTrainedModel = _text_part(model).eval().requires_grad_(False)
    if "quantization_config" not in options:  # what is quantized is where it belongs
        frozen = frozen.to(runtime.device)
    for module in frozen.modules():
        if type(module).__name__ == "Linear4bit":
            module.train()  # in eval mode it repacks itself and can't be differentiated any more
    frozen.config.use_cache = False  # nobody reads the keys and values that decoders would keep
    if runtime.device.type == "cpu" and runtime.dtype == torch.bfloat16:
        # A model that is not written for other attention than its own keeps that.
        frozen.set_attn_implementation(ATTENTION)
    _refuse_precision(name, frozen, runtime)
    return frozen


def _quantization(bits: int | None, runtime: Runtime) -> dict[str, Any]:
    """Arguments of the loader for weights in 4 (NF4, Dettmers et al. 2023) or 8 bits."""
    if bits is None:
        return {}
    if find_spec("bitsandbytes") is None:
        raise MissingExtraError(f"a model in {bits} bits", "quantized")
    kind = BitsAndBytesConfig(
        load_in_8bit=bits == 8,
        load_in_4bit=bits == 4,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_compute_dtype=runtime.dtype,
    )
    return {"quantization_config": kind, "device_map": {"": str(runtime.device)}}


def _text_part(model: PreTrainedModel) -> PreTrainedModel:
    """The encoder of an encoder-decoder; what reads text in a model that also sees or hears."""
    if model.config.is_encoder_decoder:
        return model.get_encoder()
    return model if model.config.get_text_config() is model.config else model.get_decoder()


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


@torch.no_grad()
def _refuse_precision(name: str, model: PreTrainedModel, runtime: Runtime) -> None:
    """Some models mix precisions in their own code; a text of one token tells."""
    if runtime.dtype == torch.float32:
        return
    try:
        model(input_ids=torch.zeros(1, 1, dtype=torch.long, device=runtime.device))
    except RuntimeError as error:
        precision = str(runtime.dtype).removeprefix("torch.")
        raise ModelError(
            f"model '{name}' can't compute in {precision} ({_first_line(error)}); "
            "use --model.precision float32."
        ) from None


@contextmanager
def _refusing(name: str) -> Iterator[None]:
    """Turn what the loader raises into one sentence with the ways out."""
    try:
        yield
    except HUB_ERRORS as error:
        if "trust_remote_code" in str(error):
            raise ModelError(
                f"model '{name}' needs Python code that comes with its files, which runs only if "
                "you allow it; read that code, then give --model.trust_remote_code true."
            ) from None
        meant = "" if name in CATALOG else nearest(name, CATALOG)
        raise ModelError(
            f"model '{name}' could not be loaded ({_first_line(error)}). If no model hub is in "
            "reach, name a local folder with the model's files as model.name, or use the embedded "
            "model, minilm." + meant
        ) from None


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[0].rstrip(".")


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
