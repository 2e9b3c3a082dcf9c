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


@pytest.mark.parametrize("name, subfolder", [("asvspoof2019_la", "."), ("ctrsvdd", "ctrsvdd"), ("generic", "generic")])
def test_a_corpus_whose_files_are_all_there_and_can_be_decoded_passes_the_check(name, subfolder, every_corpus, check):
    status, text = check(name, every_corpus / subfolder, "--subset", "--audio", "--workers", "0")
    assert status == 0
    assert "files 4 of 4 are there decoded 4 of 4 files duration 0.0" in text
    assert text.endswith("Nothing is missing.")


OFFICIALLY = "trials 4: 2 bona fide, 2 spoofed (officially 25,380: 2,580 bona fide, 22,800 spoofed) attack A01 2"


@pytest.mark.parametrize(
    "name, subfolder, counts",
    [
        ("asvspoof2019_la", ".", OFFICIALLY),
        ("asvspoof2021_df", ".", "source asvspoof 4 vocoder unknown 2"),
        ("ctrsvdd", "ctrsvdd", "attack A06 2 source acesinger 2, m4singer 2"),
    ],
)
def test_trials_are_counted_by_class_and_by_the_fields_of_the_corpus(name, subfolder, counts, every_corpus, check):
    """Beside the official numbers, if the corpus has them."""
    assert counts in check(name, every_corpus / subfolder, "--subset")[1]


def test_a_corpus_of_only_an_evaluation_part_is_said_to_allow_scoring_and_evaluation(every_corpus, check):
    assert "score eval yes evaluate eval yes" in check("in_the_wild", every_corpus, "--subset")[1]


def test_the_check_says_that_a_list_has_no_parts_train_dev_and_eval(every_corpus, check):
    assert "It names no parts (train, dev, eval)" in check("generic", every_corpus / "generic", "--subset")[1]


def test_a_missing_and_an_extra_file_are_counted_and_listed_and_fail_the_check(every_corpus, tmp_path, check):
    """LA_T_1000001.flac has become other.flac; the part eval is absent."""
    root = Path(shutil.copytree(every_corpus, tmp_path / "corpora"))
    shutil.rmtree(root / "ASVspoof2019_LA_eval")
    flac = root / "ASVspoof2019_LA_train" / "flac"
    (flac / "LA_T_1000001.flac").rename(flac / "other.flac")
    status, text = check("asvspoof2019_la", root, "--subset")
    assert status == 1
    missing = f"audio of train: 1 of 4 files are missing in {flac}: LA_T_1000001.flac; get LA.zip from https"
    for words in (
        "files 3 of 4 are there; 1 missing: LA_T_1000001.flac",
        f"What is missing or wrong - {missing}",
        "extra files 1 in the folder are in no protocol: other.flac",
        "train no: 1 of 4 files are missing validate yes score train in part",
    ):
        assert words in text


def test_a_selection_of_a_corpus_fails_the_check_with_a_hint_on_the_flag_subset(every_corpus, check):
    status, text = check("in_the_wild", every_corpus)
    assert status == 1
    assert "4 trials instead of 31,779" in text
    assert "--subset accepts a selection" in text
