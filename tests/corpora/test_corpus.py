"""What all corpora have in common: their contract, their counts, what they say is missing."""

import inspect
import lzma
from dataclasses import replace

import pytest
from builders import tiny_corpus
from builders.files import folder, write

from nes2net import Detector
from nes2net.corpora import (
    asvspoof5,
    asvspoof2019_la,
    asvspoof2021_df,
    asvspoof2021_la,
    ctrsvdd,
    in_the_wild,
    partialspoof,
)
from nes2net.corpora.corpus import Corpus, count
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
        (
            asvspoof2019_la,
            "ASVspoof2019.LA.cm.eval.trl.txt",
            ["ASVspoof2019_LA_eval/flac", "LA/ASVspoof2019_LA_eval/flac"],
        ),
        (asvspoof2021_la, "ASVspoof2021.LA.cm.eval.trl.txt", ["ASVspoof2021_LA_eval/flac", "flac"]),
        (asvspoof2021_df, "ASVspoof2021.DF.cm.eval.trl.txt", ["ASVspoof2021_DF_eval/flac", "flac"]),
    ],
)
def test_missing_audio_names_every_path_and_the_setting(tmp_path, corpus, protocol, tried):
    write(tmp_path / protocol, "LA_1 X_1 - - bonafide\n" if corpus is asvspoof2019_la else "X_1\n")
    with pytest.raises(NotFound) as error:
        corpus.CORPUS.trials(tmp_path, "eval")
    for path in tried:
        assert str(tmp_path / path) in str(error.value)
    assert "give `root` the folder" in str(error.value)


@pytest.mark.parametrize("module", [asvspoof5, ctrsvdd, partialspoof])
def test_what_is_missing_is_named(tmp_path, module):
    with pytest.raises(InputError, match=f"{module.CORPUS.title} has no split 'progress'; it has train, dev, eval"):
        module.CORPUS.trials(tmp_path, "progress")
    with pytest.raises(InputError, match="has no split 'progress'"):
        module.CORPUS.keys(tmp_path, "progress")
    with pytest.raises(NotFound, match="protocol of .* dev not found; looked for") as error:
        module.CORPUS.trials(tmp_path, "dev", protocols=tmp_path / "own")
    assert str(tmp_path / "own") in str(error.value) and "\n" not in str(error.value)
    with pytest.raises(NotFound, match="protocol of .* eval not found"):
        module.CORPUS.keys(tmp_path)


@pytest.mark.parametrize(
    "module", [asvspoof2019_la, asvspoof2021_la, asvspoof2021_df, asvspoof5, ctrsvdd, partialspoof]
)
def test_a_missing_corpus_folder_is_named(tmp_path, module):
    with pytest.raises(InputError, match=r"corpus folder .*nowhere not found.*`root`"):
        module.CORPUS.trials(tmp_path / "nowhere", module.CORPUS.splits[-1])


@pytest.mark.parametrize("corpus", [asvspoof2019_la, asvspoof2021_la, asvspoof2021_df, in_the_wild])
def test_unknown_split_and_phase(tmp_path, corpus):
    assert "eval" in corpus.CORPUS.splits
    with pytest.raises(InputError, match="has no split 'final'"):
        corpus.CORPUS.trials(tmp_path, "final")
    with pytest.raises(InputError, match=r"has no (split|phase) 'final'"):
        corpus.CORPUS.keys(tmp_path, "final")


@pytest.mark.parametrize("module", [asvspoof2019_la, asvspoof5, ctrsvdd, partialspoof])
@pytest.mark.parametrize("find", ["trials", "find_protocol", "find_audio"])
def test_test_is_another_name_of_eval(tmp_path, module, find):
    with pytest.raises(NotFound, match="eval not found"):
        getattr(module.CORPUS, find)(tmp_path, "test")
    with pytest.raises(InputError, match="has no split 'progress'"):
        getattr(module.CORPUS, find)(tmp_path, "progress")


def test_protocols_in_other_folders_and_missing_fields(tmp_path):
    meta = write(tmp_path / "labels" / "meta.csv", "file,speaker,label\n0.wav,-,spoof\n1.wav,A,bona-fide\n")
    found = in_the_wild.CORPUS.read_protocol(meta, "eval", tmp_path)
    assert [(t.path, t.speaker) for t in found] == [(tmp_path / "0.wav", None), (tmp_path / "1.wav", "A")]
    assert in_the_wild.CORPUS.find_protocol(tmp_path, "eval", tmp_path / "labels") == meta
    write(tmp_path / "ASVspoof2019.LA.cm.dev.trl.txt", "LA_1 LA_D_1 - - bonafide\n")
    assert [t.id for t in asvspoof2019_la.CORPUS.keys(tmp_path)] == ["LA_D_1"]


def test_real_protocols(shared, tmp_path):
    source = shared / "real" / "scores"
    for split, name, size in (("train", "train.trn", 25380), ("dev", "dev.trl", 24844), ("eval", "eval.trl", 71237)):
        file = f"ASVspoof2019.LA.cm.{name}.txt"
        write(tmp_path / file, lzma.open(source / "asvspoof2019_la" / f"{file}.xz", "rt").read())
        folder(tmp_path / f"ASVspoof2019_LA_{split}" / "flac")
        trials = asvspoof2019_la.CORPUS.trials(tmp_path, split)
        assert len(trials) == size
        assert count(trials).differences(asvspoof2019_la.CORPUS.counts[split]) == []
    assert len(asvspoof2019_la.CORPUS.keys(tmp_path)) == 25380 + 24844 + 71237
    file = "ASVspoof2021.LA.cm.eval.trl.txt"
    write(tmp_path / file, lzma.open(source / "asvspoof2021_la_ids" / f"{file}.xz", "rt").read())
    folder(tmp_path / "ASVspoof2021_LA_eval" / "flac")
    assert (
        len(asvspoof2021_la.CORPUS.trials(tmp_path))
        == 181566
        == sum(c.trials for c in asvspoof2021_la.CORPUS.key_counts.values())
    )


def test_every_corpus_is_scored_and_evaluated(tmp_path, small_model):
    root = tiny_corpus.make_all(tmp_path / "corpora")
    detector = Detector.from_config(small_model).eval()
    for name in ("asvspoof2019_la", "asvspoof5", "ctrsvdd", "partialspoof", "generic"):
        folder = root if name == "asvspoof2019_la" else root / name
        trials = corpora.get(name).trials(folder, "eval")
        out = tmp_path / f"{name}.txt"
        assert score_trials(detector, trials, out, num_samples=8000, num_workers=0).done == len(trials) == 4
        result = evaluate(name, out, folder, num_resamples=10)
        assert 0 <= result.eer <= 1 and result.num_bonafide == 2
        assert result.num_spoof == (1 if name == "ctrsvdd" else 2)  # without A14, as published
