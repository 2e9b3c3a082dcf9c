"""`nes2net augment`: the augmented waveform of training."""

from pathlib import Path

import numpy as np
import pytest
import soundfile
from builders import noise_folders

from nes2net.data.audio.columns import spectrogram
from nes2net.data.audio.files import recordings_below
from nes2net.data.augment import NoiseAugmentation, Sources
from nes2net.data.augment.conditions import create_condition
from nes2net.data.augment.rawboost import RawBoost
from nes2net.data.augment.timing import DrawnSpeed
from nes2net.data.corpora import asvspoof2019_la
from nes2net.training.dataset import Examples, TrainingSet


@pytest.fixture
def trials(corpus):
    return asvspoof2019_la.CORPUS.trials(corpus, "train")


def written(folder):
    (path,) = folder.glob("*.wav")
    waveform, sample_rate = soundfile.read(path, dtype="float32")
    assert sample_rate == 16000
    assert soundfile.info(path).subtype == "FLOAT"
    return waveform


def test_augment_writes_the_waveform_that_training_has_with_the_same_effects(trials, tmp_path, output):
    """At 16 kHz, in 32-bit floating-point numbers."""
    musan = str(noise_folders.make_musan(tmp_path))
    rir = str(noise_folders.make_rirs(tmp_path))
    noise = NoiseAugmentation(musan, rir)
    everywhere = NoiseAugmentation(musan, probability=1)
    sources = Sources(musan, speech=recordings_below(Path(musan, "speech")))
    conditions = [create_condition(text, sources) for text in ("mp3:16", "noise:5", "babble:10")]
    as_named = "--condition mp3:16 --condition noise:5 --condition babble:10"
    changed = RawBoost(5, parameters={"N_f": 2, "SNRmin": 3.5})
    cases = [  # words, effects, options, epoch
        ("--algo 4 --seed 1", [RawBoost(4)], {"seed": 1}, 1),
        ("--seed 7 --epoch 3 augment.algo=8", [RawBoost(8)], {"seed": 7}, 3),
        ("augment.algo=5 augment.parameters.N_f=2 augment.parameters.SNRmin=3.5", [changed], {}, 1),
        *((f"--musan {musan} --rir {rir} --epoch {epoch}", [noise], {}, epoch) for epoch in range(1, 5)),
        ("augment.speed=[0.9,1.1] --seed 2", [DrawnSpeed(0.9, 1.1)], {"seed": 2}, 1),
        (f"augment.algo=3 --musan {musan} augment.noise_probability=1", [everywhere, RawBoost(3)], {}, 1),
        (f"{as_named} --musan {musan} --speech {musan}/speech augment.algo=2", [RawBoost(2), *conditions], {}, 1),
    ]
    for number, (words, effects, options, epoch) in enumerate(cases):
        index = number % len(trials)
        out = tmp_path / str(number)
        output(["augment", trials[index].path, *words.split(), "--out", out])
        training = TrainingSet(Examples(trials), effects=effects, **{"num_samples": None, "seed": 1234} | options)
        np.testing.assert_array_equal(written(out), training[epoch, index].waveform.numpy())


def test_a_sine_of_half_scale_is_at_minus_6_db_in_the_spectrogram():
    half = 0.5 * np.sin(2 * np.pi * 1000 * np.arange(16000) / 16000)
    # 1000 Hz at 31.25 Hz a row
    assert spectrogram([half], 1.0, 100)[32, 50] == pytest.approx(20 * np.log10(0.5), abs=0.01)


def test_augment_replaces_an_existing_file_only_with_overwrite(trials, tmp_path, output, refused):
    words = f"augment {trials[0].path} augment.algo=2 --out {tmp_path}"
    output(words)
    (file,) = tmp_path.iterdir()
    file.write_bytes(b"mine")
    refused(words, "exists: add --overwrite", file.name)
    assert file.read_bytes() == b"mine"
    output(f"{words} --overwrite")
    assert len(written(tmp_path)) > 0


def test_missing_and_unused_settings_of_augment_are_refused_and_nothing_is_written(workdir, refused):
    soundfile.write("a.wav", np.zeros(100), 16000)
    for arguments, message in (
        ("a.wav", "nothing to do: choose --algo 1 to 11, `augment.speed`"),
        ("a.wav train.lr=1", "keys of the section `augment` apply, not of 'train'"),
        ("a.wav --condition noise:3", "name its folder with --musan"),
        ("a.wav --condition alaw --musan none", "--musan changes nothing, because no --condition needs it"),
    ):
        refused(f"augment --out o {arguments}", message)
        assert not (workdir / "o").exists()
