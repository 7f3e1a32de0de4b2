import gzip
import hashlib
import http.server
import socket
import threading

import pytest
from pydantic import ValidationError

from gollum.data import published
from gollum.data.catalog import Task, all_tasks, download, get_task, task_names
from gollum.errors import DataError
from helpers import make_task

# fmt: off
NAMES = [
    "bh-cf3", "bh-methoxy", "bh-ethyl", "bh-2-pyridyl", "bh-3-pyridyl", "suzuki-perera",
    "additives-1", "additives-2", "additives-3", "additives-4", "suzuki-edbo",
    "suzuki-edboplus-conversion", "suzuki-edboplus-selectivity", "deoxyfluorination",
    "cn-nanoscale", "amide-coupling", "ch-arylation", "suzuki-phosphines", "ni-suzuki",
    "n-alkylation", "reductive-amination", "suzuki-informer", "chan-lam", "chan-lam-byproduct",
    "hplc", "reizman-suzuki-1", "reizman-turnover-1", "reizman-suzuki-2", "reizman-turnover-2",
    "reizman-suzuki-3", "reizman-turnover-3", "reizman-suzuki-4", "reizman-turnover-4",
    "baumgartner-aniline", "baumgartner-benzamide", "snar", "benzylation", "suzuki-process",
    "alkox", "fullerenes", "ocm-c2", "oer", "vapdiff", "ocm-c2-full", "oer-3851", "oer-3860",
    "oer-4098", "crossed-barrel", "p3ht-cnt", "autoam", "perovskite-gap",
    "opv-photodegradation", "colors-bob", "colors-n9", "redox-ered", "redox-gsol",
    "kinase-docking", "photovoltaics-pce", "photoswitch", "esol", "freesolv", "lipophilicity",
    "laser-emitters", "laser-multi-strength", "laser-multi-gap", "dye-lasers-peak",
    "dye-lasers-overlap", "dye-lasers-rate",
]
# fmt: on
TABLE = gzip.compress(b"ligand,SMILES,y\na,C,1\nb,CC,2.5\nb,CC,3\n", mtime=0)


@pytest.fixture(autouse=True)
def own_folders(tmp_path, monkeypatch):
    monkeypatch.setenv("GOLLUM_CACHE", str(tmp_path / "cache" / "gollum"))
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
    return make_task(**{"sha256": hashlib.sha256(TABLE).hexdigest()} | changes)


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
    # fmt: off
    assert minimized == {
        "redox-ered", "redox-gsol", "kinase-docking", "freesolv", "chan-lam-byproduct", "snar",
        "benzylation", "oer-3851", "oer-3860", "oer-4098", "perovskite-gap", "opv-photodegradation",
        "colors-bob", "colors-n9", "dye-lasers-overlap",
    }
    # fmt: on


def test_tasks_behind_a_url_pin_a_commit_and_a_hash():
    for task in all_tasks():
        assert len(task.sha256) == 64
        for place in (task, task.authors_texts):
            if place is not None and place.url is not None:
                assert "/gollum/fef07b903fa37c00b3b9ac02e9d131cb5accafd9/" in place.url
                assert place.local.startswith("gollum19/")


def test_no_pool_is_there_twice():
    pools = [(task.sha256, task.objective) for task in all_tasks()]
    assert len(set(pools)) == len(pools)
    for task in all_tasks():
        low, high = task.range
        assert low < high


def test_the_texts_of_the_paper_s_authors():
    with_texts = [task.name for task in all_tasks() if task.authors_texts]
    assert with_texts == [*NAMES[:6], "hplc", "ocm-c2", "oer", "vapdiff"]


def test_unknown_task_suggests_the_nearest():
    with pytest.raises(DataError, match="Did you mean 'suzuki-perera'"):
        get_task("suzuki-perrera")
    with pytest.raises(DataError, match="gollum tasks"):
        get_task("zzz")


def test_a_task_is_frozen_and_has_no_other_keys():
    with pytest.raises(ValidationError, match="frozen"):
        made().rows = 1
    with pytest.raises(ValidationError, match="extra"):
        made(colour="red")


@pytest.mark.parametrize(
    "changes",
    [
        {"file": "x.csv"},
        {"file": "x.csv", "local": None},
        {"local": None},
        {"url": None, "local": None},
        {"structures": ("rxn",)},
    ],
)
def test_an_inconsistent_task_is_refused(changes):
    with pytest.raises(ValidationError):
        made(**changes)


def test_a_missing_task_says_how_to_get_it():
    with pytest.raises(DataError, match=r"--download toy`, or set GOLLUM_DATA.*gollum19/toy"):
        made().load()


