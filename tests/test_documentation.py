"""The Markdown pages: links lead somewhere, commands are accepted, and what is named exists."""

import re
import shlex
from argparse import SUPPRESS, _SubParsersAction
from functools import cache
from glob import glob
from itertools import takewhile

import pytest
import soundfile
from builders.manual import PAGES, blocks, text
from conftest import REPOSITORY

from nes2net import InputError
from nes2net.cli.main import build_parser
from nes2net.training.recipes.documentation import all_keys
from nes2net.training.registry import tasks

LINK = re.compile(r"\]\((?!https?:)([^)\s]+)\)")
HEADING = re.compile(r"^#+ (.*)$", re.MULTILINE)
#: Words of the commands that train a small front-end from random weights.
FIRST_RUN = {"model.frontend=wav2vec2_small", "--ssl_config"}
#: Paths that only show a form: a reader's own new file, a pattern.
SHOWN = re.compile(r"NAME|RECIPE|[*{<…]|nes2net/a/|tests/a/")


def anchors(page):
    """The anchors of a page's headings, as GitHub makes them."""
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in HEADING.findall(text(page))}


def running_text(page):
    """The text without blocks of code and comments."""
    return re.sub(r"^```.*?^```$|<!--.*?-->", "", text(page), flags=re.MULTILINE | re.DOTALL)


def inline(page):
    """What stands in backticks outside of blocks."""
    return re.findall(r"`([^`\n]+)`", running_text(page))


def commands():
    """The commands of shell blocks, with the page that has them. docs/extending.md's are run by test_extending.py."""
    for page in PAGES:
        for block in blocks(page, "bash") if page.name != "extending.md" else []:
            for line in block.replace("\\\n", " ").splitlines():
                words = list(takewhile(lambda word: word not in (">", "&&"), shlex.split(line, comments=True)))
                if words[:1] == ["torchrun"]:
                    words = ["nes2net", *words[words.index("nes2net") + 1 :]]
                if words[:1] == ["nes2net"] or words[:1] == ["python"]:
                    yield page.name, words


def test_local_links_of_the_pages_lead_to_files_and_headings_that_exist():
    broken = []
    for page in PAGES:
        for link in LINK.findall(text(page)):
            name, _, anchor = link.partition("#")
            target = page.parent / name if name else page
            if not target.exists() or (anchor and anchor not in anchors(target)):
                broken.append(f"{page.name}: {link}")
    assert broken == []


def test_commands_on_the_pages_are_accepted_by_the_parsers_of_the_programs(capsys):
    """Every flag exists and every value is one that it takes; recipes are read with their overrides."""
    from nes2net.cli.published import easy_inference_demo, main
    from nes2net.training.recipes.reading import load_recipe

    parsers = {
        "nes2net": build_parser(),
        "main.py": main.build_parser(),
        "easy_inference_demo.py": easy_inference_demo.build_parser(),
    }
    refused = []
    read = 0
    for page, (program, *arguments) in commands():
        if program == "python" and arguments[0] == "-m":
            assert REPOSITORY.joinpath(*arguments[1].split(".")).with_suffix(".py").is_file()
        elif program == "python":
            program, *arguments = arguments
            assert (REPOSITORY / program).is_file()
        if program not in parsers or (program != "nes2net" and "--help" in arguments):
            continue
        try:
            parsed = parsers[program].parse_args(arguments)
            if program == "nes2net" and parsed.command == "train":
                file = REPOSITORY / parsed.recipe
                load_recipe(file if file.exists() else parsed.recipe, parsed.overrides)
            read += 1
        except SystemExit as ended:
            if ended.code:
                refused.append(f"{page}: {program} {shlex.join(arguments)}\n{capsys.readouterr().err}")
        except InputError as error:
            refused.append(f"{page}: {program} {shlex.join(arguments)}\n{error}")
    assert refused == []
    assert read > 100


def test_recipe_overrides_in_the_running_text_of_the_pages_are_accepted():
    """With the settings that they require."""
    from nes2net.training.recipes.reading import load_recipe

    goes_with = {
        "data.corpora.ours.root=": ["data.corpora=[{name: asvspoof2019_la, alias: ours}]"],
        "train.warmup_from_zero=": ["train.schedule=cosine_epochs", "train.warmup_epochs=3"],
        "train.frontend_mode=": ["train.freeze_frontend=true"],
        "segments.boundary_share=": ["segments.resolutions=[160]", "data.crop=random"],
        "validation.select_on=segment_eer": ["segments.resolutions=[160]"],
    }
    sections = re.compile(
        r"(seed|comment|tracker|ssl_checkpoint|(data|train|augment|segments|validation|model)\.[\w.]+)=."
    )
    refused = []
    read = 0
    for page in PAGES:
        for words in inline(page):
            if not sections.match(words) or re.search(r"…|=\w$", words):
                continue
            overrides = shlex.split(re.sub(r"=(\{.*?\})(?= |$)", r"='\1'", words))
            if not all(map(sections.match, overrides)):
                continue
            try:
                required = next((required for start, required in goes_with.items() if words.startswith(start)), [])
                load_recipe("asvspoof2019_nes2net_x", [*required, *overrides])
                read += 1
            except InputError as error:
                refused.append(f"{page.name}: {words}\n{error}")
    assert refused == []
    assert read > 50


