"""Corpora whose lists state segments: segments, labels of frames, and lists that contradict themselves."""

from builders import input_error
from builders.files import write
from builders.miniature_corpora import CORPORA, make

from nes2net.data.corpora import llamapartialspoof, partialedit
from nes2net.metrics.localisation import Segment

EDITED = "E1/p225/p225_001_edited_partial_16k"
TWICE = "E2/p226/p226_002_edited_partial_16k"


def test_time_outside_the_edited_regions_of_partialedit_is_bona_fide(tmp_path):
    make(tmp_path, CORPORA["partialedit"])
    expected = {
        EDITED: [Segment("bonafide", 0.0, 0.02), Segment("spoof", 0.02, 0.05), Segment("bonafide", 0.05, 0.1)],
        TWICE: [
            Segment("bonafide", 0.0, 0.01),
            Segment("spoof", 0.01, 0.02),
            Segment("bonafide", 0.02, 0.06),
            Segment("spoof", 0.06, 0.07),
            Segment("bonafide", 0.07, 0.1),
        ],
    }
    for root in (tmp_path, tmp_path / "PartialEdit_E1E2.csv"):
        assert partialedit.CORPUS.segments(root, "eval") == expected


def test_labels_of_frames_are_0_in_the_edited_regions_of_partialedit_and_else_1(tmp_path):
    make(tmp_path, CORPORA["partialedit"])
    labels = partialedit.CORPUS.segment_labels(tmp_path, "eval", 10)
    assert list(labels[EDITED]) == [1, 1, 0, 0, 0, 1, 1, 1, 1, 1]
    assert list(labels[TWICE]) == [1, 0, 1, 1, 1, 1, 0, 1, 1, 1]


def test_segments_of_llamapartialspoof_are_read_from_its_two_label_files(tmp_path):
    make(tmp_path, CORPORA["llamapartialspoof"])
    segments = llamapartialspoof.CORPUS.segments(tmp_path, "eval")
    assert segments["dev-clean_1462_170145_000020_000002"] == [Segment("bonafide", 0.0, 0.1)]
    assert segments["dev01-xtts-partial-cp_1272_128104_000007_000001"] == [
        Segment("bonafide", 0.0, 0.03),
        Segment("spoof", 0.03, 0.1),
    ]


def test_segments_of_llamapartialspoof_that_contradict_the_label_of_their_utterance_are_refused(tmp_path):
    write(tmp_path / "label_R01TTS.0.a.txt", "x 0.1 bonafide 0.0-0.1-spoof\n")
    with input_error(r"another label than the segments: x \(bonafide, some of it spoof\)"):
        llamapartialspoof.CORPUS.segments(tmp_path, "eval")
