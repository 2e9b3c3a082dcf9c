"""ASVspoof 2019 LA: where its files may lie, every field, and what is refused."""

import pytest
from builders import input_error
from builders.files import folder, write

from nes2net.data.corpora.asvspoof2019_la import CORPUS, asv_scores
from nes2net.data.corpora.protocol import NotFound
from nes2net.data.corpora.trial import Trial

EVAL_2019 = "LA_0001 LA_E_1 - - bonafide\nLA_0002 LA_E_2 - A07 spoof\n"


@pytest.mark.parametrize(
    "protocol_folder, audio_folder, split, name",
    [
        ("database/ASVspoof_LA_cm_protocols", ".", "eval", "eval.trl"),
        ("database/ASVspoof2019_LA_cm_protocols", "LA", "eval", "eval.trl"),
        ("database", "LA", "eval", "eval.trl"),
        ("DB/LA/ASVspoof2019_LA_cm_protocols", "LA", "train", "train.trn"),
        ("DB", "LA", "dev", "dev.trl"),
    ],
)
def test_trials_of_asvspoof2019_la_are_found_in_each_layout_of_its_folders(
    tmp_path, protocol_folder, audio_folder, split, name
):
    write(tmp_path / protocol_folder / f"ASVspoof2019.LA.cm.{name}.txt", EVAL_2019)
    audio = folder(tmp_path / "DB" / audio_folder / f"ASVspoof2019_LA_{split}/flac")
    trials = CORPUS.trials(tmp_path / "DB", split, protocols=tmp_path / "database")
    assert trials == [
        Trial("LA_E_1", audio / "LA_E_1.flac", "bonafide", "LA_0001", phase=split),
        Trial("LA_E_2", audio / "LA_E_2.flac", "spoof", "LA_0002", "A07", phase=split),
    ]


def test_a_folder_of_keys_gives_the_phase_asked_for_or_all_phases_if_none_is_asked_for(tmp_path):
    write(tmp_path / "ASVspoof2019.LA.cm.train.trn.txt", "LA_0079 LA_T_1 - - bonafide\n")
    write(tmp_path / "LA/ASVspoof2019_LA_cm_protocols/ASVspoof2019.LA.cm.eval.trl.txt", EVAL_2019)
    assert [t.id for t in CORPUS.keys(tmp_path)] == ["LA_T_1", "LA_E_1", "LA_E_2"]
    assert [t.id for t in CORPUS.keys(tmp_path, "eval")] == ["LA_E_1", "LA_E_2"]


@pytest.mark.parametrize("phase, suffix", [("train", "trn"), ("dev", "trl"), ("eval", "trl")])
def test_trials_of_a_key_of_asvspoof2019_la_get_the_phase_in_the_name_of_its_file(tmp_path, phase, suffix):
    file = write(tmp_path / f"ASVspoof2019.LA.cm.{phase}.{suffix}.txt", "LA_0079 LA_T_1 - - bonafide\n")
    assert [t.phase for t in CORPUS.keys(file)] == [phase]


def test_a_protocol_whose_file_name_has_no_phase_is_read_as_the_key_of_the_phase_asked_for(tmp_path):
    own_protocol = write(tmp_path / "my_protocol.txt", EVAL_2019)
    assert [t.id for t in CORPUS.keys(own_protocol, "dev")] == ["LA_E_1", "LA_E_2"]


def test_a_phase_that_a_file_of_keys_lacks_is_refused_with_the_phases_that_it_has(tmp_path):
    train = write(tmp_path / "ASVspoof2019.LA.cm.train.trn.txt", "LA_0079 LA_T_1 - - bonafide\n")
    with input_error("no trials in phase 'dev'; the key has train"):
        CORPUS.keys(train, "dev")


def test_a_phase_whose_file_a_folder_of_keys_lacks_is_refused_with_the_name_of_the_file(tmp_path):
    with pytest.raises(NotFound, match=r"ASVspoof2019\.LA\.cm\.dev\.trl\.txt"):
        CORPUS.keys(tmp_path, "dev")


ASV_FILE = "ASVspoof2019.LA.asv.eval.gi.trl.scores.txt"


def test_asv_scores_are_divided_into_those_of_target_nontarget_and_spoofed_trials(tmp_path):
    text = "bonafide target 2.5\nbonafide nontarget -1\nA07 spoof 0.5\nbonafide target 3\n"
    file = write(tmp_path / ASV_FILE, text)
    assert [list(scores) for scores in asv_scores(file)] == [[2.5, 3], [-1], [0.5]]


def test_asv_scores_are_found_from_each_root(tmp_path):
    """The root may be the file of scores, a protocol, the folder of either, or that of the corpus."""
    protocol = write(tmp_path / "LA/ASVspoof2019_LA_cm_protocols/ASVspoof2019.LA.cm.eval.trl.txt", EVAL_2019)
    file = write(tmp_path / "LA/ASVspoof2019_LA_asv_scores" / ASV_FILE, "bonafide target 2.5\n")
    for root in (file, file.parent, tmp_path, tmp_path / "LA", protocol, protocol.parent):
        assert asv_scores(root)[0] == [2.5]


def test_missing_asv_scores_are_refused_with_the_name_of_their_file(tmp_path):
    with pytest.raises(NotFound, match=r"asv\.dev\.gi"):
        asv_scores(tmp_path, "dev")


def test_an_asv_score_of_another_kind_than_target_nontarget_and_spoof_is_refused(tmp_path):
    file = write(tmp_path / ASV_FILE, "bonafide impostor 1\n")
    with input_error("line 1: unknown ASV key 'impostor'; expected one of target"):
        asv_scores(file)