@pytest.mark.slow
def test_commands_of_the_manual_that_train_a_small_front_end_need_no_file_of_weights(corpus, tmp_path, monkeypatch):
    from nes2net.cli.main import main
    from nes2net.cli.published.main import main as published_main

    programs = {
        "nes2net": lambda words: main([*words, "train.epochs=1", "data.num_workers=0"]),
        "python": lambda words: published_main([*words[1:], "--num_epochs", "1", "--num_workers", "0"]),
    }
    first_runs = {shlex.join(words): words for _, words in commands() if {*words} & FIRST_RUN}
    assert len(first_runs) == 3
    for number, (program, *words) in enumerate(first_runs.values()):
        folder = tmp_path / str(number)
        folder.mkdir()
        (folder / "DB").symlink_to(corpus)
        monkeypatch.chdir(folder)
        assert programs[program](words) == 0
        assert len(list(folder.glob("models/*/epoch_1.pth"))) == 1


def test_files_and_tests_that_a_page_names_exist():
    """Every file or folder that a page names by its path is there, and every ``FILE::TEST``."""
    missing = []
    for page in PAGES:
        for word in " ".join(inline(page)).split():
            path, _, test = word.rstrip(",;.").partition("::")
            if not re.match(r"(tests|nes2net|scripts|configs|docs|\.ci)/", path) or SHOWN.search(path):
                continue
            file = REPOSITORY / path
            if not file.exists() or (test and f"def {test}(" not in text(file)):
                missing.append(f"{page.name}: {word}")
    assert missing == []


def test_commands_that_a_page_names_exist():
    """Commands and subcommands in the running text, such as `nes2net data check`."""
    command_names = set(build_parser().commands())
    with_subcommands = "|".join({name.split(" ")[0] for name in command_names if " " in name})
    for page in PAGES:
        for form in (r"^nes2net ([a-z][a-z-]*)", rf"^nes2net ((?:{with_subcommands}) [a-z][a-z-]*)"):
            mentioned = set(re.findall(form, "\n".join(inline(page)), re.MULTILINE))
            assert mentioned <= command_names, page.name


def test_every_row_on_a_published_behaviour_in_faithfulness_md_names_a_test():
    checked = text(REPOSITORY / "docs" / "faithfulness.md").partition("## What could not")[0]
    checked = checked.partition("## Front-ends")[2]
    rows = [line for line in checked.splitlines() if line.startswith("| ") and not line.startswith("| behaviour")]
    assert len(rows) > 50
    assert [row for row in rows if "`tests/" not in row.split("|")[-2]] == []


def test_blocks_of_python_on_the_pages_run_or_compile(tmp_path, monkeypatch):
    """A block that needs no file runs; every other one compiles."""
    monkeypatch.chdir(tmp_path)  # some blocks write files
    for page in PAGES:
        for block in blocks(page, "python"):
            code = compile(block, page.name, "exec")
            if page.name != "extending.md" and "CKPT" not in block:
                exec(code, {})


def test_the_readme_links_every_chapter_of_the_manual_by_its_title():
    manual = text(REPOSITORY / "README.md").partition("## Manual")[2]
    title_by_page = {page: title for title, page in re.findall(r"\[([^\]]+)\]\(docs/([\w-]+\.md)\)", manual)}
    chapters = {page.name: HEADING.search(text(page))[1] for page in PAGES if page.parent == REPOSITORY / "docs"}
    assert title_by_page == {page: title for page, title in chapters.items() if page != "index.md"}


def test_counts_of_parts_on_the_pages_are_those_of_the_registries():
    """Numbers of two digits and more, as in "29 corpora", on every page but the history."""
    from nes2net.data.registry import corpora
    from nes2net.models.registry import backends, frontends
    from nes2net.training.recipes.reading import packaged_recipes

    published_corpora = [name for name in corpora.names() if not corpora.get(name).user_defined]
    numbers = {
        "back-ends": len(backends.names()),
        "corpora": len(published_corpora),
        "front-ends": len(frontends.names()),
        "recipes": len(packaged_recipes()),
    }
    count = re.compile(rf"\b(\d{{2,}})\s+({'|'.join(numbers)})\b")
    counted = set()
    for page in PAGES:
        if page.name == "CHANGELOG.md":
            continue
        for number, kind in count.findall(text(page)):
            assert int(number) == numbers[kind], f"{page.name}: {number} {kind}"
            counted.add(kind)
    assert {"back-ends", "corpora", "recipes"} <= counted


