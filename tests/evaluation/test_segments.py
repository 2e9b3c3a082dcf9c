"""Evaluation of frame scores: the published figures of golden cases, what does not fit, and the page."""

from dataclasses import replace

import numpy as np
import pytest
from builders import input_error, zoo
from builders.files import read_json, write, write_record
from numpy.testing import assert_allclose

from nes2net.cli.main import main
from nes2net.data.corpora import partialspoof
from nes2net.evaluation.key import Labels
from nes2net.evaluation.page import html_page
from nes2net.evaluation.segments import RTTM, SegmentEvaluation
from nes2net.metrics.localisation.segments import Segment
from nes2net.scoring.segment_file import lines

NAMES = ("a20", "b40", "c80", "d160", "e320", "f640", "g20_ties", "h20_poor")


def evaluate_segments(corpus, scores, root, **settings):
    return SegmentEvaluation(Labels(corpus, root, "eval"), scores, **settings).run()


@pytest.fixture
def golden_corpus(tmp_path, register_corpus):
    """A function that writes a golden case as a corpus and a file of scores, and gives the arguments."""

    def make(name, with_segments=True):
        case = zoo.read("localisation_point_eer")[name]
        labels = {}
        segments = {}
        protocol = ""
        scores = ""
        for utterance in case["utterances"]:
            id = utterance["name"]
            frames = utterance["labels_10ms"].numpy()
            labels[id] = frames.astype("U1")
            segments[id] = [Segment(*segment) for segment in utterance["segments"]]
            protocol += f"LA_0 {id} - - {'bonafide' if frames.min() else 'spoof'}\n"
            scores += lines(id, utterance["scores"].numpy())
        root = tmp_path / "database"
        write(root / "protocols" / "PartialSpoof.LA.cm.eval.trl.txt", protocol)
        np.save(write(root / "segment_labels" / "eval_seglab_0.01.npy"), labels)
        resolution = case["config"]["resolution_ms"]
        write_record(tmp_path / "f.txt", resolution_ms=resolution)
        function = (lambda root, split: segments) if with_segments else None
        register_corpus("golden", replace(partialspoof.CORPUS, segments=function))
        return "golden", [write(tmp_path / "f.txt", scores)], tmp_path

    return make


@pytest.mark.parametrize("name", NAMES)
def test_eers_thresholds_and_sizes_of_frames_utterances_and_seconds_equal_the_reference_numbers(golden_corpus, name):
    """Those of frames and of utterances are of PartialSpoof's program, those of seconds of the definition of that EER."""
    case = zoo.read("localisation_point_eer")[name]
    seconds = zoo.read("localisation_range_eer")[name]["exact"]
    result = evaluate_segments(*golden_corpus(name), num_resamples=2)
    assert result.header["num_utterances"] == len(case["utterances"])
    *points, utterance, range_based = result.rows("rates")
    assert [int(row.labels["of"].split()[0]) for row in points] == case["measured_at_ms"]
    assert_allclose([row["eer"].value for row in points], case["eer"], rtol=0, atol=1e-12)
    assert_allclose([row["threshold"].value for row in points], case["threshold"], rtol=0, atol=1e-12)
    assert utterance["eer"].value == pytest.approx(case["utterance_eer_from_minimum"], abs=1e-12)
    own_resolution = next(row for row in points if row.labels["scores"] == "own")
    assert own_resolution.value("num_bonafide") == case["num_bonafide"]
    assert own_resolution.value("num_spoof") == case["num_spoof"]
    assert range_based["eer"].value == pytest.approx(seconds["eer"], abs=1e-9)
    assert result.header["seconds"][1] == pytest.approx(seconds["spoof_seconds"], abs=1e-9)


def test_the_result_of_a_corpus_with_rttm_says_that_seconds_are_measured_by_it(golden_corpus):
    assert evaluate_segments(*golden_corpus("a20"), num_resamples=2).header["truth"] == RTTM


def test_without_rttm_seconds_are_measured_by_the_labels_of_frames(golden_corpus):
    result = evaluate_segments(*golden_corpus("a20", with_segments=False), num_resamples=2)
    assert result.header["truth"] == "labels of 10 ms"
    with_segments = zoo.read("localisation_range_eer")["a20"]["exact"]["eer"]
    assert result.rows("rates")[-1]["eer"].value == pytest.approx(with_segments, abs=0.01)


def test_detection_has_a_row_with_f1_and_overlap_at_the_threshold_that_is_asked_for(golden_corpus):
    """At this one, all that has a score is called spoof, so the overlap (IoU) is about the share of spoofed time."""
    result = evaluate_segments(*golden_corpus("a20"), num_resamples=2, threshold=1e9)
    _, at_asked_threshold = result.rows("detection")
    assert at_asked_threshold.labels["at"] == "the threshold asked for"
    overlap = at_asked_threshold.value("iou")
    bonafide_seconds, spoof_seconds = result.header["seconds"]
    assert overlap == pytest.approx(spoof_seconds / (bonafide_seconds + spoof_seconds), abs=0.01)
    assert at_asked_threshold.value("f1") == pytest.approx(2 * overlap / (1 + overlap))


