"""Evaluation of frame scores: the published figures of golden cases, what does not fit, and the page."""

import json
import re
from dataclasses import replace

import numpy as np
import pytest
from builders import zoo
from builders.files import write

from nes2net import InputError
from nes2net.cli.main import main
from nes2net.data.corpora import partialspoof
from nes2net.evaluation.page import html_page
from nes2net.evaluation.segments import RTTM, evaluate_segments
from nes2net.metrics.localisation.segments import Segment
from nes2net.scoring.segment_file import lines

NAMES = ("a20", "b40", "c80", "d160", "e320", "f640", "g20_ties", "h20_poor")


@pytest.fixture
def made(tmp_path, register_corpus):
    """A function that writes a golden case as a corpus and a file of scores, and gives the arguments."""

    def make(name, with_segments=True):
        case = zoo.read("localisation_point_eer")[name]
        root = tmp_path / "database"
        labels = {one["name"]: one["labels_10ms"].numpy() for one in case["utterances"]}
        rows = [f"LA_0 {id} - - {'bonafide' if row.min() else 'spoof'}\n" for id, row in labels.items()]
        write(root / "protocols" / "PartialSpoof.LA.cm.eval.trl.txt", "".join(rows))
        (root / "segment_labels").mkdir()
        np.save(root / "segment_labels" / "eval_seglab_0.01.npy", {id: row.astype("U1") for id, row in labels.items()})
        scores = (lines(one["name"], one["scores"].numpy()) for one in case["utterances"])
        resolution = case["config"]["resolution_ms"]
        write(tmp_path / "f.txt.json", json.dumps({"run": {}, "failures": {}, "resolution_ms": resolution}))
        segments = {one["name"]: [Segment(*part) for part in one["segments"]] for one in case["utterances"]}
        function = (lambda root, split: segments) if with_segments else None
        register_corpus("golden", replace(partialspoof.CORPUS, segments=function))
        score_file = write(tmp_path / "f.txt", "".join(scores))
        return "golden", [score_file], tmp_path

    return make


@pytest.mark.parametrize("name", NAMES)
def test_rates_of_frames_and_seconds_equal_the_golden_numbers(made, name):
    case = zoo.read("localisation_point_eer")[name]
    seconds = zoo.read("localisation_range_eer")[name]["exact"]
    result = evaluate_segments(*made(name), num_resamples=2)
    assert result.header["truth"] == RTTM
    assert result.header["num_utterances"] == len(case["utterances"])
    *points, utterance, range_based = result.rows("rates")
    assert [int(row.labels["of"].split()[0]) for row in points] == case["measured_at_ms"]
    np.testing.assert_allclose([row["eer"].value for row in points], case["eer"], rtol=0, atol=1e-12)
    np.testing.assert_allclose([row["threshold"].value for row in points], case["threshold"], rtol=0, atol=1e-12)
    assert utterance["eer"].value == pytest.approx(case["utterance_eer_from_minimum"], abs=1e-12)
    own = next(row for row in points if row.labels["scores"] == "own")
    assert (own["num_bonafide"].value, own["num_spoof"].value) == (case["num_bonafide"], case["num_spoof"])
    assert range_based["eer"].value == pytest.approx(seconds["eer"], abs=1e-9)
    assert result.header["seconds"][1] == pytest.approx(seconds["spoof_seconds"], abs=1e-9)
    for row in (*points, range_based):
        low, high = row["eer"].interval
        assert 0 <= low <= high <= 1
    wrong = [row["wrong"].value for row in result.rows("examples")]
    assert wrong[:6] == sorted(wrong[:6], reverse=True)
    assert max(wrong[6:]) <= min(wrong[:6])


def test_without_rttm_seconds_are_those_of_labels(made):
    result = evaluate_segments(*made("a20", with_segments=False), num_resamples=2, threshold=0.0)
    eer = zoo.read("localisation_point_eer")["a20"]["eer"][1]
    own = next(row for row in result.rows("rates") if row.labels["scores"] == "own")
    assert result.header["truth"] == "labels of 10 ms"
    assert own["eer"].value == pytest.approx(eer, abs=1e-12)
    with_segments = zoo.read("localisation_range_eer")["a20"]["exact"]["eer"]
    assert result.rows("rates")[-1]["eer"].value == pytest.approx(with_segments, abs=0.01)
    of_eer, asked = result.rows("detection")
    assert (of_eer.labels["at"], asked.labels["at"]) == ("the threshold of the EER", "the threshold asked for")
    assert 0 < asked["iou"].value
    assert asked["iou"].value < asked["f1"].value < 1


