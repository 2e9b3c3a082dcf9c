"""`nes2net data check`: output and exit status."""

import shutil
from pathlib import Path

import pytest


@pytest.fixture
def check(command):
    """A function that returns the exit status and the output, with all white space as single spaces."""

    def run(*words):
        status, out, _ = command(["data", "check", *words])
        return status, " ".join(out.split())

    return run


OFFICIALLY = "trials 4: 2 bona fide, 2 spoofed (officially 25,380: 2,580 bona fide, 22,800 spoofed) attack A01 2"


def test_a_whole_corpus_is_reported_with_its_counts_and_nothing_missing(every_corpus, check):
    for name, subfolder, expected in (
        ("asvspoof2019_la", ".", OFFICIALLY),
        ("asvspoof2021_df", ".", "source asvspoof 4 vocoder unknown 2"),
        ("in_the_wild", ".", "score eval yes evaluate eval yes"),
        ("ctrsvdd", "ctrsvdd", "attack A06 2 source acesinger 2, m4singer 2"),
        ("generic", "generic", "It names no parts (train, dev, eval)"),
    ):
        status, text = check(name, every_corpus / subfolder, "--subset", "--audio", "--workers", "0")
        assert status == 0
        assert expected in text
        assert "files 4 of 4 are there decoded 4 of 4 files duration 0.0" in text
        assert text.endswith("Nothing is missing.")


def test_missing_and_extra_files_of_a_corpus_are_listed(every_corpus, tmp_path, check):
    root = Path(shutil.copytree(every_corpus, tmp_path / "corpora"))
    flac = root / "ASVspoof2019_LA_train" / "flac"
    (flac / "LA_T_1000001.flac").rename(flac / "other.flac")
    shutil.rmtree(root / "ASVspoof2019_LA_eval")
    status, text = check("asvspoof2019_la", root, "--subset")
    assert status == 1
    for message in (
        "files 3 of 4 are there; 1 missing: LA_T_1000001.flac",
        "extra files 1 in the folder are in no protocol: other.flac",
        "train no: 1 of 4 files are missing validate yes score train in part",
        f"What is missing or wrong - audio of train: 1 of 4 files are missing in {flac}: LA_T_1000001.flac; get LA.zip from https",
    ):
        assert message in text


def test_a_selection_of_a_corpus_fails_the_check_with_a_hint_on_subset(every_corpus, check):
    status, text = check("in_the_wild", every_corpus)
    assert status == 1
    assert "4 trials instead of 31,779" in text
    assert "--subset accepts a selection" in text
