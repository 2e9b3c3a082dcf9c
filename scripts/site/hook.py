"""What the site shows beside docs/: the top of the repository, commands, recipe keys, options of parts, files, and the API.

mkdocs calls these functions while it builds the site (mkdocs.yml). The pages that they make are
never written to docs/, so no help text and no docstring stands in the repository twice.
"""

from __future__ import annotations

import argparse
import re
from pathlib import Path

import modules
import part_options
import recipe_keys
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

from nes2net.cli.main import build_parser

REPOSITORY = Path(__file__).resolve().parents[2]
#: Pages at the top of the repository that are part of the site.
TOP = ("CHANGELOG.md", "CONTRIBUTING.md", "DEVIATIONS.md", "SECURITY.md")
#: Page of the API → its title, what it says first, and the modules or objects it shows.
API = {
    "detector": (
        "Detector",
        "A detector takes a waveform and gives a score. [Python](../python.md) shows it at work.",
        [
            "nes2net.detector.Detector",
            "nes2net.detector.network.Network",
            "nes2net.detector.loading.SavedNetwork",
            "nes2net.errors.InputError",
        ],
    ),
    "parts": (
        "Parts",
        "Front-ends, aggregations and back-ends, made by their names, and what a part of your own is a subclass of "
        "([how to add one](../CONTRIBUTING.md#adding-parts)). [Options of parts](../part-options.md) lists what each "
        "name takes.",
        [
            "nes2net.registry.create_frontend",
            "nes2net.registry.create_aggregation",
            "nes2net.registry.create_backend",
            "nes2net.frontends.base.Frontend",
            "nes2net.frontends.base.UsedSamples",
            "nes2net.frontends.adaptation.Adaptation",
            "nes2net.frontends.adaptation.adapt",
            "nes2net.frontends.adaptation.merge",
            "nes2net.aggregations.base.Aggregation",
            "nes2net.backends.base.Backend",
            "nes2net.backends.base.LogitLayer",
        ],
    ),
    "checkpoints": (
        "Checkpoint files",
        "Reading and averaging files of weights, of which nothing is run, and what can be had by name. See "
        "[Checkpoints](../checkpoints.md).",
        [
            "nes2net.checkpoints.state_dict.load_state_dict",
            "nes2net.checkpoints.averaging.average_checkpoints",
            "nes2net.training.averaging.average_run",
            "nes2net.training.averaging.RunAverage",
            "nes2net.experiments.catalogue.list_models",
        ],
    ),
    "scoring": (
        "Scoring",
        "A corpus to a score file, and scores along a recording. See [Score](../score.md).",
        [
            "nes2net.scoring.corpus.score_trials",
            "nes2net.scoring.engine.Finished",
            "nes2net.scoring.score_file.read_scores",
            "nes2net.scoring.corpus.embed_trials",
            "nes2net.scoring.track.Track",
        ],
    ),
    "metrics": (
        "Metrics and evaluation",
        "Arrays in, numbers out; then score files against keys. See [Evaluate](../evaluate.md).",
        [
            "nes2net.metrics",
            "nes2net.localisation",
            "nes2net.decisions",
            "nes2net.evaluation.evaluate.evaluate",
            "nes2net.evaluation.evaluate.Evaluation",
            "nes2net.evaluation.evaluate.evaluate_systems",
            "nes2net.evaluation.evaluate.Report",
            "nes2net.evaluation.evaluate.Pair",
        ],
    ),
    "augment": (
        "Augmentation",
        "What may happen to a waveform, in training and under `nes2net robustness`. `nes2net augment` makes it heard; "
        "[how to add an effect](../CONTRIBUTING.md#an-effect).",
        [
            "nes2net.augment.effect",
            "nes2net.augment.sources.Sources",
            "nes2net.augment.rawboost.rawboost",
            "nes2net.augment.rawboost.RawBoostParameters",
            "nes2net.augment.noise.NoiseAugmentation",
        ],
    ),
    "training": (
        "Recipes and training",
        "[Recipe keys](../recipe-keys.md) has every key of a recipe; see also [Train](../train.md).",
        [
            "nes2net.recipes.reading.load_recipe",
            "nes2net.recipes.reading.packaged_recipes",
            "nes2net.recipes.recipe.Recipe",
            "nes2net.training.run.train",
        ],
    ),
    "corpora": (
        "Corpora",
        "What a corpus is to this package; [how to add one](../CONTRIBUTING.md#a-corpus).",
        ["nes2net.corpora.corpus", "nes2net.corpora.layout", "nes2net.corpora.folders", "nes2net.corpora.trial"],
    ),
    "scale": (
        "Many machines",
        "Collections of millions of recordings on Ray Data. See [Score](../score.md#millions-of-recordings).",
        ["nes2net.scale"],
    ),
}
#: A link to a file, not to an address, in Markdown.
LINK = re.compile(r"(!?)\[((?:[^\[\]]|\[[^\]]*\])*)\]\((?!https?:|#)([^)\s]+)\)")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that are not in docs/."""
    for name in TOP:
        files.append(File.generated(config, name, abs_src_path=str(REPOSITORY / name)))
    for name, content in (
        ("commands.md", commands()),
        ("recipe-keys.md", recipe_keys.page()),
        ("part-options.md", part_options.page()),
        ("files.md", modules.page()),
    ):
        files.append(File.generated(config, name, content=content))
    for name, (title, opening, objects) in API.items():
        files.append(File.generated(config, f"api/{name}.md", content=api_page(title, opening, objects)))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Make links between docs/ and the top of the repository links of the site.

    A link to a file that the site does not have becomes its text.
    """
    if page.file.src_uri not in TOP and "/" in page.file.src_uri:
        return markdown
    folder = "" if page.file.src_uri in TOP else "docs"

    def on_site(link: re.Match) -> str:
        image, text, target = link.groups()
        path, _, anchor = target.partition("#")
        steps: list[str] = []
        for step in f"{folder}/{path}".split("/"):
            steps = steps[:-1] if step == ".." else [*steps, step] if step else steps
        inside = "/".join(steps).removeprefix("docs/")
        if files.get_file_from_path(inside) is None:
            return text
        return f"{image}[{text}]({inside}{'#' + anchor if anchor else ''})"

    return LINK.sub(on_site, markdown)


