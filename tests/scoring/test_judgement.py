"""A judgement of another package: two numbers and a remark, computed, filed, evaluated, calibrated and told."""

import json
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from builders import input_error
from builders.files import write
from builders.scored import score_trials
from numpy.testing import assert_allclose, assert_array_equal

from nes2net.actions.calibration import calibrate
from nes2net.actions.evaluation import evaluate
from nes2net.actions.flags import Learning
from nes2net.actions.prediction import predict
from nes2net.data.corpora.asvspoof2019_la import CORPUS
from nes2net.data.corpora.trial import Trial
from nes2net.evaluation.judgements import Rows
from nes2net.evaluation.key import Labels
from nes2net.scoring.decisions.along import DecisionAlong
from nes2net.scoring.decisions.decision import Decider
from nes2net.scoring.judgement import ScoreFile, as_judgement, judgements, scores_of
from nes2net.scoring.judging import JudgingSettings
from nes2net.scoring.waveforms import WaveformReader

LA = "asvspoof2019_la"


@dataclass(frozen=True)
class Halves(Rows):
    """The score of each half of a recording."""

    most_apart: float = 1.0

    name = "halves"
    what = "scores of halves"
    columns = ("first", "second")

    def compute(self, scorer, waveforms):
        return torch.stack([scorer.scores(half) for half in waveforms.chunk(2, dim=1)], dim=1)

    def score_of(self, rows):
        return rows.min(axis=1)

    def tell(self, value):
        remark = "the halves differ" if abs(value[0] - value[1]) > self.most_apart else ""
        return {**super().tell(value), "remark": remark}


@pytest.fixture
def trials(corpus, monkeypatch):
    monkeypatch.setitem(judgements._table, "halves", f"{__name__}:Halves")
    return CORPUS.trials(corpus, "dev")


def judge(detector, trials, out, **options):
    return score_trials(detector, trials, out, Halves(0.5), **options)


def test_numbers_written_by_a_judgement_are_read_back_as_the_same_float32(tmp_path):
    bits = np.random.default_rng(0).integers(0, 1 << 32, 20_000, dtype=np.uint32)
    numbers = bits.view(np.float32)
    rows = numbers[np.isfinite(numbers)][:19_000].reshape(-1, 2)
    trials = [Trial(f"e{number}") for number in range(len(rows))]
    Halves().write([tmp_path / "h.tsv"], len(rows), zip(trials, rows))
    _, read = zip(*Halves().read(tmp_path / "h.tsv"))
    assert_array_equal(np.stack(read).view(np.uint32), rows.view(np.uint32))


@pytest.fixture
def out(spectral_detector, trials, tmp_path):
    """A file of the rows of the trials."""
    out = tmp_path / "h.tsv"
    assert judge(spectral_detector, trials, out, batch_size=4).done == len(trials)
    return out


def test_a_file_holds_for_a_recording_the_row_that_the_judgement_computes(spectral_detector, trials, out):
    rows = dict(Halves().read(out))
    with torch.inference_mode():
        waveform = torch.from_numpy(WaveformReader.of(spectral_detector, 8000).read(trials[0].path).waveform)
        expected = [spectral_detector.scores(half[None]).item() for half in waveform.chunk(2)]
    assert_allclose(rows[trials[0].id], expected, atol=1e-6)


def test_a_file_of_rows_begins_with_the_names_of_its_columns(out):
    assert out.read_text().startswith("utterance\tfirst\tsecond\n")


def test_a_file_of_rows_names_the_judgement_with_its_options(out):
    assert ScoreFile.of(out).judgement == Halves(0.5)


def test_scores_read_from_a_file_of_rows_are_computed_by_the_judgement(trials, out):
    ids, scores = scores_of(out)
    assert ids == [trial.id for trial in trials]
    assert_array_equal(scores, [row.min() for _, row in Halves().read(out)])


