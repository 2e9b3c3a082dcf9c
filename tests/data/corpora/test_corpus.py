"""What all corpora have in common: their contract, their counts, what they say is missing."""

import hashlib
from dataclasses import replace
from pathlib import Path

import pytest
from builders import input_error
from builders.files import folder

from nes2net.data.corpora import in_the_wild
from nes2net.data.corpora.protocol import NotFound
from nes2net.data.registry import corpora
from nes2net.metrics.eer import METHODS

EVERY_CORPUS = {name: corpora.get(name) for name in corpora.names()}
PUBLISHED = {name: corpus for name, corpus in EVERY_CORPUS.items() if not corpus.user_defined}
of_published_corpora = pytest.mark.parametrize("name", PUBLISHED)


def test_splits_of_every_corpus_are_called_train_dev_enrolled_eval_or_after_a_track_or_round():
    names = {
        "train",
        "dev",
        "enrolled",
        "eval",
        "track1",
        "track3_r1",
        "track3_r2",
        "round1",
        "round2",
        "l3",
        "l4",
        "l5",
    }
    for name, corpus in EVERY_CORPUS.items():
        assert corpus.splits, name
        assert set(corpus.splits) <= names, name


def test_a_corpus_has_phases_with_official_key_counts_if_and_only_if_it_has_key_files():
    for name, corpus in EVERY_CORPUS.items():
        assert bool(corpus.key_files) == bool(corpus.phases), name
        assert set(corpus.key_counts) == set(corpus.phases), name


def test_a_corpus_states_official_counts_only_for_splits_that_it_has():
    for name, corpus in EVERY_CORPUS.items():
        for counts in (corpus.counts, *corpus.editions.values()):
            assert set(counts) <= set(corpus.splits), name


def test_every_corpus_is_scored_on_64000_or_64600_samples_by_a_rule_of_nes2net_metrics():
    for name, corpus in EVERY_CORPUS.items():
        assert corpus.test_samples in (64000, 64600), name
        assert corpus.eer_method in METHODS, name


def test_every_published_corpus_states_its_licence_and_where_to_get_it():
    for name, corpus in PUBLISHED.items():
        assert corpus.licence, name
        assert corpus.source.startswith("https://"), name
        assert {"audio", "protocol"} <= set(corpus.obtain), name


def test_each_download_of_a_corpus_is_on_https_or_the_hub_and_has_whole_checksums_or_none():
    for corpus in PUBLISHED.values():
        for download in corpus.downloads:
            assert download.url.startswith(("https://", "hub:"))
            for name, digest in download.digests.items():
                assert len(bytes.fromhex(digest)) == hashlib.new(name).digest_size, download


@pytest.mark.parametrize("name", ["asvspoof2021_la", "asvspoof2021_df"])
def test_the_official_counts_of_phases_of_asvspoof2021_add_up_to_those_of_the_evaluation(name):
    corpus = corpora.get(name)
    assert sum(counts.trials for counts in corpus.key_counts.values()) == corpus.counts["eval"].trials


@pytest.mark.parametrize("name", EVERY_CORPUS)
def test_the_official_counts_of_labels_and_fields_add_up_to_those_of_trials(name):
    """The counts of attacks add up to that of spoofed trials."""
    corpus = corpora.get(name)
    for counts in (*corpus.counts.values(), *corpus.key_counts.values()):
        if counts.bonafide is not None:
            assert counts.bonafide + counts.spoof == counts.trials
        for field, values in counts.by.items():
            assert sum(values.values()) == {"attack": counts.spoof}.get(field, counts.trials)


def test_a_corpus_of_another_package_is_found_by_its_name_and_listed(register_corpus):
    register_corpus("mine", replace(in_the_wild.CORPUS, title="Mine"))
    assert corpora.get("mine").title == "Mine"
    assert "mine" in corpora.names()


