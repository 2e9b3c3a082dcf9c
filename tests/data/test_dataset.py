"""The training set: the order of its steps, one random stream per utterance, and what training makes of the recipe's keys."""

import zlib

import noise_folders
import numpy as np
import pytest
import soundfile
import torch

from nes2net import InputError
from nes2net.augment import NoiseAugmentation, rawboost
from nes2net.config import recipe_from_dict
from nes2net.data import asvspoof2019_la
from nes2net.data.audio import load_audio
from nes2net.data.crop import head_crop, random_crop
from nes2net.data.dataset import TrainingSet, training_loader
from nes2net.data.trial import Trial


@pytest.fixture(scope="module")
def trials(corpus):
    return asvspoof2019_la.trials(corpus, "train")


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    root = tmp_path_factory.mktemp("noise")
    return {"musan": str(noise_folders.make_musan(root)), "rir": str(noise_folders.make_rirs(root))}


def stream(seed, epoch, name):
    return np.random.default_rng([seed, epoch, zlib.crc32(name.encode())])


def test_noise_then_rawboost_then_crop_from_one_stream(trials, folders):
    noise = NoiseAugmentation(**folders, probability=1)
    dataset = TrainingSet(trials, 8000, 4, seed=5, noise=noise, crop="random")
    for epoch, index in ((0, 0), (0, 7), (3, 7)):
        trial = trials[index]
        rng = stream(5, epoch, f"train/{trial.id}")
        expected = noise(load_audio(trial.path), rng)
        expected = rawboost(expected, 4, rng)
        expected = random_crop(expected, 8000, rng).astype(np.float32)
        example = dataset[epoch, index]
        assert (example.index, example.target, example.error) == (index, trial.target, None)
        assert example.waveform.dtype == torch.float32
        np.testing.assert_array_equal(example.waveform.numpy(), expected)


def test_every_step_can_be_left_out(trials):
    waveform = load_audio(trials[0].path)
    np.testing.assert_array_equal(TrainingSet(trials, None)[0, 0].waveform.numpy(), waveform)
    np.testing.assert_array_equal(TrainingSet(trials, 8000)[0, 0].waveform.numpy(), head_crop(waveform, 8000))
    off = TrainingSet(trials, 8000, noise=NoiseAugmentation())
    np.testing.assert_array_equal(off[0, 0].waveform.numpy(), head_crop(waveform, 8000))
    boosted = rawboost(waveform, 5, stream(0, 2, f"dev/{trials[0].id}")).astype(np.float32)
    np.testing.assert_array_equal(TrainingSet(trials, None, 5, part="dev")[2, 0].waveform.numpy(), boosted)
    with pytest.raises(InputError, match="crop is one of head, random, not 'tail'"):
        TrainingSet(trials, 8000, crop="tail")


def heard(dataset, workers, batch_size=4, epoch=1):
    loader = training_loader(dataset, batch_size, True, workers, False)
    loader.sampler.epoch = epoch
    return [batch.waveforms for batch in loader]


def test_the_same_whatever_the_workers_and_the_order(trials, folders):
    dataset = TrainingSet(trials, 8000, 5, seed=3, noise=NoiseAugmentation(**folders, probability=0.8), crop="random")
    alone, helped = heard(dataset, 0), heard(dataset, 2)
    assert len(alone) == len(trials) // 4 and all(torch.equal(a, b) for a, b in zip(alone, helped))
    backwards = [dataset[1, index].waveform for index in reversed(range(len(trials)))][::-1]
    rows = {tuple(row[:50].tolist()) for batch in alone for row in batch}
    assert rows <= {tuple(waveform[:50].tolist()) for waveform in backwards}
    assert not any(torch.equal(a, b) for a, b in zip(alone, heard(dataset, 0, epoch=2)))
    subset = TrainingSet(trials[5:], 8000, 5, seed=3, noise=dataset.noise, crop="random")
    assert torch.equal(subset[1, 2].waveform, backwards[7])  # what other trials there are does not matter


