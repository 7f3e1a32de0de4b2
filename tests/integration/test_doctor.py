"""What `gollum doctor` finds, and what it removes."""

import pytest

from gollum.cachefile import cache_folder, kept
from gollum.report import doctor


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.setenv("GOLLUM_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "share"))
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setattr(doctor, "SECONDS", 0.01)


def cached(kind, size):
    folder = cache_folder(kind)
    folder.mkdir(parents=True)
    (folder / f"{'a' * 64}.safetensors").write_bytes(b"x" * size)


def test_everything_is_told_with_what_to_do(gollum, monkeypatch):
    cached("vectors", 3 * 2**20)
    monkeypatch.setenv("GOLLUM_DATA", "nowhere")
    monkeypatch.setattr("gollum.report.doctor.os.getloadavg", lambda: (99.0, 99.0, 99.0))
    code, out, _ = gollum("doctor")
    assert code == 0
    for words in ("gollum", "torch", "usable cores", "GFLOP/s", "minilm", "3.0 MiB in"):
        assert words in out
    assert "- load: others are busy here" in out
    assert "- here: GOLLUM_DATA is 'nowhere', which is no folder." in out


def test_cleaning_removes_what_can_be_computed_again_and_nothing_else(gollum, tmp_path):
    cached("vectors", 2**20)
    cached("activations", 2**20)
    paid = tmp_path / "cache" / "embeddings.sqlite"
    paid.write_bytes(b"paid for")
    strange = cache_folder("vectors") / "mine.safetensors"
    strange.write_bytes(b"mine")
    code, out, _ = gollum("doctor", "--clean")
    assert code == 0
    assert out == "2.0 MiB of cached features were removed.\n"
    assert paid.exists()
    assert strange.exists()
    assert kept(cache_folder("activations")) == 0


def test_unknown_words_are_refused(gollum):
    code, _, err = gollum("doctor", "--cleen")
    assert (code, err) == (2, "gollum: '--cleen' is not an option of gollum doctor.\n")
