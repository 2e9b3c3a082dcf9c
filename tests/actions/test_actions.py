"""Python does what the commands do, writes the same files, and gives what they print as values."""

import json
from inspect import signature

import pytest
import soundfile
from builders.files import read_json
from builders.loud_is_fake import FAKES, near, recording
from builders.loud_is_fake import detector as loud_is_fake
from conftest import load_detector

from nes2net.actions.embedding import embed_recordings
from nes2net.actions.flags import Learning
from nes2net.actions.prediction import predict
from nes2net.actions.scoring import score_corpus
from nes2net.cli.main import main
from nes2net.data.corpora import asvspoof2019_la
from nes2net.data.corpora.part import Part
from nes2net.evaluation.judgements import Frames
from nes2net.models.provenance import Provenance
from nes2net.scoring.corpus import ScoringSettings
from nes2net.scoring.decisions import fit
from nes2net.scoring.decisions.along import Cutoff
from nes2net.scoring.embeddings import Embeddings
from nes2net.scoring.judging import JudgingSettings
from nes2net.scoring.stream import Along

LA = "asvspoof2019_la"


@pytest.mark.parametrize("entrance", [fit, Learning])
def test_a_calibration_is_fitted_with_the_same_penalty_by_default_by_the_fit_and_by_what_calls_it(entrance):
    assert signature(entrance).parameters["l2"].default == 1e-4


def test_embed_recordings_takes_the_num_samples_of_training_by_default(spectral_detector, corpus, tmp_path):
    trials = asvspoof2019_la.CORPUS.trials(corpus, "dev")[:4]
    spectral_detector.provenance = Provenance.read({"recipe": {"data": {"num_samples": 9000}}})
    out = tmp_path / "e.npy"
    settings = ScoringSettings(num_workers=0)
    embed_recordings(spectral_detector, trials, out, Embeddings("backend"), settings=settings)
    assert read_json(tmp_path / "e.npy.json")["run"]["num_samples"] == 9000


@pytest.fixture
def files(tmp_path):
    """A recording with fake stretches and a text; the detector that finds them is ``model.pth``."""
    soundfile.write(tmp_path / "a.wav", recording(3.0, FAKES), 16000)
    (tmp_path / "b.wav").write_text("no audio")
    return [tmp_path / "a.wav", tmp_path / "b.wav"]


@pytest.fixture
def detector(tmp_path):
    loud_is_fake().save(tmp_path / "model.pth", **loud_is_fake().provenance.to_dict())
    return load_detector(tmp_path / "model.pth")


LONE = Frames(20, hysteresis=0.0, min_duration=0.5)
RULED = "{name: frames, resolution_ms: 20, hysteresis: 0, min_duration: 0.5}"


@pytest.mark.parametrize(
    "options, flags",
    [
        ({}, []),
        ({"settings": JudgingSettings(16000)}, ["--samples", "16000"]),
        ({"settings": JudgingSettings(along=Along(hop=0.25), track=True)}, ["--track", "--hop", "0.25"]),
        ({"decider": Cutoff(0.4)}, ["--threshold", "0.4"]),
        ({"judgement": LONE, "decider": Cutoff(0.45)}, ["--judgement", RULED, "--threshold", "0.45"]),
    ],
)
@pytest.mark.usefixtures("files")
def test_predict_returns_the_rows_that_the_command_prints(detector, tmp_path, capsys, options, flags):
    rows = [answer.to_row() for answer in predict(detector, [tmp_path], **options).rows]
    main(["predict", str(tmp_path), "--model", f"{tmp_path}/model.pth", "--device", "cpu", "--json", *flags])
    assert rows == [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_predict_returns_only_fake_stretches_of_at_least_min_duration(files, detector):
    """The second of two stretches is shorter than 0.5 s."""
    for judgement, expected in ((Frames(20, 0.45, 0.0, 0.5), FAKES[:1]), (Frames(), FAKES)):
        (judged,) = predict(detector, files[:1], judgement).rows
        assert near([stretch[1:3] for stretch in judged.frames.stretches], expected)


def test_score_corpus_writes_the_scores_and_the_record_that_the_command_score_writes(
    corpus, spectral_detector, tmp_path
):
    """In the record, times may differ."""
    recipe = {"name": "own", "data": {"corpora": [{"name": LA, "train_split": "train", "dev_split": "dev"}]}}
    model = tmp_path / "model.pth"
    spectral_detector.save(model, recipe=recipe, published_model="AASIST")
    detector = load_detector(model)
    dev = Part(LA, corpus, "dev")
    where = {"checkpoint": model, "num_samples": 8000, "settings": ScoringSettings(num_workers=0)}
    score_corpus(detector, dev, tmp_path / "a.txt", **where)
    words = f"score {LA} {corpus} --split dev --model {model} --device cpu --samples 8000 --workers 0"
    assert main([*words.split(), "--out", str(tmp_path / "b.txt")]) == 0
    assert (tmp_path / "a.txt").read_bytes() == (tmp_path / "b.txt").read_bytes()
    record = read_json(tmp_path / "a.txt.json")
    other_record = read_json(tmp_path / "b.txt.json")
    differing = {key for key in record | other_record if record.get(key) != other_record.get(key)}
    assert differing <= {"scored_at", "seconds", "audio_seconds_per_second"}
