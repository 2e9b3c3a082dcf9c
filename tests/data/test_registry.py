"""Corpora of other packages: what they list is checked whenever they list it, so that `data check` tells the faults."""

import random
from dataclasses import replace

import pytest
from builders.files import write
from builders.strangers import install, installed_in

from nes2net.cli.main import main
from nes2net.data.corpora.trial import Trial
from nes2net.data.registry import corpora

SOURCE = """
from nes2net.data.corpora.layout import Files, ListedCorpus
from nes2net.data.corpora.trial import Trial

faults = [lambda trials: trials]

def rows(path, phase, audio):
    print("listing")
    trials = []
    for line in path.read_text().splitlines():
        id, label = line.split()
        trials.append(Trial(id, audio / f"{id}.wav" if audio else None, label))
    return faults[-1](trials)

CORPUS = ListedCorpus(title="Tones", rows=rows, parts={"eval": Files(protocols=["eval.txt"], audio=["."])})
"""


@pytest.fixture(scope="module")
def tones(tmp_path_factory):
    """A copy of the corpus `tones` of another package, which is installed."""
    folder = tmp_path_factory.mktemp("tones")
    install(folder / "site", "my-parts 0.1", {"corpora": {"tones": "my_tones:CORPUS"}}, {"my_tones": SOURCE})
    for name in ("t0.wav", "t1.wav"):
        write(folder / name, "")
    write(folder / "eval.txt", "t0 bonafide\nt1 spoof\n")
    with installed_in(folder / "site"):
        yield folder


def first_with(**fields):
    return lambda trials: [replace(trials[0], **fields), *trials[1:]]


def shuffled(trials):
    unlisted = [Trial(f"u{number}") for number in range(30)]
    random.SystemRandom().shuffle(unlisted)
    return trials + unlisted


@pytest.mark.parametrize(
    "fault, words",
    [
        (first_with(id="t 0"), "trial 't 0' the id 't 0'; expected text without spaces"),
        (first_with(id=""), "trial '' the id ''; expected text without spaces"),
        (first_with(label="real"), "trial 't0' the label 'real'; expected 'bonafide', 'spoof' or None"),
        (first_with(path="t0.wav"), "trial 't0' the path 't0.wav'; expected a Path or None"),
        (first_with(attack=7), "trial 't0' the attack 7; expected text, or null"),
        (first_with(speaker=["x"]), "trial 't0' the speaker ['x']; expected text, or null"),
        (first_with(extra={"room": "hall"}), "trial 't0' the extra {'room': 'hall'}; expected a list"),
        (first_with(extra=(("room", ["hall"]),)), "trial 't0' the extra (('room', ['hall']),); expected a list"),
        (shuffled, "a second call of read_protocol gave"),
    ],
    ids=["space", "empty", "label", "path", "number", "list", "mapping", "list_in_extra", "order"],
)
def test_data_check_names_corpus_package_and_trial(tones, monkeypatch, capsys, fault, words):
    corpora.get("tones")
    import my_tones

    monkeypatch.setattr(my_tones, "faults", [fault])
    assert main(["data", "check", "tones", str(tones)]) == 1
    printed = " ".join(capsys.readouterr().out.split())
    assert "corpus 'tones' (package my-parts 0.1): " in printed
    assert words in printed


def test_a_right_corpus_passes_and_its_prints_are_not_in_the_output(tones, capsys):
    assert main(["data", "check", "tones", str(tones)]) == 0
    printed = capsys.readouterr()
    assert "listing" not in printed.out
    assert "listing" in printed.err
