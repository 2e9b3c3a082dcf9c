"""ASVspoof 2019 LA: where its files may lie, every field, and what is refused."""

import numpy as np
import pytest
from builders.files import folder, write

from nes2net.corpora import asvspoof2019_la
from nes2net.corpora.protocol import NotFound
from nes2net.corpora.trial import Trial
from nes2net.errors import InputError

EVAL_2019 = "LA_0001 LA_E_1 - - bonafide\nLA_0002 LA_E_2 - A07 spoof\n"


@pytest.mark.parametrize(
    "place, inner",
    [
        ("database/ASVspoof_LA_cm_protocols", "."),
        ("database/ASVspoof2019_LA_cm_protocols", "LA"),
        ("database/ASVspoof_DF_cm_protocols", "."),
        ("database", "LA"),
    ],
)
def test_trials(tmp_path, place, inner):
    write(tmp_path / place / "ASVspoof2019.LA.cm.eval.trl.txt", EVAL_2019)
    audio = folder(tmp_path / "DB" / inner / "ASVspoof2019_LA_eval" / "flac")
    trials = asvspoof2019_la.CORPUS.trials(tmp_path / "DB", "eval", protocols=tmp_path / "database")
    assert trials == [
        Trial("LA_E_1", audio / "LA_E_1.flac", "bonafide", "LA_0001", phase="eval"),
        Trial("LA_E_2", audio / "LA_E_2.flac", "spoof", "LA_0002", "A07", phase="eval"),
    ]
    assert [trial.target for trial in trials] == [1, 0]


@pytest.mark.parametrize(
    "place, split, name",
    [
        ("LA/ASVspoof2019_LA_cm_protocols", "train", "train.trn"),
        ("ASVspoof2019_LA_cm_protocols", "dev", "dev.trl"),
        (".", "eval", "eval.trl"),
    ],
)
def test_protocol_under_the_root(tmp_path, place, split, name):
    write(tmp_path / place / f"ASVspoof2019.LA.cm.{name}.txt", EVAL_2019)
    folder(tmp_path / "LA" / f"ASVspoof2019_LA_{split}" / "flac")
    trials = asvspoof2019_la.CORPUS.trials(tmp_path, split, protocols=tmp_path / "nowhere")
    assert [trial.phase for trial in trials] == [split, split]


def test_keys(tmp_path):
    train = write(tmp_path / "ASVspoof2019.LA.cm.train.trn.txt", "LA_0079 LA_T_1 - - bonafide\n")
    write(tmp_path / "LA" / "ASVspoof2019_LA_cm_protocols" / "ASVspoof2019.LA.cm.eval.trl.txt", EVAL_2019)
    assert [t.id for t in asvspoof2019_la.CORPUS.keys(tmp_path)] == ["LA_T_1", "LA_E_1", "LA_E_2"]
    assert [t.id for t in asvspoof2019_la.CORPUS.keys(tmp_path, "eval")] == ["LA_E_1", "LA_E_2"]
    assert [t.phase for t in asvspoof2019_la.CORPUS.keys(train)] == ["train"]
    own = write(tmp_path / "my_protocol.txt", EVAL_2019)
    assert [t.phase for t in asvspoof2019_la.CORPUS.keys(own, "dev")] == [None, None]
    with pytest.raises(InputError, match="no trials in phase 'dev'; the key has train"):
        asvspoof2019_la.CORPUS.keys(train, "dev")
    with pytest.raises(NotFound, match=r"ASVspoof2019\.LA\.cm\.dev\.trl\.txt"):
        asvspoof2019_la.CORPUS.keys(tmp_path, "dev")


def test_asv_scores(tmp_path):
    name = "ASVspoof2019.LA.asv.eval.gi.trl.scores.txt"
    text = "bonafide target 2.5\nbonafide nontarget -1\nA07 spoof 0.5\nbonafide target 3\n"
    protocol = write(tmp_path / "LA" / "ASVspoof2019_LA_cm_protocols" / "ASVspoof2019.LA.cm.eval.trl.txt", EVAL_2019)
    file = write(tmp_path / "LA" / "ASVspoof2019_LA_asv_scores" / name, text)
    for place in (file, file.parent, tmp_path, tmp_path / "LA", protocol, protocol.parent):
        target, nontarget, spoof = asvspoof2019_la.asv_scores(place)
        np.testing.assert_array_equal(target, [2.5, 3])
        np.testing.assert_array_equal(nontarget, [-1])
        np.testing.assert_array_equal(spoof, [0.5])
    with pytest.raises(NotFound, match=r"asv\.dev\.gi"):
        asvspoof2019_la.asv_scores(tmp_path, "dev")
    write(file, "bonafide impostor 1\n")
    with pytest.raises(InputError, match="line 1: unknown ASV key 'impostor'; expected one of target"):
        asvspoof2019_la.asv_scores(tmp_path)


def test_a_missing_protocol_names_every_path_and_the_setting(tmp_path):
    (tmp_path / "DB").mkdir()
    with pytest.raises(NotFound) as error:
        asvspoof2019_la.CORPUS.trials(tmp_path / "DB", "dev", protocols=tmp_path / "database")
    message = str(error.value)
    for inner in ("ASVspoof_LA_cm_protocols", "ASVspoof2019_LA_cm_protocols", "ASVspoof_DF_cm_protocols", "."):
        for place in ("database", "DB"):
            assert str(tmp_path / place / inner / "ASVspoof2019.LA.cm.dev.trl.txt") in message
    assert "give `protocols` the folder" in message
    assert "\n" not in message


@pytest.mark.parametrize(
    "text, message",
    [
        ("LA_1 LA_E_1 - - spoof\nLA_1 LA_E_2 - spoof\n", r"txt, line 2: expected 5 fields \(speaker, .*\), found 4"),
        ("LA_1 LA_E_1 - - bona-fide\n", "line 1: unknown label 'bona-fide'; expected one of bonafide, spoof"),
        ("LA_1 ../../etc/passwd - - spoof\n", r"line 1: '\.\./\.\./etc/passwd' cannot be an utterance id"),
        ("LA_1 /etc/passwd - - spoof\n", "cannot be an utterance id"),
        ("LA_1 a\\b - - spoof\n", "cannot be an utterance id"),
        ("LA_1 LA_E_1 - - bonafide\nLA_1 LA_E_1 - - bonafide\n", "1 utterance in it more than once: LA_E_1"),
        ("\n\n", "holds no trials"),
    ],
)
def test_malformed_protocol(tmp_path, text, message):
    write(tmp_path / "ASVspoof2019.LA.cm.eval.trl.txt", text)
    folder(tmp_path / "ASVspoof2019_LA_eval" / "flac")
    for read in (asvspoof2019_la.CORPUS.trials, asvspoof2019_la.CORPUS.keys):
        with pytest.raises(InputError, match=message):
            read(tmp_path, "eval")
