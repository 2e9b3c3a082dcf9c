"""ASVspoof 5, CtrSVDD and PartialSpoof: layouts, fields, and what is refused."""

import inspect
import lzma
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

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
from nes2net.corpora.corpus import Corpus, count, key_digest
from nes2net.corpora.protocol import NotFound
from nes2net.corpora.trial import Trial
from nes2net.errors import InputError
from nes2net.evaluation.evaluate import evaluate
from nes2net.registry import corpora
from nes2net.scoring.corpus import score_trials

ASVSPOOF5 = (
    "T_4850 T_0000000000 F - - - AC3 A05 spoof -\n"
    "T_4851 T_0000000001 M - 0 - - bonafide bonafide -\n"
    "E_0001 E_0000000002 M C05 3 77 AC1 A17 spoof -\n"
)
CTRSVDD = (
    "m4singer CtrSVDD_0110 CtrSVDD_0110_D_0015416 - - bonafide\n"
    "acesinger CtrSVDD_0097 CtrSVDD_0097_D_0010993 - A06 deepfake\n"
)
PARTIALSPOOF = "LA_0039 LA_E_2834763 - - bonafide\nLA_0014 CON_E_0033629 - CON spoof\n"


def write(path: Path, text: str = "") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def folder(path: Path) -> Path:
    path.mkdir(parents=True, exist_ok=True)
    return path


@pytest.mark.parametrize("name", corpora.names())
def test_every_corpus_keeps_the_contract(name):
    corpus = corpora.get(name)
    assert isinstance(corpus, Corpus)
    assert set(corpus.splits) <= {"train", "dev", "eval"} and corpus.title and corpus.test_samples in (64000, 64600)
    assert corpus.eer_method in ("asvspoof", "interpolated", "sklearn")
    assert bool(corpus.find_key) == bool(corpus.key_counts) == bool(corpus.phases)
    assert set(corpus.counts) == (set() if corpus.user_defined else set(corpus.splits))
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


@pytest.mark.parametrize("corpus", [asvspoof2021_la.CORPUS, asvspoof2021_df.CORPUS])
def test_parts_add_up_to_the_whole(corpus):
    assert sum(counts.trials for counts in corpus.key_counts.values()) == corpus.counts["eval"].trials
    assert corpus.labelled_counts("hidden_track") is corpus.key_counts["hidden"]


# ASVspoof 5


@pytest.mark.parametrize("place", [".", "ASVspoof5_protocols", "protocols"])
@pytest.mark.parametrize(
    "split, name, audio",
    [("train", "train", "flac_T"), ("dev", "dev.track_1", "flac_D"), ("eval", "eval.track_1", "flac_E_eval")],
)
def test_asvspoof5(tmp_path, place, split, name, audio):
    file = write(tmp_path / place / f"ASVspoof5.{name}.tsv", ASVSPOOF5)
    audio = folder(tmp_path / audio)
    spoof, bonafide, coded = asvspoof5.trials(tmp_path, split)
    assert spoof == Trial(
        id="T_0000000000",
        path=audio / "T_0000000000.flac",
        label="spoof",
        speaker="T_4850",
        attack="A05",
        codec="none",
        phase=split,
        gender="F",
        attack_type="AC3",
    )
    assert bonafide == Trial(
        "T_0000000001", audio / "T_0000000001.flac", "bonafide", "T_4851", codec="none", phase=split, gender="M"
    )
    assert (coded.codec, coded.quality, coded.seed, coded.attack) == ("C05", "3", "77", "A17")
    assert [t.phase for t in asvspoof5.keys(file)] == [split] * 3
    assert asvspoof5.keys(tmp_path, split) == asvspoof5.keys(tmp_path) == asvspoof5.keys(file)
    assert all(t.path is None for t in asvspoof5.keys(file))


@pytest.mark.parametrize(
    "text, message",
    [
        (ASVSPOOF5 + "T_1 T_2 F - - - AC3 A05 spoof\n", r"line 4: expected 10 fields \(speaker, .*\), found 9"),
        (ASVSPOOF5.replace("A05 spoof", "A05 deepfake"), "line 1: unknown label 'deepfake'"),
        (ASVSPOOF5 + ASVSPOOF5, "3 utterances stand in it more than once"),
        ("\n", "holds no trials"),
    ],
)
def test_malformed_asvspoof5(tmp_path, text, message):
    with pytest.raises(InputError, match=message) as error:
        asvspoof5.keys(write(tmp_path / "ASVspoof5.train.tsv", text))
    assert "ASVspoof5.train.tsv" in str(error.value)


# CtrSVDD


