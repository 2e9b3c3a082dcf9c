"""Labels of frames go through crops with the waveform, speed and pooling."""

import numpy as np
import pytest
import soundfile
import torch

from nes2net.data.augment.timing import DrawnSpeed
from nes2net.data.corpora.trial import Trial
from nes2net.metrics.localisation import pool_labels
from nes2net.training.dataset import FRAMES, Examples, TrainingSet, collate
from nes2net.training.frame_labels import FrameLabels, draw_start, pool_targets

LABELS = np.repeat([1, 0, 1, 0, 1], [40, 13, 7, 30, 11]).astype(np.uint8)  # 1.01 s
SAMPLES = np.repeat(LABELS, 160) - 0.5


@pytest.fixture
def examples(tmp_path):
    """A function that gives a recording of samples, positive where bona fide and negative where spoof, with labels."""

    def make(labels=LABELS, samples=SAMPLES, excerpts=None, share=None):
        soundfile.write(tmp_path / "a.wav", samples, 16000, subtype="FLOAT")
        labels = FrameLabels({} if labels is None else {"a": labels}, share)
        return Examples([Trial("a", tmp_path / "a.wav", "spoof")], excerpts, labels=labels)

    return make


def label_of(frame):
    """The label of a frame of :func:`examples`; −1 if it holds zeros."""
    if (frame == 0).any():
        return -1
    return 0 if (frame < 0).any() else 1


def assert_labels_are_those_of_samples(data):
    """A frame is spoof if a sample of it is negative, and has no label if it holds zeros."""
    for epoch in (1, 2, 3):
        waveform, labels, _ = data.prepare(0, epoch)
        frames = np.array_split(waveform, np.arange(160, len(waveform), 160))
        assert labels.tolist() == list(map(label_of, frames))


each_length = pytest.mark.parametrize("num_samples", [8000, 16160, 16100, 40000, None])


@pytest.mark.parametrize("crop", ["head", "random", "random_tiled"])
@each_length
def test_labels_of_frames_are_cropped_repeated_and_padded_as_the_waveform(crop, num_samples, examples):
    labelled = examples(LABELS, SAMPLES[:16100], share=0.5)
    assert_labels_are_those_of_samples(TrainingSet(labelled, num_samples, crop=crop))


@each_length
def test_labels_of_a_piece_are_cropped_repeated_and_padded_as_its_waveform(num_samples, examples):
    piece = examples(LABELS[20:95], SAMPLES[:16100], [(3200, 12000)])
    assert_labels_are_those_of_samples(TrainingSet(piece, num_samples))


@pytest.mark.parametrize("speed", [0.7, 0.93, 1.2])
def test_labels_of_frames_are_stretched_with_the_speed_of_the_waveform(speed, examples):
    """A frame's samples have the sign of its label, except beside a boundary, where the resampler rings."""
    waveform, labels, _ = TrainingSet(examples(), None, [DrawnSpeed(speed, speed)]).prepare(0, 1)
    middles = waveform[80::160][: len(labels)]
    assert len(labels) == -(-len(waveform) // 160)
    wrong = (middles > 0) != (labels[: len(middles)] == 1)
    assert wrong.sum() <= 4  # one frame at most beside each of the four boundaries


def test_a_batch_has_the_labels_of_its_frames(examples):
    """Each is −1 if the recording has no labels."""
    labelled, unlabelled = (TrainingSet(examples(labels), 8000)[1, 0] for labels in (LABELS, None))
    frames = collate([labelled, unlabelled]).part.extra_tensors[FRAMES]
    assert frames.tolist() == [LABELS[:50].tolist(), [-1] * 50]


def test_labels_of_frames_that_end_elsewhere_than_the_recording_are_an_error(examples):
    for labels, end in ((LABELS[:20], "0.20"), (np.tile(LABELS, 2), "2.02")):
        example = TrainingSet(examples(labels), None)[1, 0]
        assert example.waveform is None
        assert f"the labels of a end at {end} s, but its recording at 1.01 s" in example.error


def test_the_share_of_random_crops_with_a_boundary_between_labels_is_boundary_share():
    labels = np.repeat([1, 0], [90, 210])
    rng = np.random.default_rng(0)

    def share_of(boundary_share):
        starts = [draw_start(labels, 48000, 8050, rng, boundary_share) for _ in range(400)]
        assert len(set(starts)) > 20
        return np.mean([len(set(labels[s // 160 : s // 160 + 51])) > 1 for s in starts])

    assert share_of(1.0) == 1.0
    assert share_of(0.0) == 0.0
    assert share_of(0.5) == pytest.approx(0.5, abs=0.1)


@pytest.mark.parametrize("factor", [1, 4, 64])
def test_labels_of_a_padded_batch_are_pooled_as_those_of_each_recording_without_padding(factor):
    rng = np.random.default_rng(factor)
    rows = [(rng.random(n) < 0.9).astype(np.int8) for n in (1, 3, 63, 64, 100, 128)]
    batch = torch.from_numpy(np.stack([np.pad(row, (0, 130 - len(row)), constant_values=-1) for row in rows]))
    for pooled, row in zip(pool_targets(batch, factor).tolist(), rows):
        expected = pool_labels(row, factor).tolist()
        assert pooled == expected + [-1] * (len(pooled) - len(expected))