@pytest.fixture
def plain(out, tmp_path):
    """A score file of the scores of the rows."""
    ids, scores = scores_of(out)
    return write(tmp_path / "plain.txt", "".join(f"{id} {score!r}\n" for id, score in zip(ids, scores.tolist())))


def test_evaluation_of_a_file_of_rows_gives_the_eer_of_their_scores(corpus, out, plain):
    of_rows, of_scores = (evaluate(LA, path, corpus, "dev", num_resamples=20) for path in (out, plain))
    assert of_rows["eer"] == of_scores["eer"]


def test_a_calibration_learned_from_rows_equals_the_one_learned_from_their_scores(corpus, out, plain):
    labels = Labels(LA, corpus, "dev")
    of_rows, of_scores = (calibrate(labels, [path], Learning(allow_inverted=True)).calibration for path in (out, plain))
    assert of_rows.weights == of_scores.weights
    assert of_rows.offset == of_scores.offset


def test_the_words_of_predict_are_the_numbers_of_a_judgement_with_its_remark(spectral_detector, trials):
    settings = JudgingSettings(8000)
    (good,) = predict(spectral_detector, [trials[0].path], Halves(-1.0), settings=settings).rows
    told = good.to_row()
    assert good.words.startswith(f"first {told['first']:.4f}, second {told['second']:.4f}; the halves differ")


@pytest.fixture
def decider(corpus, out):
    """Decides on halves."""
    learned = calibrate(Labels(LA, corpus, "dev"), [out], Learning(allow_inverted=True))
    return Decider(learned.calibration, abstain=0)


def test_a_calibration_of_a_judgement_decides_along_a_recording_by_the_scores_of_this_judgement(
    spectral_detector, trials, decider
):
    """A score is that of the lower half; the first window has the score of the recording."""
    settings = JudgingSettings(track=True)
    (judged,) = predict(spectral_detector, [trials[0].path], Halves(), decider=decider, settings=settings).rows
    row = judged.to_row()
    assert row["score"] == min(row["first"], row["second"])
    assert isinstance(judged.decision, DecisionAlong)
    assert row["scores"][0] == pytest.approx(row["score"], abs=1e-6)
    llrs = decider.llrs(judged.track.scores)
    assert row["llrs"] == llrs.tolist()


def test_a_calibration_is_refused_for_a_judgement_without_scores(spectral_detector, trials, decider):
    with input_error("decide on scores, not on embeddings"):
        predict(spectral_detector, [trials[0].path], "embeddings", decider=decider)


def test_a_calibration_of_another_judgement_is_refused(spectral_detector, trials, decider):
    with input_error("the calibration was learned from the judgement halves, not from scores"):
        predict(spectral_detector, [trials[0].path], decider=decider)


@pytest.mark.usefixtures("trials")
def test_an_unknown_judgement_is_refused_with_the_name_that_is_nearest():
    with input_error("unknown judgement 'halfs'; did you mean 'halves'"):
        as_judgement("halfs")


@pytest.mark.usefixtures("trials")
def test_an_unknown_option_of_a_judgement_is_refused():
    with input_error("judgement 'halves' has no option 'apart'"):
        as_judgement({"name": "halves", "apart": 1})


def test_a_file_of_embeddings_is_refused_where_scores_of_recordings_are_read(spectral_detector, trials, tmp_path):
    embeddings = tmp_path / "e.npy"
    score_trials(spectral_detector, trials[:2], embeddings, as_judgement("embeddings"))
    with input_error("holds embeddings, not one score of each recording"):
        scores_of(embeddings)


@pytest.mark.usefixtures("trials")
def test_a_row_that_lacks_a_number_is_refused_with_its_line(tmp_path):
    damaged = write(tmp_path / "d.tsv", "utterance\tfirst\tsecond\na\t1\n")
    write(tmp_path / "d.tsv.json", json.dumps({"run": {}, "failures": {}, "judgement": {"name": "halves"}}))
    with input_error("line 2: expected an utterance and 2 numbers"):
        scores_of(damaged)
