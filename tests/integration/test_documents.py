"""The documents: what they show runs, what they link to is there, and the site needs no network."""

import importlib.util
import os
import re
import subprocess
import sys

import pytest

from documents import DOCS, LINK, PAGES, ROOT, anchors, blocks, commands
from gollum.benchmark.config import keys
from gollum.cli import _parser
from gollum.registry import Registry

needs_mkdocs = pytest.mark.skipif(
    any(importlib.util.find_spec(name) is None for name in ("mkdocs", "mkdocstrings")),
    reason="building the site needs the extra 'docs'",
)
RUN = [  # as they stand, one block after the other
    *sorted([*DOCS.glob("start/*.md"), *DOCS.glob("concepts/*.md"), *DOCS.glob("reference/*.md")]),
    *(DOCS / name for name in ("index.md", "faq.md", "extending.md")),
]
SHOWN = {"python", "bash", "hidden"}
ELSEWHERE = re.compile(r'<(?:script|img|iframe|link)\b[^>]*\b(?:src|href)="(?:https?:)?//')


def named(page):
    return page.relative_to(ROOT).as_posix()


@pytest.fixture
def registries(monkeypatch):
    """Left as they were: pages register things of their own."""
    import gollum

    registries = ("REPRESENTATIONS", "KERNELS", "SURROGATES", "CRITERIA", "STRATEGIES")
    for registry in (getattr(gollum, name) for name in registries):
        assert isinstance(registry, Registry)
        assert list(registry)
        monkeypatch.setattr(registry, "_known", dict(registry._known))


@pytest.mark.parametrize(
    "page", [p for p in RUN if {b.language for b in blocks(p)} & SHOWN], ids=named
)
def test_every_block_runs(page, gollum, registries, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    module = type(sys)("example")
    monkeypatch.setitem(sys.modules, "example", module)  # for dataclasses
    session = {"__name__": "example"}  # one after the other, as a reader would
    for block in blocks(page):
        where = f"{named(page)}:{block.line}"
        if block.mark == "file":
            (tmp_path / block.told).write_text(block.code, "utf-8")
        elif block.mark == "no-run":
            assert len(block.told.split()) > 3, f"{where}: say why it is not run"
        elif block.language in ("python", "hidden"):
            exec(compile(block.code, where, "exec"), session)  # noqa: S102 (it is our own page)
        elif block.language == "bash":
            for command, *words in commands(block.code):
                assert command == "gollum", f"{where}: {command} can't be run here; say why: no-run"
                code, _, err = gollum(*words)
                assert code == 0, f"{where}: {' '.join(words)}: {err}"


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_every_command_is_understood(page, monkeypatch):
    monkeypatch.chdir(ROOT)
    known = {key.replace("-", "_") for key in keys()}
    for block in blocks(page):
        if block.language == "python":
            compile(block.code, f"{named(page)}:{block.line}", "exec")
        if block.language != "bash":
            continue
        for command, *words in commands(block.code):
            if command != "gollum" or "--help" in words:
                continue
            where = f"{named(page)}:{block.line}: gollum {' '.join(words)}"
            given, rest = _parser().parse_known_args(words)
            assert given.command, where
            options = {w[2:].partition("=")[0].replace("-", "_") for w in rest if w[:2] == "--"}
            assert options <= known, f"{where}: {options - known}"


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_every_link_leads_somewhere(page):
    text = re.sub(r"```.*?```|`[^`\n]*`", "", page.read_text("utf-8"), flags=re.DOTALL)
    for link in LINK.finditer(text):
        target = link["target"]
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        to = page if not path else (page.parent / path).resolve()
        assert to.exists(), f"{named(page)}: there is no {target}"
        if anchor and to.suffix == ".md":
            assert anchor in anchors(to), f"{named(page)}: {to.name} has no section #{anchor}"


def test_the_reference_has_every_public_name_and_every_entry():
    import gollum

    pages = {page.name: page.read_text("utf-8") for page in (DOCS / "reference").glob("*.md")}
    told = set(re.findall(r"^::: gollum\.(\w+)$", "\n".join(pages.values()), re.MULTILINE))
    assert {name for name in gollum.__all__ if not name.isupper()} - told == {"__version__"}
    for name in (name for name in gollum.__all__ if name.isupper()):
        assert f"`{name}`" in pages["names.md"]
        for entry in (e for e in getattr(gollum, name)._known):
            assert f"`{entry}`" in pages["names.md"], f"{name}: {entry}"


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The site, built as `make docs` does."""
    folder = tmp_path_factory.mktemp("site")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--site-dir", str(folder)],
        cwd=ROOT, env=os.environ | {"NO_MKDOCS_2_WARNING": "1"},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return folder


@needs_mkdocs
def test_the_site_is_built_without_a_warning_and_loads_nothing_from_elsewhere(site):
    pages = [page for page in site.rglob("*.html") if page.name != "campaign-report.html"]
    assert len(pages) > 25
    for page in pages:
        text = page.read_text("utf-8")
        assert not ELSEWHERE.search(text), page
        assert 'class="arithmatex"' not in text, f"{page}: a formula is not drawn"
    assert "<math" in (site / "method.html").read_text("utf-8")
    assert "gollum.Campaign.suggest" in (site / "reference" / "campaigns.html").read_text("utf-8")


@pytest.mark.slow
@needs_mkdocs
def test_a_browser_asks_nobody_else(site):
    playwright = pytest.importorskip("playwright.sync_api")
    from served import chromium

    if chromium() is None:
        pytest.skip("no Chromium is installed")
    asked = []
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=chromium(), args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 390, "height": 800})
        page.on("request", lambda request: asked.append(request.url))
        for path in sorted(site.rglob("*.html")):
            page.goto(path.as_uri())
            wide = page.evaluate("document.documentElement.scrollWidth")
            assert wide <= 390 or path.name == "campaign-report.html", f"{path.name}: {wide} wide"
        page.goto((site / "index.html").as_uri())
        page.locator("label[for=__search]").first.click()
        page.locator("input.md-search__input").press_sequentially("lengthscale")
        page.locator(".md-search-result__item").first.wait_for()
        browser.close()
    assert asked
    assert {url for url in asked if not url.startswith(("file:", "data:", "blob:"))} == set()
