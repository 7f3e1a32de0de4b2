import gzip
import hashlib
import http.server
import socket
import threading

import pytest
from pydantic import ValidationError

from gollum.data import catalog
from gollum.data.catalog import Task, all_tasks, download, get_task, task_names
from gollum.errors import DataError

# fmt: off
NAMES = [
    "bh-cf3", "bh-methoxy", "bh-ethyl", "bh-2-pyridyl", "bh-3-pyridyl", "suzuki-perera",
    "additives-1", "additives-2", "additives-3", "additives-4", "hplc", "ocm-c2", "oer", "vapdiff",
    "redox-ered", "redox-gsol", "kinase-docking", "photovoltaics-pce", "photoswitch", "esol",
    "freesolv",
]
# fmt: on
TABLE = gzip.compress(b"ligand,SMILES,y\na,C,1\nb,CC,2.5\nb,CC,3\n", mtime=0)


@pytest.fixture(autouse=True)
def own_folders(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.delenv("GOLLUM_DATA", raising=False)


@pytest.fixture
def cache(tmp_path):
    return tmp_path / "cache" / "gollum" / "tasks"


@pytest.fixture
def server(tmp_path):
    """Serve a folder on this machine only; yields its address and the folder."""
    folder = tmp_path / "served"
    folder.mkdir()

    class Handler(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *args):
            super().__init__(*args, directory=str(folder))

        def log_message(self, *args):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as httpd:
        thread = threading.Thread(target=httpd.serve_forever, args=(0.01,))
        thread.start()
        yield f"http://127.0.0.1:{httpd.server_address[1]}", folder
        httpd.shutdown()
        thread.join()


def made(**changes):
    return Task(
        **{
            "name": "toy",
            "title": "A toy",
            "group": "molecules",
            "rows": 3,
            "objective": "y",
            "unit": "-",
            "direction": "maximize",
            "inputs": ("ligand", "SMILES"),
            "structures": ("SMILES",),
            "template": "{ligand} {SMILES}",
            "licence": "none",
            "source": "here",
            "citation": "us",
            "url": "http://127.0.0.1:9/toy.csv.gz",
            "sha256": hashlib.sha256(TABLE).hexdigest(),
            "local": "gollum19/toy.csv.gz",
        }
        | changes
    )


def served(server):
    address, folder = server
    (folder / "toy.csv.gz").write_bytes(TABLE)
    return made(url=f"{address}/toy.csv.gz")


def test_the_catalogue_names_all_tasks():
    assert list(task_names()) == NAMES
    assert {task.group for task in all_tasks()} == {
        "organic synthesis",
        "process",
        "materials and catalysis",
        "molecules",
    }


def test_ten_tasks_are_bundled():
    bundled = [task for task in all_tasks() if task.is_bundled]
    assert len(bundled) == 10
    assert all(task.is_here() for task in bundled)
    assert sum(task.path().stat().st_size for task in bundled) < 500_000


def test_minimized_tasks():
    minimized = {task.name for task in all_tasks() if task.direction == "minimize"}
    assert minimized == {"redox-ered", "redox-gsol", "kinase-docking", "freesolv"}


def test_tasks_behind_a_url_pin_a_commit_and_a_hash():
    for task in all_tasks():
        assert len(task.sha256) == 64
        if not task.is_bundled:
            assert "/schwallergroup/gollum/fef07b903fa37c00b3b9ac02e9d131cb5accafd9/" in task.url
            assert task.local.startswith("gollum19/")


def test_unknown_task_suggests_the_nearest():
    with pytest.raises(DataError, match="Did you mean 'suzuki-perera'"):
        get_task("suzuki")
    with pytest.raises(DataError, match="gollum tasks"):
        get_task("zzz")


def test_a_task_is_frozen_and_has_no_other_keys():
    with pytest.raises(ValidationError, match="frozen"):
        made().rows = 1
    with pytest.raises(ValidationError, match="extra"):
        made(colour="red")


@pytest.mark.parametrize(
    "changes",
    [{"file": "x.csv"}, {"url": None}, {"local": None}, {"structures": ("rxn",)}],
)
def test_an_inconsistent_task_is_refused(changes):
    with pytest.raises(ValidationError):
        made(**changes)


def test_a_missing_task_says_how_to_get_it():
    with pytest.raises(DataError, match=r"--download toy`, or set GOLLUM_DATA.*gollum19/toy"):
        made().load()


def test_download_then_load(server, cache):
    task = served(server)
    assert not task.is_here()
    assert download(task) == cache / "toy.csv.gz" == task.path()
    pool = task.load()
    assert pool.name == "toy"
    assert pool.values.tolist() == [1.0, 2.5]
    assert "1 of 3 rows repeat" in pool.notes[0]
    assert [p.name for p in cache.iterdir()] == ["toy.csv.gz"]


def test_download_into_a_folder(server, tmp_path):
    file = download(served(server), tmp_path / "elsewhere")
    assert file == tmp_path / "elsewhere" / "toy.csv.gz"
    assert file.read_bytes() == TABLE


def test_download_of_a_bundled_task_returns_its_file():
    assert download(get_task("esol")) == get_task("esol").path()


def test_a_wrong_hash_leaves_nothing_behind(server, cache):
    task = served(server).model_copy(update={"sha256": "0" * 64})
    with pytest.raises(DataError, match="no longer gives the published table"):
        download(task)
    assert not cache.exists()


def test_a_page_that_is_not_there(server, cache):
    with pytest.raises(DataError, match=r"could not be fetched.*not found"):
        download(made(url=f"{server[0]}/toy.csv.gz"))
    assert not cache.exists()


def test_no_network(cache):
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
    with pytest.raises(DataError, match=r"could not be fetched.*refused") as caught:
        download(made(url=f"http://127.0.0.1:{port}/toy.csv.gz"))
    assert "\n" not in str(caught.value)
    assert not cache.exists()


def test_a_folder_that_cannot_be_written(server, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match="cannot be written"):
        download(served(server), tmp_path / "file" / "below")


def test_the_local_folder_goes_first(server, tmp_path, monkeypatch):
    task = served(server)
    download(task)
    monkeypatch.setenv("GOLLUM_DATA", str(tmp_path))
    assert task.load().values.tolist() == [1.0, 2.5]
    local = tmp_path / "gollum19" / "toy.csv.gz"
    local.parent.mkdir()
    local.write_bytes(gzip.compress(b"SMILES,ligand,y\nC,a,7\nCC,a,8\nCCC,a,9\n"))
    assert task.path() == local
    assert task.load().values.tolist() == [7.0, 8.0, 9.0]


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"SMILES,ligand,y\nC,a,7\n", "expected 3 rows, got 1"),
        (b"SMILES,ligand,y\nC,a,7\nC,b,\nC,c,9\n", "blank cells"),
        (b"SMILES,y\nC,7\nC,8\nC,9\n", "no column 'ligand'"),
    ],
)
def test_a_damaged_local_table_is_refused(tmp_path, monkeypatch, content, says):
    monkeypatch.setenv("GOLLUM_DATA", str(tmp_path))
    (tmp_path / "gollum19").mkdir()
    (tmp_path / "gollum19" / "toy.csv.gz").write_bytes(gzip.compress(content))
    with pytest.raises(DataError, match=says):
        made().load()


def test_a_changed_download_is_refused(server, cache):
    task = served(server)
    download(task).write_bytes(gzip.compress(b"ligand,SMILES,y\na,C,1\na,C,1\na,C,1\n"))
    with pytest.raises(DataError, match="sha256 differs"):
        task.load()


def test_a_changed_bundled_table_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(catalog, "_tasks_folder", lambda: tmp_path)
    (tmp_path / "toy.csv.gz").write_bytes(b"other")
    with pytest.raises(DataError, match="sha256 differs"):
        made(url=None, local=None, file="toy.csv.gz").load()