def test_frame_scores_that_do_not_fit_the_key_are_omitted_only_if_allowed(golden_corpus):
    """The result is then called partial."""
    corpus, [scores], root = golden_corpus("a20")
    text = scores.read_text()
    ids = list(dict.fromkeys(line.split()[0] for line in text.splitlines()))
    first_rows = "".join(line for line in text.splitlines(True) if line.split()[0] == ids[0])
    other_rows = text.replace(first_rows, "")
    for changed, message in (
        (other_rows, f"1 of {len(ids)} trials without a score: {ids[0]}"),
        (f"{ids[0]} 0 1.0\n{other_rows}", "1 with another number of frames than 20 ms give"),
    ):
        write(scores, changed)
        with input_error(message):
            evaluate_segments(corpus, [scores], root, num_resamples=2)
        result = evaluate_segments(corpus, [scores], root, num_resamples=2, allow_partial=True)
        assert result.header["num_utterances"] == len(ids) - 1
        assert "PARTIAL" in result.text()


def test_a_resolution_that_the_record_of_frame_scores_contradicts_is_refused(golden_corpus):
    with input_error("its record states frames of 20 ms, not of 40 ms"):
        evaluate_segments(*golden_corpus("a20"), resolution_ms=40)


@pytest.fixture
def without_record(golden_corpus, tmp_path):
    """The arguments that evaluate frame scores beside which no record lies."""
    corpus, [scores], root = golden_corpus("a20")
    return corpus, [write(tmp_path / "lone.txt", scores.read_text())], root


def test_frame_scores_without_a_stated_resolution_are_refused(without_record):
    with input_error("add `resolution_ms`"):
        evaluate_segments(*without_record)


def test_frame_scores_of_a_resolution_that_no_labels_fit_are_refused(without_record):
    with input_error("frames of 25 ms cannot be compared"):
        evaluate_segments(*without_record, resolution_ms=25)


def test_frames_of_one_class_are_refused(golden_corpus):
    corpus, [scores], root = golden_corpus("a20")
    labels = root / "database" / "segment_labels" / "eval_seglab_0.01.npy"
    truth = np.load(labels, allow_pickle=True).item()
    np.save(labels, {id: np.full(len(row), "1") for id, row in truth.items()})
    with input_error("frames of 20 ms, all bona fide"):
        evaluate_segments(corpus, [scores], root, num_resamples=2)


@pytest.fixture
def of_spoofed_utterances(golden_corpus):
    corpus, [scores], root = golden_corpus("a20")
    truth = np.load(root / "database" / "segment_labels" / "eval_seglab_0.01.npy", allow_pickle=True).item()
    protocol = root / "database" / "protocols" / "PartialSpoof.LA.cm.eval.trl.txt"
    for file, column in ((protocol, 1), (scores, 0)):  # utterances that begin with a spoofed frame
        rows = file.read_text().splitlines(True)
        write(file, "".join(row for row in rows if truth[row.split()[column]][0] == "0"))
    return evaluate_segments(corpus, [scores], root, num_resamples=2)


def test_utterances_of_one_class_have_no_eer(of_spoofed_utterances):
    assert of_spoofed_utterances.rows("rates")[-2]["eer"].value is None


def test_a_note_says_why_a_row_has_no_eer(of_spoofed_utterances):
    assert "note: a row without an EER has" in of_spoofed_utterances.text()


def test_the_page_plots_the_frame_scores_of_only_ten_of_14_utterances(golden_corpus):
    result = evaluate_segments(*golden_corpus("b40"), num_resamples=2)
    assert result.header["num_utterances"] == 14
    assert html_page(result).count("Truth and scores of ") == 10


def test_evaluate_writes_the_eer_of_frame_scores(golden_corpus, tmp_path, capsys):
    """To the terminal, into JSON, and onto a page."""
    corpus, [scores], root = golden_corpus("b40")
    page = tmp_path / "r.html"
    data = tmp_path / "r.json"
    common = f"evaluate {corpus} {scores} --keys {root} --resamples 5"
    assert main(f"{common} --html {page} --json {data}".split()) == 0
    percentage = 100 * read_json(data)["tables"][0]["rows"][0]["eer"]["value"]
    assert f" {percentage:.3f} " in capsys.readouterr().out
    assert f"{percentage:.2f}" in page.read_text()


def test_frame_scores_are_not_evaluated_beside_other_scores(golden_corpus, tmp_path, capsys):
    corpus, [scores], _ = golden_corpus("b40")
    write(tmp_path / "plain.txt", "a 1\n")
    assert main(f"evaluate {corpus} {scores} {tmp_path}/plain.txt".split()) == 2
    assert "only one such file is evaluated at once" in capsys.readouterr().err
