"""The documentation site is built without a warning, and its links lead somewhere.

Sphinx warns of a page without a place in the navigation, and of a link to a page or heading that is not there.
"""

import re
from html import unescape
from inspect import ismodule
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
from builders.scripts import python
from conftest import REPOSITORY

pytest.importorskip("sphinx", reason="sphinx is not installed: pip install -e .[docs]")
pytestmark = pytest.mark.slow


class Page:
    """The links and anchors of a page."""

    def __init__(self, path: Path) -> None:
        html = path.read_text(encoding="utf-8")
        self.links = [unescape(address) for address in re.findall(r'<a\b[^>]*?\shref="([^"]+)', html)]
        self.anchors = set(re.findall(r'<[^>]*?\s(?:id|name)="([^"]+)', html))


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The built site; a warning of Sphinx fails here."""
    folder = tmp_path_factory.mktemp("site")
    python("-m", "sphinx", "-M", "html", "docs", folder, "-W", "-q", cwd=REPOSITORY)
    return folder / "html"


@pytest.fixture(scope="module")
def pages(site):
    return {path: Page(path) for path in site.rglob("*.html") if "_static" not in path.parts}


def test_links_of_the_site_lead_to_files_and_anchors_that_exist(pages):
    broken = []
    for path, page in pages.items():
        for address in page.links:
            address_parts = urlsplit(address)
            if address_parts.scheme or address_parts.netloc:
                continue
            target = (path.parent / unquote(address_parts.path)).resolve() if address_parts.path else path
            anchor = unquote(address_parts.fragment)
            if not target.is_file() or (anchor and target in pages and anchor not in pages[target].anchors):
                broken.append(f"{path.name}: {address}")
    assert broken == []


@pytest.fixture(scope="module")
def documented(pages):
    """The names of the package that have an anchor in the site."""
    anchors = (anchor for page in pages.values() for anchor in page.anchors if "nes2net" in anchor)
    return {anchor.rpartition(".")[2] for anchor in anchors}


def test_every_public_class_and_function_has_an_anchor_in_the_site(documented):
    import nes2net
    from nes2net import augment, metrics

    public = {(room, name) for room in (nes2net, metrics, augment) for name in room.__all__ if not name.isupper()}
    assert {name for room, name in public if not ismodule(getattr(room, name))} <= documented


def test_no_private_name_has_an_anchor_in_the_site(documented):
    assert not [name for name in documented if name.startswith("_")]
