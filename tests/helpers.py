"""Tiny random language models and small pools for the tests."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from peft.tuners.lora import LoraLayer
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import WhitespaceSplit
from tokenizers.processors import TemplateProcessing
from transformers import (
    AlbertConfig,
    BartConfig,
    BertConfig,
    DebertaV2Config,
    DistilBertConfig,
    FalconConfig,
    Gemma2Config,
    Gemma3TextConfig,
    GPT2Config,
    LlamaConfig,
    MistralConfig,
    ModernBertConfig,
    MPNetConfig,
    Phi3Config,
    PreTrainedConfig,
    PreTrainedTokenizerFast,
    Qwen2Config,
    Qwen2Tokenizer,
    Qwen3Config,
    RobertaConfig,
    T5Config,
)
from transformers.models.auto.modeling_auto import AutoModel

from gollum.data.catalog import Task
from gollum.data.pool import Pool
from gollum.features.problem import Problem
from gollum.features.representations import Setup
from gollum.language.backbone import Backbone
from gollum.language.embed import tokenize
from gollum.language.engine import AdaptedText
from gollum.language.engine.adapters import reset_lora
from gollum.language.engine.fused import ADAPTER
from gollum.language.loading import load_backbone
from gollum.listener import SILENT, Listener
from gollum.runtime import Runtime, seeded
from gollum.settings import Settings
from gollum.surrogates.specs import surrogate_factory

WIDTH, LAYERS, HEADS, POSITIONS = 32, 4, 2, 64
SPECIAL = ("<pad>", "<unk>", "<cls>", "<sep>", "<eos>")
WORDS = tuple(f"w{i}" for i in range(40))
VOCABULARY = (*SPECIAL, *WORDS)
CPU = Runtime(torch.device("cpu"), torch.float32)

_IDS = {"pad_token_id": 0, "bos_token_id": 2, "eos_token_id": 4}
_BERT = {
    "vocab_size": len(VOCABULARY),
    "hidden_size": WIDTH,
    "num_hidden_layers": LAYERS,
    "num_attention_heads": HEADS,
    "intermediate_size": 2 * WIDTH,
    "max_position_embeddings": POSITIONS,
}
_DECODER = _BERT | _IDS | {"num_key_value_heads": 1}
_WIDE = _DECODER | {"head_dim": WIDTH // HEADS}

CONFIGS: dict[str, Callable[[], PreTrainedConfig]] = {
    "bert": lambda: BertConfig(**_BERT),
    "roberta": lambda: RobertaConfig(**_BERT | {"pad_token_id": 0}),
    "mpnet": lambda: MPNetConfig(**_BERT | {"pad_token_id": 0}),
    "modernbert": lambda: ModernBertConfig(
        **_BERT | {"pad_token_id": 0, "local_attention": 6, "global_attn_every_n_layers": 2}
    ),
    "distilbert": lambda: DistilBertConfig(
        vocab_size=len(VOCABULARY),
        dim=WIDTH,
        n_layers=LAYERS,
        n_heads=HEADS,
        hidden_dim=2 * WIDTH,
        max_position_embeddings=POSITIONS,
    ),
    "albert": lambda: AlbertConfig(**_BERT | _IDS | {"embedding_size": WIDTH // 2}),
    # With the convolution of the large ones, behind the lowest layer.
    "deberta": lambda: DebertaV2Config(
        **_BERT,
        pad_token_id=0,
        type_vocab_size=0,
        relative_attention=True,
        pos_att_type=["p2c", "c2p"],
        position_biased_input=False,
        position_buckets=8,
        share_att_key=True,
        norm_rel_ebd="layer_norm",
        conv_kernel_size=3,
        conv_act="gelu",
    ),
    "t5": lambda: T5Config(
        vocab_size=len(VOCABULARY),
        d_model=WIDTH,
        d_kv=WIDTH // HEADS,
        d_ff=2 * WIDTH,
        num_layers=LAYERS,
        num_heads=HEADS,
        pad_token_id=0,
        eos_token_id=4,
        decoder_start_token_id=0,
    ),
    "bart": lambda: BartConfig(
        vocab_size=len(VOCABULARY),
        d_model=WIDTH,
        encoder_layers=LAYERS,
        decoder_layers=LAYERS,
        encoder_attention_heads=HEADS,
        decoder_attention_heads=HEADS,
        encoder_ffn_dim=2 * WIDTH,
        decoder_ffn_dim=2 * WIDTH,
        max_position_embeddings=POSITIONS,
        decoder_start_token_id=4,
        forced_eos_token_id=4,
        **_IDS,
    ),
    "llama": lambda: LlamaConfig(**_DECODER),
    "qwen2": lambda: Qwen2Config(**_DECODER),
    "qwen3": lambda: Qwen3Config(**_WIDE),
    "mistral": lambda: MistralConfig(**_DECODER, sliding_window=6),
    "gemma2": lambda: Gemma2Config(**_WIDE, sliding_window=20, attn_logit_softcapping=2.0),
    "gemma3": lambda: Gemma3TextConfig(
        **_WIDE,
        sliding_window=6,
        layer_types=["sliding_attention", "full_attention"] * (LAYERS // 2),
    ),
    "phi3": lambda: Phi3Config(**_DECODER),
    "falcon": lambda: FalconConfig(
        vocab_size=len(VOCABULARY),
        hidden_size=WIDTH,
        num_hidden_layers=LAYERS,
        num_attention_heads=HEADS,
        max_position_embeddings=POSITIONS,
        **_IDS,
    ),
    "gpt2": lambda: GPT2Config(
        vocab_size=len(VOCABULARY),
        n_positions=POSITIONS,
        n_embd=WIDTH,
        n_layer=LAYERS,
        n_head=HEADS,
        bos_token_id=2,
        eos_token_id=4,
    ),
}
FAMILIES = tuple(CONFIGS)
ENCODER_DECODERS = ("t5", "bart")
DECODERS = ("llama", "qwen2", "qwen3", "mistral", "gemma2", "gemma3", "phi3", "falcon", "gpt2")
WITHOUT_PADDING = ("falcon", "gpt2")  # nor any other token around a text


def save_tokenizer(folder: Path, family: str) -> None:
    """One token per word; special tokens as the family has them.

    The library always reads Qwen2's tokenizer as byte-pair encoding: there, a token is a letter.
    """
    if family == "qwen2":
        letters = {t: i for i, t in enumerate((*SPECIAL, "Ġ", "w", *"0123456789"))}
        special = {"unk_token": "<unk>", "eos_token": "<eos>", "pad_token": "<pad>"}
        Qwen2Tokenizer(letters, [], **special).save_pretrained(folder)
        return
    numbers = {token: i for i, token in enumerate(VOCABULARY)}
    tokenizer = Tokenizer(WordLevel(numbers, "<unk>"))
    tokenizer.pre_tokenizer = WhitespaceSplit()
    special = {"unk_token": "<unk>", "eos_token": "<eos>"}
    around = "<cls> $A" if family in DECODERS else "<cls> $A <sep>"
    around = {"t5": "$A <eos>", "qwen3": "$A <eos>"}.get(family, around)
    if family in WITHOUT_PADDING:
        around = "$A"
    else:
        special["pad_token"] = "<pad>"  # noqa: S105 (not a password)
    if family not in DECODERS and family != "t5":
        special |= {"cls_token": "<cls>", "sep_token": "<sep>"}
    tokenizer.post_processor = TemplateProcessing(
        single=around, special_tokens=[(t, VOCABULARY.index(t)) for t in SPECIAL]
    )
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, **special).save_pretrained(folder)


def save_model(
    folder: Path, family: str, seed: int = 0, config: PreTrainedConfig | None = None
) -> Path:
    """A random model of a family, with weights large enough that every token matters."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = AutoModel.from_config(config or CONFIGS[family]())
        for parameter in model.parameters():
            if parameter.dim() > 1:
                torch.nn.init.normal_(parameter, std=0.2)
        model.save_pretrained(folder)
    save_tokenizer(folder, family)
    return folder