@pytest.mark.parametrize(
    "split, name, audio",
    [("train", "train", "train_set"), ("dev", "dev", "dev"), ("eval", "test", "test_set/test_set")],
)
def test_ctrsvdd(tmp_path, split, name, audio):
    write(tmp_path / f"{name}.txt", CTRSVDD)
    audio = folder(tmp_path / audio)
    assert ctrsvdd.trials(tmp_path, split) == [
        Trial(
            "CtrSVDD_0110_D_0015416",
            audio / "CtrSVDD_0110_D_0015416.flac",
            "bonafide",
            "CtrSVDD_0110",
            source="m4singer",
            phase=split,
        ),
        Trial(
            "CtrSVDD_0097_D_0010993",
            audio / "CtrSVDD_0097_D_0010993.flac",
            "spoof",
            "CtrSVDD_0097",
            "A06",
            source="acesinger",
            phase=split,
        ),
    ]
    assert [t.label for t in ctrsvdd.keys(tmp_path)] == ["bonafide", "spoof"]
    if split == "eval":
        assert ctrsvdd.trials(tmp_path, "test") == ctrsvdd.trials(tmp_path, "eval")
        assert ctrsvdd.keys(tmp_path, "test") == ctrsvdd.keys(tmp_path / "test.txt", "eval")


def test_ctrsvdd_test_set_without_labels(tmp_path):
    audio = folder(tmp_path / "test_set")
    with pytest.raises(InputError, match=r"test_set: holds no \.flac files"):
        ctrsvdd.trials(tmp_path, "eval")
    for name in ("b.flac", "a.flac", "._a.flac", "notes.txt"):
        write(audio / name)
    assert ctrsvdd.trials(tmp_path, "eval") == [Trial(n, audio / f"{n}.flac", phase="eval") for n in "ab"]
    with pytest.raises(NotFound, match=r"protocol of CtrSVDD eval not found; looked for .*test\.txt"):
        ctrsvdd.keys(tmp_path, "eval")
    folder(tmp_path / "train_set")
    with pytest.raises(NotFound, match=r"train\.txt"):
        ctrsvdd.trials(tmp_path, "train")


def test_ctrsvdd_evaluates_by_the_rule_of_its_published_figures(tmp_path):
    lines = [
        f"kiritan s CtrSVDD_{n} - {'-' if n % 2 else 'A09'} {'bonafide' if n % 2 else 'deepfake'}\n" for n in range(40)
    ]
    write(tmp_path / "test.txt", "".join(lines))
    scores = np.random.default_rng(0).permutation(40)
    write(tmp_path / "scores.txt", "".join(f"CtrSVDD_{n} {score}\n" for n, score in enumerate(scores)))
    result = evaluate("ctrsvdd", tmp_path / "scores.txt", tmp_path, num_resamples=10)
    from nes2net import metrics

    assert result.eer == metrics.compute_eer(scores[1::2], scores[::2], "sklearn")[0]


# PartialSpoof


@pytest.mark.parametrize("given", [".", "database"])
@pytest.mark.parametrize("split", ["train", "dev", "eval"])
def test_partialspoof(tmp_path, given, split):
    protocols = tmp_path / "database" / "protocols" / "PartialSpoof_LA_cm_protocols"
    write(protocols / f"PartialSpoof.LA.cm.{split}.trl.txt", PARTIALSPOOF)
    audio = folder(tmp_path / "database" / split / "con_wav")
    assert partialspoof.trials(tmp_path / given, split) == [
        Trial("LA_E_2834763", audio / "LA_E_2834763.wav", "bonafide", "LA_0039", phase=split),
        Trial("CON_E_0033629", audio / "CON_E_0033629.wav", "spoof", "LA_0014", "CON", phase=split),
    ]
    assert [t.label for t in partialspoof.keys(protocols, split)] == ["bonafide", "spoof"]


@pytest.mark.parametrize("resolution, name", [(10, "0.01"), (20, "0.02"), (160, "0.16"), (640, "0.64")])
def test_segment_labels(tmp_path, resolution, name):
    file = folder(tmp_path / "database" / "segment_labels") / f"dev_seglab_{name}.npy"
    np.save(file, {"CON_D_1": np.array(list("1001")), "LA_D_2": np.array(["1"]), "LA_D_3": np.array([1, 0])})
    for place in (tmp_path, tmp_path / "database", file.parent, file):
        labels = partialspoof.segment_labels(place, "dev", resolution)
        assert {name: list(values) for name, values in labels.items()} == {
            "CON_D_1": [1, 0, 0, 1],
            "LA_D_2": [1],
            "LA_D_3": [1, 0],
        }
        assert all(values.dtype == np.uint8 for values in labels.values())


def test_segment_labels_that_are_none(tmp_path):
    with pytest.raises(InputError, match="no segments of 30 ms; it has 10, 20, 40, 80, 160, 320, 640"):
        partialspoof.segment_labels(tmp_path, "dev", 30)
    with pytest.raises(NotFound, match=r"dev_seglab_0\.04\.npy"):
        partialspoof.segment_labels(tmp_path, "dev", 40)
    for values in (np.array(["1", "2"]), np.array([["1"]]), np.array([0.5])):
        np.save(tmp_path / "dev_seglab_0.02.npy", {"CON_D_1": values})
        with pytest.raises(InputError, match=r"dev_seglab_0\.02\.npy: the labels of CON_D_1 are no row of '0' and '1'"):
            partialspoof.segment_labels(tmp_path, "dev")


