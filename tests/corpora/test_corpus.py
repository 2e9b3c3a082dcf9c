"""What all corpora have in common: their contract, their counts, what they say is missing."""

import inspect
from dataclasses import replace

import pytest
from builders import tiny_corpus
from builders.files import write

from nes2net.corpora import (
    asvspoof5,
    asvspoof2019_la,
    asvspoof2021_df,
    asvspoof2021_la,
    ctrsvdd,
    in_the_wild,
    partialspoof,
)
from nes2net.corpora.corpus import Corpus
from nes2net.corpora.protocol import NotFound
from nes2net.errors import InputError
from nes2net.evaluation.evaluate import evaluate
from nes2net.metrics.eer import METHODS
from nes2net.registry import corpora
from nes2net.scoring.corpus import score_trials


@pytest.mark.parametrize("name", corpora.names())
def test_every_corpus_keeps_the_contract(name):
    corpus = corpora.get(name)
    assert isinstance(corpus, Corpus)
    evaluations = {"eval", "track1", "track3_r1", "track3_r2", "round1", "round2"}
    assert set(corpus.splits) <= {"train", "dev", *evaluations} and corpus.title
    assert corpus.test_samples in (64000, 64600)
    assert corpus.eer_method in METHODS
    assert bool(corpus.key_files) == bool(corpus.key_counts) == bool(corpus.phases)
    assert set(corpus.counts) <= set(corpus.splits) and not (corpus.user_defined and corpus.counts)
    assert all(set(counts) <= set(corpus.splits) for counts in corpus.editions.values())
    assert corpus.user_defined or (corpus.licence and corpus.source.startswith("https://"))
    assert set(corpus.key_counts) == set(corpus.phases)
    assert corpus.user_defined or {"audio", "protocol"} <= set(corpus.obtain)
    for function, parameters in (
        ("trials", ["root", "split", "protocols"]),
        ("keys", ["path", "phase"]),
        ("find_protocol", ["root", "split", "protocols"]),
        ("find_audio", ["root", "split"]),
        ("read_protocol", ["path", "split", "audio"]),
        ("find_key", ["path"]),
        ("find_splits", ["root", "protocols"]),
        ("asv_scores", ["path", "phase"]),
        ("official_table", ["trials", "scores"]),
    ):
        if (found := getattr(corpus, function)) is not None:
            assert list(inspect.signature(found).parameters)[: len(parameters)] == parameters
    for counts in (*corpus.counts.values(), *corpus.key_counts.values()):
        assert counts.bonafide is None or counts.bonafide + counts.spoof == counts.trials
        for field, values in counts.by.items():
            assert sum(values.values()) == (counts.spoof if field == "attack" else counts.trials)


def test_a_corpus_of_another_package(register_corpus):
    register_corpus("mine", replace(in_the_wild.CORPUS, title="Mine"))
    assert corpora.get("mine").title == "Mine" and "mine" in corpora.names()
    with pytest.raises(InputError, match="corpus 'mine' is registered already"):
        corpora.add("mine", "my_module:CORPUS")
    with pytest.raises(InputError, match="corpus 'ours' is registered as 'our_module': write 'module:attribute'"):
        corpora.add("ours", "our_module")


@pytest.mark.parametrize(
    "corpus, protocol, tried",
    [
        (asvspoof2019_la, "2019.LA", ["ASVspoof2019_LA_eval/flac", "LA/ASVspoof2019_LA_eval/flac"]),
        (asvspoof2021_la, "2021.LA", ["ASVspoof2021_LA_eval/flac", "flac"]),
        (asvspoof2021_df, "2021.DF", ["ASVspoof2021_DF_eval/flac", "flac"]),
    ],
)
def test_missing_audio_names_every_path_and_the_setting(tmp_path, corpus, protocol, tried):
    protocol = tmp_path / f"ASVspoof{protocol}.cm.eval.trl.txt"
    write(protocol, "LA_1 X_1 - - bonafide\n" if corpus is asvspoof2019_la else "X_1\n")
    with pytest.raises(NotFound) as error:
        corpus.CORPUS.trials(tmp_path, "eval")
    for path in tried:
        assert str(tmp_path / path) in str(error.value)
    assert "give `root` the folder" in str(error.value)


@pytest.mark.parametrize(
    "module", [asvspoof2019_la, asvspoof2021_la, asvspoof2021_df, asvspoof5, ctrsvdd, in_the_wild, partialspoof]
)
def test_what_is_missing_is_named(tmp_path, module):
    corpus = module.CORPUS
    with pytest.raises(NotFound, match=r"corpus folder .*nowhere not found.*`root`"):
        corpus.trials(tmp_path / "nowhere", corpus.splits[-1])
    for read in (corpus.trials, corpus.keys):
        with pytest.raises(InputError, match=f"{corpus.title} has no (split|phase) 'final'; it has"):
            read(tmp_path, "final")
    if corpus.splits == ("train", "dev", "eval"):
        for find in (corpus.trials, corpus.find_protocol, corpus.find_audio):
            with pytest.raises(NotFound, match="eval not found"):
                find(tmp_path, "test")  # another name of eval
            with pytest.raises(InputError, match="has no split 'progress'"):
                find(tmp_path, "progress")
        with pytest.raises(NotFound, match="protocol of .* dev not found; looked for") as error:
            corpus.trials(tmp_path, "dev", protocols=tmp_path / "own")
        assert str(tmp_path / "own") in str(error.value) and "\n" not in str(error.value)
        with pytest.raises(NotFound, match="protocol of .* not found"):
            corpus.keys(tmp_path)


def test_protocols_in_other_folders_and_missing_fields(tmp_path):
    meta = write(tmp_path / "labels" / "meta.csv", "file,speaker,label\n0.wav,-,spoof\n1.wav,A,bona-fide\n")
    found = in_the_wild.CORPUS.read_protocol(meta, "eval", tmp_path)
    assert [(t.path, t.speaker) for t in found] == [(tmp_path / "0.wav", None), (tmp_path / "1.wav", "A")]
    assert in_the_wild.CORPUS.find_protocol(tmp_path, "eval", tmp_path / "labels") == meta
    write(tmp_path / "ASVspoof2019.LA.cm.dev.trl.txt", "LA_1 LA_D_1 - - bonafide\n")
    assert [t.id for t in asvspoof2019_la.CORPUS.keys(tmp_path)] == ["LA_D_1"]


def test_every_corpus_is_scored_and_evaluated(tmp_path, spectral_detector):
    root = tiny_corpus.make_all(tmp_path / "corpora")
    for name in ("asvspoof2019_la", "asvspoof5", "ctrsvdd", "partialspoof", "generic"):
        folder = root if name == "asvspoof2019_la" else root / name
        trials = corpora.get(name).trials(folder, "eval")
        out = tmp_path / f"{name}.txt"
        assert score_trials(spectral_detector, trials, out, num_samples=8000, num_workers=0).done == len(trials) == 4
        result = evaluate(name, out, folder, num_resamples=10)
        assert 0 <= result.eer <= 1 and result.num_bonafide == 2
        assert result.num_spoof == (1 if name == "ctrsvdd" else 2)  # without A14, as published