NAMES = (
    "static", "pllm", "llm_phi", "pllm_phi", "one_hot", "morgan", "fragments", "descriptors",
    "drfp", "rxnfp",
)  # fmt: skip
TRAINED = ("pllm", "llm_phi", "pllm_phi")


def build_surrogate(
    problem: Problem,
    name: str,
    settings: Settings,
    runtime: Runtime,
    listener: Listener = SILENT,
    keep: bool = False,
) -> Any:
    """The surrogate of that name."""
    return surrogate_factory(name)(Setup(problem, settings, runtime, listener, keep))


def load(
    folder: Path, pooling: str | None = "mean", dtype: torch.dtype = torch.float32, **options: Any
) -> Backbone:
    return load_backbone(str(folder), replace(CPU, dtype=dtype), pooling=pooling, **options)


def make_texts(count: int, seed: int = 0, longest: int = 14) -> list[str]:
    """Texts of 2 to `longest` words."""
    rng = np.random.default_rng(seed)
    lengths = rng.integers(2, longest + 1, count)
    return [" ".join(rng.choice(WORDS, size)) for size in lengths]


def make_pool(count: int, seed: int = 0, values: np.ndarray | None = None) -> Pool:
    """Candidates c0, c1, … with two categories, a number and two SMILES columns."""
    rng = np.random.default_rng(seed)
    chains = ["C" * (1 + i % 7) + "O" * (i % 2) for i in range(count)]
    table = pd.DataFrame(
        {
            "ligand": [f"L{i % 3}" for i in range(count)],
            "hours": np.arange(count, dtype=float),
            "start": chains,
            "product": [f"{c}N" for c in chains],
        },
        index=pd.Index([f"c{i}" for i in range(count)], name="id"),
    )
    y = rng.normal(size=count) if values is None else np.asarray(values, dtype=np.float64)
    return Pool("demo", table, "y", "maximize", y)


