"""Log-mel features equal those of the transformers library's feature extractors."""

import csv
from pathlib import Path

import numpy as np
import pytest
import torch
from builders import assert_near
from builders.tiny_corpus import generated_clips

from nes2net.data.audio.read import load_audio
from nes2net.models.frontends.log_mel import ast_log_mel, kaldi_log_mel, whisper_log_mel

TIME = np.arange(24_000) / 16_000
CLIPS = {
    "noise": 0.1 * np.random.default_rng(0).standard_normal(20_123),
    "chirp": 0.9 * np.sin(2 * np.pi * 2500 * TIME**2),
    "tone": 0.5 * np.sin(2 * np.pi * 440 * TIME),
    "noise, then silence": np.r_[0.3 * np.random.default_rng(1).standard_normal(8000), np.zeros(8123)],
    "silence": np.zeros(8000),
    "shortest": 0.1 * np.random.default_rng(2).standard_normal(560),
}


def clips() -> dict[str, np.ndarray]:
    speech = {f"generated {label}": generated_clips(label, 1)[0] for label in ("bonafide", "spoof")}
    return {name: clip.astype(np.float32) for name, clip in {**CLIPS, **speech}.items()}


@pytest.fixture(scope="module")
def seamless():
    from transformers import SeamlessM4TFeatureExtractor

    return SeamlessM4TFeatureExtractor()


TOLERANCES = {**dict.fromkeys(clips(), 1e-5), "tone": 2e-4}


@pytest.mark.parametrize("name, tolerance", TOLERANCES.items(), ids=TOLERANCES)
def test_log_mel_features_of_kaldi_equal_those_of_transformers(seamless, name, tolerance):
    """With their normalisation repeated in float64, as the mean of a bin that hardly varies is inexact in float32.

    Logarithms are in float32, so differences are relative to their standard deviation if this is below 1.
    """
    clip = clips()[name]
    log_mel = seamless._extract_fbank_features(clip).astype(np.float64)
    variance = log_mel.var(0, ddof=1)
    expected = (log_mel - log_mel.mean(0)) / np.sqrt(variance + 1e-7)
    features = kaldi_log_mel(torch.from_numpy(clip)[None])[0].numpy()
    assert features.shape == expected.shape == (1 + (len(clip) - 400) // 160, 80)
    difference = np.abs(features - expected) * np.minimum(np.sqrt(variance), 1)
    assert difference.max() < tolerance


@pytest.mark.filterwarnings("ignore:At least one mel filter has all zero values")
@pytest.mark.parametrize("name", clips())
def test_log_mel_features_of_ast_equal_those_of_transformers(name):
    from transformers import ASTFeatureExtractor

    clip = clips()[name]
    num_frames = 1 + (len(clip) - 400) // 160
    extractor = ASTFeatureExtractor(max_length=num_frames, do_normalize=False)
    (expected,) = extractor(clip, sampling_rate=16_000)["input_values"]
    (features,) = ast_log_mel(torch.from_numpy(clip)[None], 128)
    assert_near(features, torch.from_numpy(expected), 1e-5)


def recordings(folder: Path, label: str, count: int) -> list[np.ndarray]:
    """``count`` FLAC files of ``folder/metadata.csv`` with this label, cut to 4 s."""
    with open(folder / "metadata.csv") as file:
        rows = [row for row in csv.DictReader(file) if row["label"] == label and row["file"].endswith(".flac")]
    evenly_spaced = rows[:: len(rows) // count][:count]
    return [load_audio(folder / row["file"])[:64_000] for row in evenly_spaced]


def test_log_mel_features_of_kaldi_for_recordings_equal_those_of_transformers(shared, seamless):
    """With the normalisation of transformers, and pairs of frames."""
    folder = shared / "real" / "audio"
    for clip in [*recordings(folder, "bonafide", 3), *recordings(folder, "spoof", 3)]:
        expected = seamless(clip, sampling_rate=16_000, return_tensors="pt")["input_features"][0]
        features = kaldi_log_mel(torch.as_tensor(clip)[None])[0].float()
        pairs = features[: len(features) // 2 * 2].reshape(-1, 160)
        assert_near(pairs, expected[: len(pairs)], 1e-5)


@pytest.mark.parametrize("num_bins", [80, 128])
def test_log_mel_features_of_whisper_equal_those_of_transformers(num_bins):
    from transformers import WhisperFeatureExtractor

    extractor = WhisperFeatureExtractor(feature_size=num_bins)
    for clip in clips().values():
        expected = torch.as_tensor(extractor(clip, sampling_rate=16_000)["input_features"])
        padded = torch.cat([torch.from_numpy(clip), torch.zeros(480_000 - len(clip))])[None]
        assert_near(whisper_log_mel(padded, num_bins), expected, 1e-5)
