"""The documentation site: ``sphinx-build -M html docs build -W`` writes it to build/html/.

A page is a file of docs/, a Markdown file at the top of the repository, or made from the code. The
last two kinds are written to docs/reference/ while the site is built.
"""

import sys
from importlib.metadata import metadata
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx

DOCS = Path(__file__).parent
REPOSITORY = DOCS.parent
sys.path[:0] = [str(REPOSITORY), str(REPOSITORY / "scripts" / "site")]

import api  # noqa: E402
import commands  # noqa: E402
import modules  # noqa: E402
import part_options  # noqa: E402
import recipe_keys  # noqa: E402

#: The groups of the navigation, with their pages.
GROUPS = {
    "Start": [
        "install",
        "reproduce",
        "notebooks/score",
        "notebooks/train",
        "notebooks/compare",
        "notebooks/trace",
        "notebooks/person",
        "demonstration",
    ],
    "Use": [
        "data",
        "train",
        "adaptation",
        "score",
        "localisation",
        "tracing",
        "person",
        "marks",
        "evaluate",
        "experiments",
        "checkpoints",
    ],
    "Understand": [
        "plain",
        "glossary",
        "explain",
        "trust",
        "different",
        "speed",
        "faithfulness",
        "deviations",
        "architecture",
    ],
    "Reference": [
        "published",
        "reference/commands",
        "reference/recipe-keys",
        "reference/part-options",
        "python",
        "extending",
        "reference/CONTRIBUTING",
    ],
}
#: Page of a group → the pages below it.
BELOW = {
    "data": ["remote"],
    "score": ["scale", "decisions", "serve", "listen", "proxy"],
    "evaluate": ["robustness"],
    "python": [f"reference/api/{name}" for name in api.API],
    "reference/CONTRIBUTING": ["reference/files", "releasing", "reference/SECURITY", "reference/CHANGELOG"],
}
#: Pages at the top of the repository.
TOP = ("CHANGELOG", "CONTRIBUTING", "SECURITY")

project = html_title = "nes2net"
extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx_copybutton"]
exclude_patterns = ["notebooks/made", "jupyter_execute"]
default_role = "code"  # a word in single backticks, as in Markdown
smartquotes = False  # `--model` in running text stays what it is
myst_enable_extensions = ["html_image"]
myst_heading_anchors = 4
nb_execution_mode = "off"  # tests/scripts/test_notebooks.py runs them; their outputs are stored
autodoc_default_options = {"members": True, "member-order": "bysource"}
python_maximum_signature_line_length = 88
toc_object_entries_show_parents = "hide"
copybutton_prompt_text = r">>> |\.\.\. |\$ "
copybutton_prompt_is_regexp = True

html_theme = "pydata_sphinx_theme"
html_static_path = ["_static"]
html_css_files = ["site.css"]
templates_path = ["_templates"]
html_sidebars = {"**": ["navigation.html"]}
html_context = {"default_mode": "auto"}
html_show_sourcelink = False
html_copy_source = False
html_theme_options = {
    "navbar_center": [],
    "secondary_sidebar_items": ["page-toc"],
    "article_header_start": [],
    "footer_start": [],
    "footer_end": [],
    "icon_links": [
        {"name": name, "url": address, "icon": "fa-solid fa-code-branch"}
        for name, address in (line.split(", ") for line in metadata("nes2net").get_all("Project-URL", []))
    ],
}


def write_pages(_: Sphinx) -> None:
    """Write the pages that are not in docs/."""
    texts = {name: (REPOSITORY / f"{name}.md").read_text(encoding="utf-8").replace("](docs/", "](/") for name in TOP}
    texts |= {"commands": commands.page(), "recipe-keys": recipe_keys.page(), "part-options": part_options.page()}
    texts |= {"files": modules.page(), **{f"api/{name}": text for name, text in api.pages().items()}}
    pages = {DOCS / "reference" / f"{name}.md": text for name, text in texts.items()}
    for path in set((DOCS / "reference").rglob("*.md")) - pages.keys():
        path.unlink()  # of an older state
    for path, text in pages.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists() or path.read_text(encoding="utf-8") != text:  # else Sphinx would read it again
            path.write_text(text, encoding="utf-8")


def on_site(_: Sphinx, name: str, source: list[str]) -> None:
    """Lead links out of docs/ to docs/reference/, and add the navigation to the pages that have pages below them."""
    for top in TOP:
        source[0] = source[0].replace(f"](../{top}.md", f"](/reference/{top}.md")
    below = (
        {f":caption: {caption}": pages for caption, pages in GROUPS.items()}
        if name == "index"
        else {"": BELOW.get(name)}
    )
    for caption, pages in below.items():
        if pages:
            source[0] += "\n".join(
                ["\n```{toctree}", ":hidden:", caption, "", *(f"/{page}" for page in pages), "```\n"]
            )


def with_dashes(_: Sphinx, page: nodes.document) -> None:
    """Put a dash between a parameter and its description, where Sphinx leaves two hyphens to `smartquotes`."""
    for text in [text for text in page.findall(nodes.Text) if text == " -- "]:
        text.parent.replace(text, nodes.Text(" – "))


def with_defaults(
    _: Sphinx, what: str, name: str, found: object, options: object, text: str | None, returns: str | None
) -> Any:
    """Write a default that a dataclass makes as Python, so that Sphinx can read the signature."""
    return (text or "").replace("<factory>", "...") or text, returns


def setup(app: Sphinx) -> None:
    app.connect("builder-inited", write_pages)
    app.connect("source-read", on_site)
    app.connect("doctree-read", with_dashes)
    app.connect("autodoc-process-signature", with_defaults)