def test_what_does_not_fit(made, tmp_path):
    corpus, [scores], root = made("a20")
    text = scores.read_text()
    ids = list(dict.fromkeys(line.split()[0] for line in text.splitlines()))
    rows = [[line for line in text.splitlines(True) if line.split()[0] == id] for id in ids]
    for changed, message, left in (
        (rows[1:], f"1 of {len(ids)} trials without a score: {ids[0]}", len(ids) - 1),
        ([*rows, ["else 0 1.0\n"]], "1 scored but not in the key: else", len(ids)),
        ([[f"{ids[0]} 0 nan\n"], *rows[1:]], f"1 with a score that is not finite: {ids[0]}", len(ids) - 1),
        ([rows[0][:20], *rows[1:]], "1 with another number of frames than 20 ms give", len(ids) - 1),
    ):
        write(scores, "".join(map("".join, changed)))
        with pytest.raises(InputError, match=message):
            evaluate_segments(corpus, [scores], root, num_resamples=2)
        result = evaluate_segments(corpus, [scores], root, num_resamples=2, allow_partial=True)
        assert result.header["num_utterances"] == left
        assert "PARTIAL" in result.text()
    write(scores, text)
    lone = write(tmp_path / "lone.txt", text)
    for options, message in (
        ({"resolution_ms": 40}, "its record states frames of 20 ms, not of 40 ms"),
        ({"num_resamples": 0}, "at least 1"),
        ({"threshold": float("nan")}, "`threshold` is a number, not nan"),
        ({"score_paths": [lone]}, "give `resolution` in ms"),
        ({"score_paths": [lone], "resolution_ms": 25}, "frames of 25 ms cannot be compared"),
        ({"corpus": "in_the_wild", "resolution_ms": 20}, "has no labels of segments"),
    ):
        with pytest.raises(InputError, match=message):
            evaluate_segments(
                **{"corpus": corpus, "score_paths": [scores], "keys_path": root, "num_resamples": 2, **options}
            )


def test_one_class_of_frames_or_of_utterances(made):
    corpus, [scores], root = made("a20")
    labels = root / "database" / "segment_labels" / "eval_seglab_0.01.npy"
    truth = np.load(labels, allow_pickle=True).item()
    np.save(labels, {id: np.full(len(row), "1") for id, row in truth.items()})
    with pytest.raises(InputError, match="frames of 20 ms, all bona fide"):
        evaluate_segments(corpus, [scores], root, num_resamples=2)
    np.save(labels, truth)
    protocol = root / "database" / "protocols" / "PartialSpoof.LA.cm.eval.trl.txt"
    for file, column in ((protocol, 1), (scores, 0)):  # utterances that begin with a spoofed frame
        rows = file.read_text().splitlines(True)
        write(file, "".join(row for row in rows if truth[row.split()[column]][0] == "0"))
    result = evaluate_segments(corpus, [scores], root, num_resamples=2)
    assert result.rows("rates")[-2]["eer"].value is None
    assert "note: a row without an EER has" in result.text()
    assert "range-based EER" in html_page(result)


def test_the_command_prints_and_writes_rates_of_frames(made, tmp_path, capsys):
    corpus, [scores], root = made("b40")
    page = tmp_path / "r.html"
    data = tmp_path / "r.json"
    common = f"evaluate {corpus} {scores} --keys {root} --resamples 5"
    assert main(f"{common} --threshold 0.1 --html {page} --json {data}".split()) == 0
    out = capsys.readouterr().out
    assert re.search(r"^40 ms +own +\d+\.\d{3} ", out, re.MULTILINE)
    assert "minimum of 16" in out
    assert "repeated" in out
    assert re.search(r"^the threshold asked for +0\.1 +0\.", out, re.MULTILINE)
    assert "boundary error" in out
    rates = json.loads(data.read_text())["tables"][0]["rows"]
    assert rates[-1]["on"]["of"] == "seconds"
    assert 0 < rates[-1]["eer"]["value"] < 1
    text = page.read_text()
    assert text.count("<polyline") == 10
    assert text.count('class="spoof"') >= 6
    assert "range-based EER" in text
    write(tmp_path / "plain.txt", "a 1\n")
    for wrong, message in (
        (f"evaluate {corpus} {scores} {tmp_path}/plain.txt", "give only this file"),
        (f"evaluate {corpus} {tmp_path}/plain.txt --threshold 0", "--threshold has no effect on scores, which"),
    ):
        assert main(wrong.split()) == 2
        error = capsys.readouterr().err
        assert message in error
        assert error.count("\n") == 1
