"""PartialSpoof: where its files may lie, every field, and the labels of segments."""

import numpy as np
import pytest
from builders import input_error
from builders.files import folder, write

from nes2net.data.corpora import partialspoof
from nes2net.data.corpora.protocol import NotFound
from nes2net.data.corpora.trial import Trial
from nes2net.metrics.localisation import Segment, write_rttm

PARTIALSPOOF = "LA_0039 LA_E_2834763 - - bonafide\nLA_0014 CON_E_0033629 - CON spoof\n"


@pytest.mark.parametrize("root, split", [(".", "train"), ("database", "dev"), (".", "eval")])
def test_trials_of_partialspoof_are_found_from_each_root(tmp_path, root, split):
    protocols = tmp_path / "database/protocols/PartialSpoof_LA_cm_protocols"
    write(protocols / f"PartialSpoof.LA.cm.{split}.trl.txt", PARTIALSPOOF)
    audio = folder(tmp_path / "database" / split / "con_wav")
    assert partialspoof.CORPUS.trials(tmp_path / root, split) == [
        Trial("LA_E_2834763", audio / "LA_E_2834763.wav", "bonafide", "LA_0039", phase=split),
        Trial("CON_E_0033629", audio / "CON_E_0033629.wav", "spoof", "LA_0014", "CON", phase=split),
    ]


@pytest.mark.parametrize("resolution, name", [(10, "0.01"), (20, "0.02"), (160, "0.16"), (640, "0.64")])
def test_segment_labels_are_read_at_the_resolution_asked_for(tmp_path, resolution, name):
    """From the folder of the corpus, a folder below it or the file itself."""
    file = folder(tmp_path / "database/segment_labels") / f"dev_seglab_{name}.npy"
    np.save(file, {"CON_D_1": np.array(list("1001")), "LA_D_2": np.array(["1"]), "LA_D_3": np.array([1, 0])})
    for root in (tmp_path, tmp_path / "database", file.parent, file):
        labels = partialspoof.segment_labels(root, "dev", resolution)
        values_by_id = {name: list(values) for name, values in labels.items()}
        assert values_by_id == {"CON_D_1": [1, 0, 0, 1], "LA_D_2": [1], "LA_D_3": [1, 0]}


def test_segment_labels_of_an_unknown_resolution_are_refused(tmp_path):
    with input_error("no labels of 30 ms; choose one of 10, 20, 40, 80, 160, 320, 640"):
        partialspoof.segment_labels(tmp_path, "dev", 30)


def test_segment_labels_whose_file_is_missing_are_refused_with_its_name(tmp_path):
    with pytest.raises(NotFound, match=r"dev_seglab_0\.04\.npy"):
        partialspoof.segment_labels(tmp_path, "dev", 40)


def test_segment_labels_that_are_no_row_of_0_and_1_are_refused(tmp_path):
    for values in (np.array(["1", "2"]), np.array([["1"]]), np.array([0.5])):
        np.save(tmp_path / "dev_seglab_0.02.npy", {"CON_D_1": values})
        with input_error(r"dev_seglab_0\.02\.npy: the labels of CON_D_1 are not a row of '0' and"):
            partialspoof.segment_labels(tmp_path, "dev")


SEGMENTS = {
    "LA_E_2834763": [Segment("bonafide", 0.0, 1.5)],
    "CON_E_0033629": [Segment("bonafide", 0.0, 0.347), Segment("spoof", 0.347, 2.1)],
}


DURATIONS = "LA_E_2834763 1.5\nCON_E_0033629 2.1\n"


of_each_folder = pytest.mark.parametrize("segment_folder", ["database/eval/con_data", "eval/con_data", "."])


@of_each_folder
def test_segments_are_read_from_the_rttm_file_of_all_segments_wherever_it_may_lie(tmp_path, segment_folder):
    write(tmp_path / segment_folder / "reco2dur", DURATIONS)
    write_rttm(tmp_path / segment_folder / "rttm_2cls_0sil", SEGMENTS)
    write(tmp_path / "PartialSpoof.LA.cm.eval.trl.txt", PARTIALSPOOF)
    assert partialspoof.CORPUS.segments(tmp_path, "eval") == SEGMENTS


@of_each_folder
def test_time_that_an_rttm_file_of_spoofed_segments_leaves_out_is_bona_fide(tmp_path, segment_folder):
    write(tmp_path / segment_folder / "reco2dur", DURATIONS)
    write(tmp_path / "PartialSpoof.LA.cm.eval.trl.txt", PARTIALSPOOF)
    write_rttm(tmp_path / segment_folder / "rttm_2cls_0sil_spoof", {"CON_E_0033629": SEGMENTS["CON_E_0033629"][1:]})
    assert partialspoof.segments(tmp_path, "eval") == SEGMENTS


def test_an_utterance_of_partialspoof_that_lasts_0_s_has_no_segments(tmp_path):
    write(tmp_path / "reco2dur", f"{DURATIONS}empty 0\n")
    write_rttm(tmp_path / "rttm_2cls_0sil_spoof", {"CON_E_0033629": SEGMENTS["CON_E_0033629"][1:]})
    assert partialspoof.segments(tmp_path, "eval") == SEGMENTS


def test_an_utterance_that_the_rttm_file_of_all_segments_lacks_is_refused(tmp_path):
    """Even if a label is given for time without a segment."""
    write_rttm(tmp_path / "rttm_2cls_0sil", SEGMENTS)
    write(tmp_path / "reco2dur", f"{DURATIONS}CON_E_1 1\n")
    with input_error("rttm_2cls_0sil: 1 utterance of reco2dur without segments: CON_E_1"):
        partialspoof.segments(tmp_path, "eval", uncovered="spoof")


def test_segments_of_partialspoof_that_contradict_its_protocol_are_refused(tmp_path):
    write_rttm(tmp_path / "rttm_2cls_0sil", SEGMENTS)
    write(tmp_path / "reco2dur", DURATIONS)
    write(tmp_path / "PartialSpoof.LA.cm.eval.trl.txt", PARTIALSPOOF.replace("- - bonafide", "- CON spoof"))
    with input_error(r"than the segments: LA_E_2834763 \(spoof, none of it spoof\)"):
        partialspoof.segments(tmp_path, "eval")