def on_page_content(html: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Make links of notebooks, which lead to files of docs/, links of the site."""
    if not page.file.src_uri.endswith(".ipynb"):
        return html
    return re.sub(r'href="(?!https?:)([^"#]+)\.(?:md|ipynb)(#[^"]*)?"', r'href="\1.html\2"', html)


def api_page(title: str, opening: str, objects: list[str]) -> str:
    """Write a page of docstrings; a package shows the names of its ``__all__``."""
    return "\n\n".join([f"# {title}", opening, *(f"::: {name}" for name in objects)]) + "\n"


def commands() -> str:
    """Write the page of all commands from their parsers."""
    parsers = build_parser().commands()
    meanings = {name: (parser.description or "").rstrip(".") for name, parser in parsers.items()}
    parts = ["# Commands", "This is what `nes2net COMMAND --help` prints.", "| command | |\n|---|---|"]
    parts[-1] += "".join(
        f"\n| [`{name}`](#nes2net-{name.replace(' ', '-')}) | {escaped(meanings[name])} |" for name in meanings
    )
    for name in meanings:
        parts += [f"## nes2net {name}", *command(parsers[name])]
    return "\n\n".join(parts) + "\n"


def command(parser: argparse.ArgumentParser) -> list[str]:
    """Describe one command: usage, what it does, and its arguments by groups."""
    parts = [prose(parser.description), fenced(parser.format_usage())]
    formatter = parser._get_formatter()
    for group in parser._action_groups:
        actions = [
            action
            for action in group._group_actions
            if action.help != argparse.SUPPRESS and action.dest not in ("help", "way")
        ]
        if actions:
            parts += [f"**{escaped(group.title or '')}**", prose(group.description)]
            parts += ["\n".join(f"- {argument(formatter, action)}" for action in actions)]
    return [part for part in [*parts, prose(parser.epilog)] if part]


def argument(formatter: argparse.HelpFormatter, action: argparse.Action) -> str:
    """Write an argument with what it takes, and its meaning."""
    names = formatter._format_action_invocation(action)
    meaning = formatter._expand_help(action) if action.help else ""
    return f"`{names}`" + (f": {escaped(' '.join(meaning.split()))}" if meaning else "")


def prose(text: str | None) -> str:
    """Keep examples and other indented lines of a help text as they are; the rest is prose."""
    parts = []
    for block in (text or "").strip("\n").split("\n\n"):
        lines = block.splitlines()
        if any(line.startswith(" ") for line in lines):
            head = [line for line in lines[:1] if not line.startswith(" ")]
            parts += [*map(escaped, head), fenced("\n".join(lines[len(head) :]))]
        else:
            parts.append(escaped(" ".join(lines)))
    return "\n\n".join(filter(None, parts))


def fenced(text: str) -> str:
    return f"```text\n{text.rstrip()}\n```"


def escaped(text: str) -> str:
    """Keep Markdown from reading signs of a help text, except backticks."""
    parts = re.split(r"(`[^`]*`)", text)
    return "".join(part if part.startswith("`") else re.sub(r"([\\*_<>\[\]|])", r"\\\1", part) for part in parts)
