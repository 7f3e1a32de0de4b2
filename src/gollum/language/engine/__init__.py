"""The LoRA engine, which makes fine-tuning a language model's top layers fast, and its one door.

`adapted` turns rows into vectors, `adapters` places LoRA, `fused` is its arithmetic with the
dropout masks, `attention` is for bfloat16 on processors, `prefix` runs the frozen layers once and
`store` keeps what they give. The rest of the package imports from here and not from these modules
(`make lint` checks that), so that any of them can change or go.

What it costs to keep: 1,200 lines here, 2,200 of tests (`test_adapters`, `test_attention`,
`test_prefix`, `test_store`) and much of `test_families`. It depends on

- transformers: `AttentionInterface`, `AttentionMaskInterface` and what models pass to these,
  `eager_mask`, `eager_attention_forward` beside a model's attention, `Conv1D`, and layers in one
  `ModuleList` that take the hidden state first or as `hidden_states` and return it alone or first;
- PEFT: `inject_adapter_in_model` and what is inside `LoraLayer` (`lora_A`, `lora_B`,
  `lora_dropout`, `scaling`, `disable_adapters`, `enable_adapters`, `get_base_layer`);
- PyTorch: a `forward` set on one module, hooks with keyword arguments, `autograd.Function`,
  `checkpoint` with `context_fn`, and `_softmax_backward_data`, which is private: one line of
  arithmetic, written above its call.

When one of these changes, the tests that compare a part with the plain computation fail, and the
part is repaired or left out. `prefix` and `store` are out where `AdaptedText._splits_exactly` is
False (models that do not split run in full anyway, with a note), `attention` is out with "sdpa" in
place of `ATTENTION`, the arithmetic of `fused` where `inject_lora` leaves PEFT's `forward` alone.
docs/performance.md says what each of them gains (`benchmarks/ablation.py` measures it). What is
inside `LoraLayer` concerns any use of PEFT.

Without the engine, what is left is the plain path of `benchmarks/plain.py`. On two cores its fits
take 5 to 12 times as long and its scoring 13 to 22 times; 50 iterations with MiniLM take 48 minutes
and not 8 (`paper`), or 14 and not 2 (`fast`). Some of that comes from batches by length and from
bfloat16, which are not in here and could stay. Nothing was measured on a GPU. The choice of layers
(`transformer_layers`, `top_layers`, `target_modules`) is needed either way; and with masks from
another generator, runs differ from those on record.
"""

from gollum.language.engine.adapted import AdaptedText
from gollum.language.engine.adapters import target_modules, top_layers, transformer_layers
from gollum.language.engine.attention import NAME as ATTENTION
from gollum.language.engine.fused import Fused, Masks

__all__ = [
    "ATTENTION",
    "AdaptedText",
    "Fused",
    "Masks",
    "target_modules",
    "top_layers",
    "transformer_layers",
]