def padded(backbone: Backbone, texts: list[str]) -> tuple[torch.Tensor, torch.Tensor]:
    """Token ids and mask of all distinct texts in one batch."""
    tokens = tokenize(backbone, texts)
    return tokens.padded(np.arange(len(tokens)), backbone.pad_id, backbone.device)


def fill(layers: list[LoraLayer], seed: int = 0, size: float = 0.1) -> None:
    """A and B with values of a trained size, so that the update matters."""
    with seeded(seed):
        reset_lora(layers)
        for layer in layers:
            torch.nn.init.normal_(layer.lora_B[ADAPTER].weight, std=size)


def adapt(
    backbone: Backbone, texts: list[str], *, trained: bool = True, **options: Any
) -> AdaptedText:
    """AdaptedText in eval mode, with adapters that change the output or with fresh ones."""
    options = {"rank": 4, "alpha": 16.0, "dropout": 0.0, "fraction": 0.25} | options
    text = AdaptedText(backbone, tokenize(backbone, texts), **options)
    with seeded(1):
        text.reset()
    if trained:
        fill(text._lora, seed=1)
    return text.eval()


def full_pass(text: AdaptedText) -> torch.Tensor:
    """All texts in one padded batch through the whole adapted model."""
    backbone, tokens = text.backbone, text.tokens
    ids, mask = tokens.padded(np.arange(len(tokens)), backbone.pad_id, backbone.device)
    return backbone.pool(backbone.hidden(ids, mask), mask)[text.tokens.index]


def relative(found: torch.Tensor, expected: torch.Tensor) -> float:
    """Largest difference, in units of the largest expected value."""
    found, expected = found.detach().double(), expected.detach().double()
    return ((found - expected).abs().max() / expected.abs().max()).item()


def make_task(**changes: Any) -> Task:
    """A task of three rows, of which nothing is here."""
    return Task(
        **{
            "name": "toy",
            "title": "A toy",
            "group": "molecules",
            "rows": 3,
            "objective": "y",
            "unit": "-",
            "direction": "maximize",
            "range": (1, 3),
            "inputs": ("ligand", "SMILES"),
            "structures": ("SMILES",),
            "template": "{ligand} {SMILES}",
            "licence": "none",
            "source": "here",
            "citation": "us",
            "url": "http://127.0.0.1:9/toy.csv.gz",
            "sha256": "0" * 64,
            "local": "gollum19/toy.csv.gz",
        }
        | changes
    )