def test_the_command_predict_of_the_readme_prints_the_output_that_is_shown_there(shared, tmp_path, monkeypatch, capsys):
    from nes2net.cli.main import main

    [block] = blocks(REPOSITORY / "README.md", "console")
    command, shown = block[block.index("$ nes2net predict") + 2 :].split("\n", 1)
    folder = shared / "real" / "audio" / "fastspeech2_demo"
    for path in folder.glob("LJ042-0094_*.flac"):
        soundfile.write(tmp_path / f"{path.stem}.wav", *soundfile.read(path, dtype="int16"))
    cached = tmp_path / "nes2net" / "models" / "AASIST"  # where a file that was fetched is kept
    cached.mkdir(parents=True)
    (cached / "AASIST.pth").symlink_to(shared / "real" / "aasist" / "AASIST.pth")
    monkeypatch.setattr("huggingface_hub.constants.HF_ASSETS_CACHE", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    words = [name for word in shlex.split(command)[1:] for name in sorted(glob(word)) or [word]]
    assert main([*words, "--device", "cpu"]) == 0
    assert capsys.readouterr().out == shown


#: Flags that `--help` alone describes. The list may only become shorter.
FLAGS_OF_THE_HELP_ALONE = {
    *("--version", "--debug", "--speech", "--epoch", "--picture", "--port", "--actors"),
    *("--resamples", "--l2", "--score", "--rounds", "--private"),
}
#: Keys that `nes2net info recipe KEY` alone describes. The list may only become shorter.
KEYS_OF_INFO_ALONE = {
    *("dev_protocols", "dev_keys", "train_scores", "weight_decay", "adam_betas", "adam_eps", "amsgrad", "min_lr"),
    *("warmup_steps", "plateau_patience", "max_grad_norm"),
}


def flags_of(parser):
    """The long flags of a parser and of its commands, without hidden ones."""
    flags = set()
    for action in parser._actions:
        if isinstance(action, _SubParsersAction):
            for _, of_command in action.choices.items():
                flags |= flags_of(of_command)
        elif action.help != SUPPRESS:
            flags |= {flag for flag in action.option_strings if flag.startswith("--")}
    return flags


@cache
def manual():
    return "\n".join(map(text, [*REPOSITORY.glob("docs/*.md"), REPOSITORY / "README.md"]))


def test_the_manual_mentions_every_flag_but_those_listed_as_explained_by_the_help_alone():
    words = set(re.findall(r"--[a-z][\w-]*", manual()))
    assert flags_of(build_parser()) - words - FLAGS_OF_THE_HELP_ALONE == set()


def missing_in_the_manual(names):
    return {name for name in names if not re.search(rf"\b{name}\b", manual())}


def test_the_manual_mentions_every_recipe_key_but_those_listed_as_explained_by_info_alone():
    missing = missing_in_the_manual(key.name.rpartition(".")[2] for key in all_keys())
    assert missing - KEYS_OF_INFO_ALONE == set()


@pytest.mark.parametrize("task", tasks.names(installed=False))
def test_the_manual_mentions_every_measure_of_a_task(task):
    assert missing_in_the_manual(measure.name for measure in tasks.get(task).measures) == set()


#: Set phrases that make a sentence hard to read at once: pronouns in place of nouns, clauses without a verb.
SET_PHRASES = re.compile(
    r"\bwhat (?:is|are|was|the|it|they|one|an?)\b|\b(?:says|tells)\b|\w+ alone\b|\bof (?:its|their|your|his|her|our) own\b"
    r"|\bby (?:itself|themselves)\b|\bof (?:yours|ours|theirs)\b|\b(?:that|those) of\b|\b(?:goes|going|went) (?:on|with)\b"
    r"|\bhears?\b|\b(?:stands?|lies?|stood) (?:in|beside|above|below|at|behind)\b|, which\b|\bwhose\b"
    r"|(?-i:(?<=[.!?] )(?:So (?:do|is|are|were|was|does)|Both|Neither|Those|Of (?:these|those|the|all))\b)"
    r"|\b(?:is|are|was|were) no\b|\b(?:leaves?|left|leaving)\b[^.;]{0,30}\bout\b",
    re.IGNORECASE,
)
SENTENCE_END = re.compile(r"(?<=[.!?])\s+(?=[A-Z`\"'(\[*])")


def sentences(page):
    """The sentences of running text, lists, headings and tables, without code, comments and addresses of links."""
    without_links = re.sub(r"\]\([^)]*\)", "]", running_text(page))
    page_sentences = []
    for paragraph in re.split(r"\n\s*\n|\n\s*[-*|] ?|\n#+ ", without_links):
        page_sentences += SENTENCE_END.split(" ".join(paragraph.split()))
    return page_sentences


of_the_manual = pytest.mark.parametrize(
    "page", [REPOSITORY / "README.md", *sorted(REPOSITORY.glob("docs/*.md"))], ids=lambda page: page.stem
)


@of_the_manual
def test_at_most_4_percent_of_the_sentences_of_a_page_are_long_and_30_in_10000_words_are_set_phrases(page):
    """Long are more than 30 words. A single long sentence or phrase is always allowed."""
    page_sentences = sentences(page)
    long_sentences = [sentence for sentence in page_sentences if len(sentence.split()) > 30]
    assert len(long_sentences) <= max(1, 0.04 * len(page_sentences)), long_sentences
    prose = " ".join(page_sentences)
    phrases = [prose[max(0, match.start() - 30) : match.end() + 30] for match in SET_PHRASES.finditer(prose)]
    assert len(phrases) <= max(1, 0.003 * len(prose.split())), phrases
