"""The documentation site is built without a warning, its links lead somewhere, and its pages need no other host."""

import argparse
import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from inspect import ismodule
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
from conftest import REPOSITORY

pytest.importorskip("mkdocs", reason="mkdocs is not installed: pip install -e .[docs]")
pytestmark = pytest.mark.slow
#: Tags whose addresses a browser asks for by itself, with the attribute.
LOADED = {"script": "src", "img": "src", "iframe": "src", "source": "src", "link": "href"}
#: Relations of <link> that load nothing.
NAMES_ONLY = {"canonical", "next", "prev", "alternate"}


class Page(HTMLParser):
    """The links of a page, its anchors, what it loads, its text, and its headings."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.links: list[str] = []
        self.anchors: set[str] = set()
        self.loaded: list[str] = []
        self.text = ""
        self.silent = 0  # depth of elements whose content is not shown
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attributes):
        values = dict(attributes)
        self.anchors |= {values[name] for name in ("id", "name") if values.get(name)}
        self.silent += tag in ("script", "style")
        if tag == "a" and values.get("href"):
            self.links.append(values["href"])
        address = values.get(LOADED.get(tag, ""))
        if address and not (tag == "link" and set(values.get("rel", "").split()) & NAMES_ONLY):
            self.loaded.append(address)

    def handle_endtag(self, tag):
        self.silent -= tag in ("script", "style")

    def handle_data(self, data):
        self.text += "" if self.silent else data


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The built site; a warning of mkdocs fails here."""
    folder = tmp_path_factory.mktemp("site")
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY), "NO_MKDOCS_2_WARNING": "1"}
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", folder]
    built = subprocess.run(command, cwd=REPOSITORY, env=environment, capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stdout + built.stderr
    return folder


@pytest.fixture(scope="module")
def pages(site):
    return {path: Page(path) for path in site.rglob("*.html") if path.name != "404.html"}


def inside(address: str) -> bool:
    parts = urlsplit(address)
    return not parts.scheme and not parts.netloc


def test_links_and_anchors_lead_somewhere(pages):
    broken = []
    for path, page in pages.items():
        for address in filter(inside, [*page.links, *page.loaded]):
            parts = urlsplit(address)
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            anchor = unquote(parts.fragment)
            if not target.is_file() or (anchor and target in pages and anchor not in pages[target].anchors):
                broken.append(f"{path.name}: {address}")
    assert broken == []


def test_pages_ask_no_other_host(site, pages):
    asked = [
        f"{path.name}: {address}" for path, page in pages.items() for address in page.loaded if not inside(address)
    ]
    assert [entry for entry in asked if ": data:" not in entry] == []
    for style in site.rglob("*.css"):
        text = style.read_text(encoding="utf-8")
        assert not re.search(r"(@import|url\()\s*['\"]?(https?:)?//", text), style.name


def test_docstrings_are_written_out(pages):
    """No role of Sphinx, no prompt outside of a block and no directive of mkdocstrings is left in the text."""
    for path, page in pages.items():
        if path.parent.name == "api":
            assert not re.search(r":(class|func|meth|data|mod|attr):", page.text), path.name
            assert "::: nes2net" not in page.text, path.name


def test_the_public_contract_is_there(pages):
    import nes2net
    from nes2net import augment, metrics

    documented = {
        anchor.rpartition(".")[2] for page in pages.values() for anchor in page.anchors if "nes2net" in anchor
    }
    public = {
        name for room in (nes2net, metrics, augment) for name in room.__all__ if not ismodule(getattr(room, name))
    }
    assert {name for name in public if not name.isupper()} <= documented
    assert not [name for name in documented if name.startswith("_")]


def test_every_command_and_key_is_there(pages):
    from nes2net.cli.main import build_parser
    from nes2net.recipes.documentation import all_keys

    by_name = {path.name: page for path, page in pages.items()}
    commands = build_parser().commands()
    assert {f"nes2net-{name.replace(' ', '-')}" for name in commands} <= by_name["commands.html"].anchors
    assert [key.name for key in all_keys() if key.name not in by_name["recipe-keys.html"].text] == []
    shown = [action for parser in commands.values() for action in parser._actions if action.help != argparse.SUPPRESS]
    options = {option for action in shown for option in action.option_strings}
    assert [option for option in options - {"-h", "--help"} if option not in by_name["commands.html"].text] == []


def test_search_finds_every_page(site, pages):
    index = (site / "search" / "search_index.json").read_text(encoding="utf-8")
    for path in pages:
        assert f'"{path.relative_to(site).as_posix()}"' in index