def test_a_missing_task_without_an_address_says_where_it_comes_from(tmp_path):
    for get in (Task.load, download):
        with pytest.raises(
            DataError, match=r"cannot be downloaded.*GOLLUM_DATA.*toy.*from here\.$"
        ):
            get(made(url=None))


def test_download_then_load(server, cache):
    task = served(server)
    assert not task.is_here()
    assert download(task) == (cache / "toy.csv.gz",) == (task.path(),)
    pool = task.load()
    assert pool.name == "toy"
    assert pool.values.tolist() == [1.0, 2.5]
    assert "1 of 3 rows repeat" in pool.notes[0]
    assert [p.name for p in cache.iterdir()] == ["toy.csv.gz"]


def test_download_into_a_folder(server, tmp_path):
    (file,) = download(served(server), tmp_path / "elsewhere")
    assert file == tmp_path / "elsewhere" / "toy.csv.gz"
    assert file.read_bytes() == TABLE


def test_download_of_a_bundled_task_returns_its_file():
    assert download(get_task("esol")) == (get_task("esol").path(),)


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
    local.write_bytes(gzip.compress(b"SMILES,ligand,y\nC,a,3\nCC,a,2\nCCC,a,1\n"))
    assert task.path() == local
    assert task.load().values.tolist() == [3.0, 2.0, 1.0]


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"SMILES,ligand,y\nC,a,7\n", "expected 3 rows, got 1"),
        (b"SMILES,ligand,y\nC,a,7\nC,b,\nC,c,9\n", "blank cells"),
        (b"SMILES,ligand,y\nC,a,10\nC,b,20\nC,c,30\n", "from 10 to 30, .* from 1 to 3"),
        (b"SMILES,ligand,y\nC,a,1\nC,b,2\nC,c,3.1\n", "from 1 to 3.1"),
        (b"SMILES,y\nC,7\nC,8\nC,9\n", "no column 'ligand'"),
    ],
)
def test_a_damaged_local_table_is_refused(tmp_path, monkeypatch, content, says):
    monkeypatch.setenv("GOLLUM_DATA", str(tmp_path))
    (tmp_path / "gollum19").mkdir()
    (tmp_path / "gollum19" / "toy.csv.gz").write_bytes(gzip.compress(content))
    with pytest.raises(DataError, match=says):
        made().load()


def put(folder, monkeypatch, name, content):
    monkeypatch.setenv("GOLLUM_DATA", str(folder))
    (folder / name).parent.mkdir(exist_ok=True)
    (folder / name).write_bytes(content)


def test_a_table_that_is_only_local_has_a_hash(tmp_path, monkeypatch):
    task = made(url=None, local="process/toy.csv.gz")
    put(tmp_path, monkeypatch, task.local, TABLE)
    assert task.load().values.tolist() == [1.0, 2.5]
    assert download(task) == (task.path(),)
    put(tmp_path, monkeypatch, task.local, gzip.compress(gzip.decompress(TABLE) + b"\n", mtime=0))
    with pytest.raises(DataError, match=r"^[^\n]*sha256 differs[^\n]*$"):
        task.load()


def test_replicates_are_averaged_where_the_task_says_so(tmp_path, monkeypatch):
    task = made(replicates="mean")
    put(tmp_path, monkeypatch, task.local, TABLE)
    pool = task.load()
    assert pool.values.tolist() == [1.0, 2.75]
    assert pool.ids.tolist() == ["r1", "r2"]
    assert "averaged" in pool.notes[-1]


def test_absent_components_are_blank(tmp_path, monkeypatch):
    task = made(absent=("NO_LIGAND",), range=(1, 2), rows=2)
    table = b"ligand,SMILES,y\nNO_LIGAND,C,1\nb,NO_LIGANDS,2\n"
    put(tmp_path, monkeypatch, task.local, gzip.compress(table))
    assert task.load().table.to_numpy().tolist() == [["", "C"], ["b", "NO_LIGANDS"]]


def test_a_changed_download_is_refused(server, cache):
    task = served(server)
    download(task)[0].write_bytes(gzip.compress(b"ligand,SMILES,y\na,C,1\na,C,1\na,C,1\n"))
    with pytest.raises(DataError, match="sha256 differs"):
        task.load()


def test_a_changed_bundled_table_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(published, "tasks_folder", lambda: tmp_path)
    (tmp_path / "toy.csv.gz").write_bytes(b"other")
    with pytest.raises(DataError, match="sha256 differs"):
        made(url=None, local=None, file="toy.csv.gz").load()