# What all refuse


@pytest.mark.parametrize("module", [asvspoof5, ctrsvdd, partialspoof])
def test_what_is_missing_is_named(tmp_path, module):
    with pytest.raises(InputError, match=f"{module.CORPUS.title} has no split 'progress'; it has train, dev, eval"):
        module.trials(tmp_path, "progress")
    with pytest.raises(InputError, match="has no split 'progress'"):
        module.keys(tmp_path, "progress")
    with pytest.raises(NotFound, match="protocol of .* dev not found; looked for") as error:
        module.trials(tmp_path, "dev", protocols=tmp_path / "own")
    assert str(tmp_path / "own") in str(error.value) and "\n" not in str(error.value)
    with pytest.raises(NotFound, match="protocol of .* eval not found"):
        module.keys(tmp_path)


@pytest.mark.parametrize(
    "module", [asvspoof2019_la, asvspoof2021_la, asvspoof2021_df, asvspoof5, ctrsvdd, partialspoof]
)
def test_a_missing_corpus_folder_is_named(tmp_path, module):
    with pytest.raises(InputError, match=r"corpus folder .*nowhere not found.*`root`"):
        module.trials(tmp_path / "nowhere", module.CORPUS.splits[-1])


# In-the-Wild, and all of them


def test_the_real_key_of_in_the_wild(shared, tmp_path):
    key = lzma.open(shared / "real" / "scores" / "in_the_wild" / "in_the_wild_key.txt.xz", "rt").read().splitlines()
    lines = [f"{fields[1]},someone,{fields[-1]}\n" for fields in map(str.split, key)]
    write(tmp_path / "meta.csv", "file,speaker,label\n" + "".join(lines))
    found = in_the_wild.keys(tmp_path)
    assert count(found).differences(in_the_wild.CORPUS.counts["eval"]) == []
    assert key_digest(found) == in_the_wild.CORPUS.key_digests["eval"]


def test_a_quotation_mark_that_is_left_open_in_the_key_of_in_the_wild(tmp_path):
    write(tmp_path / "meta.csv", 'file,speaker,label\n0.wav,A,spoof\n1.wav,"' + "B,spoof\n" * 20_000)
    with pytest.raises(InputError, match=r"meta\.csv, line 3: no row of a CSV file .*quotation marks"):
        in_the_wild.keys(tmp_path)


def test_every_corpus_is_scored_and_evaluated(tmp_path, small_model):
    from builders import tiny_corpus

    root = tiny_corpus.make_all(tmp_path / "corpora")
    detector = Detector.from_config(small_model).eval()
    for name in ("asvspoof2019_la", "asvspoof5", "ctrsvdd", "partialspoof", "generic"):
        folder = root if name == "asvspoof2019_la" else root / name
        trials = corpora.get(name).trials(folder, "eval")
        out = tmp_path / f"{name}.txt"
        assert score_trials(detector, trials, out, num_samples=8000, num_workers=0).scored == len(trials) == 4
        result = evaluate(name, out, folder, num_resamples=10)
        assert 0 <= result.eer <= 1 and result.num_bonafide == 2
        assert result.num_spoof == (1 if name == "ctrsvdd" else 2)  # without A14, as published


@pytest.mark.parametrize("module", [asvspoof2019_la, asvspoof5, ctrsvdd, partialspoof])
@pytest.mark.parametrize("find", ["find_protocol", "find_audio"])
def test_test_is_another_word_for_eval(tmp_path, module, find):
    with pytest.raises(NotFound, match="eval not found"):
        getattr(module, find)(tmp_path, "test")
    with pytest.raises(InputError, match="has no split 'progress'"):
        getattr(module, find)(tmp_path, "progress")


def test_the_new_signature_of_in_the_wild_and_2019(tmp_path):
    meta = write(tmp_path / "labels" / "meta.csv", "file,speaker,label\n0.wav,-,spoof\n1.wav,A,bona-fide\n")
    found = in_the_wild.read_protocol(meta, "eval", tmp_path)
    assert [(t.path, t.speaker) for t in found] == [(tmp_path / "0.wav", None), (tmp_path / "1.wav", "A")]
    assert in_the_wild.find_protocol(tmp_path, "eval", tmp_path / "labels") == meta
    write(tmp_path / "ASVspoof2019.LA.cm.dev.trl.txt", "LA_1 LA_D_1 - - bonafide\n")
    assert [t.id for t in asvspoof2019_la.keys(tmp_path)] == ["LA_D_1"]
