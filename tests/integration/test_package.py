"""The built wheel is complete: installed alone, all of it is there and works."""

import importlib.util
import json
import os
import shutil
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PARTS = ("pyproject.toml", "README.md", "LICENSE", "NOTICE")
pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("hatchling") is None or importlib.util.find_spec("pip") is None,
    reason="building a wheel needs pip and hatchling",
)

# Imports every module of the package and says where each came from.
WALK = """
import importlib, json, pkgutil, warnings
warnings.simplefilter("ignore")
import gollum
names = ["gollum"]
names += [m.name for m in pkgutil.walk_packages(gollum.__path__, "gollum.")]
print(json.dumps({name: importlib.import_module(name).__file__ for name in names}))
"""


def command(*words, **options):
    environment = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "PYTHONHOME")}
    environment |= {"PIP_DISABLE_PIP_VERSION_CHECK": "1", "PIP_NO_INPUT": "1", "COLUMNS": "400"}
    done = subprocess.run(
        [str(word) for word in words],
        env=environment, capture_output=True, text=True, check=False, **options,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """The wheel, built from a copy of what goes into it."""
    source = tmp_path_factory.mktemp("source")
    for name in PARTS:
        shutil.copy(ROOT / name, source / name)
    shutil.copytree(ROOT / "src", source / "src", ignore=shutil.ignore_patterns("__pycache__"))
    target = tmp_path_factory.mktemp("wheel")
    flags = ["--no-build-isolation", "--no-deps", "--no-index", "--quiet"]
    command(sys.executable, "-m", "pip", "wheel", *flags, "--wheel-dir", target, source)
    (built,) = target.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory):
    """A fresh environment that holds the wheel; its dependencies are read from this one.

    A line in a .pth file puts this environment's packages last on the path, without running the
    .pth files in there, so that an editable installation stays out of sight.
    """
    folder = tmp_path_factory.mktemp("fresh") / "env"
    venv.create(folder, with_pip=False, symlinks=True)
    python = folder / "bin" / "python"
    flags = ["--no-deps", "--no-index", "--quiet"]
    command(sys.executable, "-m", "pip", "--python", python, "install", *flags, wheel)
    (packages,) = folder.glob("lib/python*/site-packages")
    (packages / "parent.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return folder


def modules_of_the_source():
    files = (ROOT / "src").rglob("*.py")
    parts = (file.relative_to(ROOT / "src").with_suffix("").parts for file in files)
    return {".".join(p[:-1] if p[-1] == "__init__" else p) for p in parts}


def test_every_module_is_imported_from_the_wheel(installed, tmp_path):
    places = json.loads(command(installed / "bin" / "python", "-c", WALK, cwd=tmp_path))
    assert set(places) == modules_of_the_source()
    outside = {n: f for n, f in places.items() if not Path(f).is_relative_to(installed)}
    assert outside == {}


def test_tables_and_catalogue_are_in_the_wheel(installed):
    (folder,) = installed.glob("lib/python*/site-packages/gollum/data/tasks")
    source = ROOT / "src" / "gollum" / "data" / "tasks"
    expected = {file.name: file.read_bytes() for file in source.iterdir()}
    assert "organic-synthesis.yaml" in expected
    assert len(expected) > 5
    assert {file.name: file.read_bytes() for file in folder.iterdir()} == expected


def test_the_wheel_holds_every_file_of_the_package_and_nothing_else(wheel):
    held = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    source = ROOT / "src"
    files = [file for file in (source / "gollum").rglob("*") if file.is_file()]
    made = {file.relative_to(source).as_posix() for file in files if file.suffix != ".pyc"}
    assert held == made
    assert "gollum/py.typed" in held


def test_the_licence_travels_with_the_wheel(installed):
    (licences,) = installed.glob("lib/python*/site-packages/gollum-*.dist-info/licenses")
    assert {file.name for file in licences.iterdir()} == {"LICENSE", "NOTICE"}


def test_the_commands_work_from_the_wheel(installed, tmp_path):
    gollum = installed / "bin" / "gollum"
    assert "run" in command(gollum, "--help", cwd=tmp_path)
    shown = command(gollum, "tasks", cwd=tmp_path)
    assert "bh-ethyl" in shown
    assert "bundled" in shown


def test_a_bundled_task_runs_from_the_wheel(installed, tmp_path):
    keys = ["--data.task", "photoswitch", "--surrogate", "one_hot", "--n_iters", 1]
    words = ["run", *keys, "--threads", 1, "--output", "out"]
    assert "iteration 1/1" in command(installed / "bin" / "gollum", *words, cwd=tmp_path)
    assert (tmp_path / "out" / "progress.png").is_file()