def test_a_bad_noise_file_leaves_the_trial_out_and_is_named(trials, tmp_path):
    soundfile.write(tmp_path / "silent.wav", np.zeros(100), 16000)
    dataset = TrainingSet(trials, 8000, noise=NoiseAugmentation(rir=tmp_path, probability=1))
    example = dataset[0, 0]
    assert example.waveform is None and "silent.wav is silent" in example.error


def test_nan_names_the_file(tmp_path):
    soundfile.write(tmp_path / "LA_T_9.wav", np.array([0.1, np.nan]), 16000, subtype="FLOAT")
    example = TrainingSet([Trial("LA_T_9", tmp_path / "LA_T_9.wav", "spoof")], 8000, 4)[0, 0]
    assert example.waveform is None and "LA_T_9.wav holds NaN" in example.error


# ---- training


@pytest.fixture
def recipe(corpus, small_model, tmp_path):
    def make(augment=(), data=()):
        values = {
            "model": small_model,
            "data": {"root": str(corpus), "num_samples": 8000, "num_workers": 0, **dict(data)},
            "augment": {"algo": 5, **dict(augment)},
            "train": {"epochs": 1, "batch_size": 4, "lr": 1e-3},
            "output": str(tmp_path / "models"),
            "logs": str(tmp_path / "logs"),
        }
        return recipe_from_dict(values)

    return make


def test_noise_and_random_crop_are_for_training_alone(recipe, trials, corpus, folders):
    from nes2net.training.run import _loaders

    dev_trials = asvspoof2019_la.trials(corpus, "dev")

    def batches(recipe):
        return [[b.waveforms for b in loader] for loader in _loaders(recipe, trials, dev_trials, torch.device("cpu"))]

    plain = batches(recipe())
    for augment, data in ((folders, {}), ({}, {"crop": "random"}), ({**folders, "noise_probability": 1}, {})):
        train, dev_augmented, dev = batches(recipe(augment, data))
        assert not all(torch.equal(a, b) for a, b in zip(train, plain[0]))
        assert all(torch.equal(a, b) for a, b in zip(dev_augmented, plain[1]))
        assert all(torch.equal(a, b) for a, b in zip(dev, plain[2]))


def test_a_run_with_noise_goes_on_where_the_folders_have_moved(recipe, folders, tmp_path, capsys):
    from nes2net.training.run import train

    folder = train(recipe(folders))
    (tmp_path / "moved").symlink_to(folders["musan"])
    assert train(recipe({**folders, "musan": str(tmp_path / "moved")})) == folder
    with pytest.raises(InputError, match=r"holds another run, which differs in augment\.musan"):
        train(recipe({"rir": folders["rir"]}))
    with pytest.raises(InputError, match=r"differs in augment\.noise_probability"):
        train(recipe({**folders, "noise_probability": 0.4}))


def test_a_run_from_before_a_key_was_there_goes_on(recipe):
    import yaml

    from nes2net.training.run import train

    folder = train(recipe())
    stored = yaml.safe_load((folder / "recipe.yaml").read_text())
    for key in ("musan", "rir", "noise_probability"):
        del stored["augment"][key]
    (folder / "recipe.yaml").write_text(yaml.safe_dump(stored))
    assert train(recipe()) == folder
    (folder / "recipe.yaml").write_text("augment: {musn: 3}")
    with pytest.raises(InputError, match=r"recipe\.yaml cannot be used \(unknown key 'augment\.musn'.*move the folder"):
        train(recipe())


@pytest.mark.parametrize(
    "augment, data, message",
    [
        ({"musan": "none"}, {}, "MUSAN folder none not found"),
        ({"rir": "none"}, {}, "impulse response folder none not found"),
        ({"noise_probability": 2}, {}, "noise_probability=2.0 must be a probability"),
        ({}, {"crop": "middle"}, "crop is one of head, random"),
    ],
)
def test_wrong_keys_stop_before_training(recipe, augment, data, message, tmp_path):
    from nes2net.training.run import train

    with pytest.raises(InputError, match=message):
        train(recipe(augment, data))
    assert not (tmp_path / "models").exists()