META = "file,speaker,label\n"
LA_KEY = "LA_0002 LA_E_2 gsm ita_tx A07 spoof notrim eval\n"
LABELS = "LA_E_1 bonafide\nLA_E_2 spoof\n"
MALFORMED = {
    ("asvspoof2019_la", "ASVspoof2019.LA.cm.eval.trl.txt"): [
        ("1 a - - spoof\n1 b - spoof\n", r"txt, line 2: expected 5 fields \(speaker, .*\), found 4"),
        ("1 a - - bona-fide\n", "line 1: unknown label 'bona-fide'; expected one of bonafide, spoof"),
        ("1 ../../etc/passwd - - spoof\n", r"line 1: '\.\./\.\./etc/passwd' cannot be an utterance id"),
        ("1 a\\b - - spoof\n", "cannot be an utterance id"),
        ("1 a - - bonafide\n1 a - - bonafide\n", "1 utterance more than once: a"),
        ("\n\n", "holds no trials"),
        (LABELS, "line 1: expected 5 fields"),  # not taken for labels alone
    ],
    ("asvspoof2019_la", "labels.txt"): [
        ("a\0b spoof\n", "not a text file"),
    ],
    ("asvspoof2021_la", "trial_metadata.txt"): [
        (LABELS, "line 1: expected 8 fields .*, found 2"),
        (LA_KEY.replace("spoof", "fake"), "line 1: unknown label 'fake'"),
        (LA_KEY.replace("eval", "final"), "line 1: unknown phase 'final'"),
    ],
    ("asvspoof2021_la", "labels.txt"): [
        ("LA_E_1 -1.25\n", "line 1: unknown label '-1.25'; expected one of bonafide, spoof"),
        (f"{LABELS}LA_E_3\n", r"line 3: expected 2 fields \(utterance label\), found 1"),
    ],
    ("asvspoof2021_df", "trial_metadata.txt"): [(LA_KEY, "line 1: expected 13 fields .*, found 8")],
    ("deepfake_eval_2024", "metadata.csv"): [
        ("a,b\n", "the columns Filename, Ground Truth, Finetuning Set, found 'a,b'")
    ],
    ("famous_figures", "protocol.txt"): [("a\tb\n", "the columns AudioPath, Speaker, Source, Label, found 'a")],
    ("in_the_wild", "meta.csv"): [
        ("name,label\n0.wav,spoof\n", "line 1: expected the columns file, speaker, label, found 'name,label'"),
        ("", "line 1: expected the columns"),
        (f"{META}0.wav,spoof\n", r"line 2: expected 3 fields \(file, speaker, label\), found 2"),
        (f"{META}0.wav,A,real\n", "line 2: unknown label 'real'; expected one of bona-fide, spoof"),
        (f"{META}../0.wav,A,spoof\n", "line 2: '../0.wav' cannot be a recording of the corpus"),
        (f'{META}0.wav,A,spoof\n1.wav,"' + "B,spoof\n" * 20_000, "line 3: not a row of a CSV file .*quotation marks"),
        ("file,speaker,label,label\n", "line 1: more than one column is called 'label'; rename or"),
        ("\x1f\x8b\x08\x00\xff\xfe", r"not a text file \(byte 1 is not UTF-8\)"),
    ],
}


@pytest.mark.parametrize(
    "name, file, text, message", [(*list_file, *case) for list_file, cases in MALFORMED.items() for case in cases]
)
def test_a_malformed_list_of_a_published_corpus_is_refused_with_its_path_and_fault(tmp_path, name, file, text, message):
    (tmp_path / file).write_bytes(text.encode("latin-1"))
    with input_error(message) as error:
        corpora.get(name).keys(tmp_path / file)
    assert str(tmp_path / file) in str(error.value)


KEY = "trial_metadata.txt"
FOLDERS_2019 = ("ASVspoof_LA_cm_protocols/", "ASVspoof2019_LA_cm_protocols/", "ASVspoof_DF_cm_protocols/", "")


@pytest.mark.parametrize(
    "name, find, expected_paths",
    [
        ("asvspoof2019_la", "find_protocol", [f"{folder}ASVspoof2019.LA.cm.eval.trl.txt" for folder in FOLDERS_2019]),
        ("asvspoof2019_la", "find_audio", ["ASVspoof2019_LA_eval/flac", "LA/ASVspoof2019_LA_eval/flac"]),
        ("asvspoof2021_la", "find_key", [f"{folder}{KEY}" for folder in ("LA/CM/", "keys/LA/CM/", "CM/", "")]),
    ],
)
def test_the_error_about_a_missing_file_of_a_corpus_names_every_path_that_was_searched(
    tmp_path, monkeypatch, name, find, expected_paths
):
    monkeypatch.chdir(tmp_path)  # the paths of pytest are so long that the message would be cut
    corpus_folder = folder(Path("DB"))
    with pytest.raises(NotFound) as error:
        getattr(corpora.get(name), find)(corpus_folder)
    message = str(error.value)
    for path in expected_paths:
        assert str(corpus_folder / path) in message


@pytest.mark.parametrize("find, setting", [("find_protocol", "protocols"), ("find_audio", "root")])
def test_the_error_about_a_missing_file_names_the_setting_that_gives_its_folder(tmp_path, monkeypatch, find, setting):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(NotFound, match=f"give `{setting}` the folder"):
        getattr(corpora.get("asvspoof2019_la"), find)(folder(Path("DB")))


@of_published_corpora
def test_an_unknown_split_or_phase_is_refused(tmp_path, name):
    corpus = corpora.get(name)
    for read in (corpus.trials, corpus.keys):
        with input_error(f"{corpus.title} has no (split|phase) 'final'; known: "):
            read(tmp_path, "final")


@of_published_corpora
def test_a_corpus_whose_folder_does_not_exist_is_refused_with_the_path(tmp_path, name):
    corpus = corpora.get(name)
    with pytest.raises(NotFound, match=r"corpus folder .*nowhere not found.*`root`"):
        corpus.trials(tmp_path / "nowhere", corpus.splits[-1])


@pytest.mark.parametrize("name", [name for name in PUBLISHED if name != "in_the_wild"])  # which is read without labels
def test_missing_files_of_a_corpus_are_refused_with_where_they_were_sought(tmp_path, name):
    corpus = corpora.get(name)
    with pytest.raises(NotFound, match=rf"{corpus.title}.* not found; looked for .*; give "):
        corpus.trials(tmp_path, corpus.splits[-1])


@pytest.mark.parametrize("name", ["asvspoof2019_la", "ctrsvdd", "partialspoof"])
def test_every_method_that_finds_files_of_a_corpus_takes_the_split_name_test_for_eval(tmp_path, name):
    corpus = corpora.get(name)
    for find in (corpus.trials, corpus.find_protocol, corpus.find_audio):
        with pytest.raises(NotFound, match="eval not found"):
            find(tmp_path, "test")
