"""The training set: order of its steps, random streams, and the recipe's keys for data."""

import errno
import os
import random
import signal
import zlib
from dataclasses import replace

import numpy as np
import pytest
import soundfile
import torch
from builders import input_error, noise_folders
from builders.listed_parts import parts_and_files
from builders.runs import same
from numpy.testing import assert_array_equal

from nes2net.data.audio.cache import AudioCache
from nes2net.data.audio.read import AudioFile, load_audio
from nes2net.data.audio.waveform import head_crop, random_crop
from nes2net.data.augment import NoiseAugmentation, Sources, rawboost
from nes2net.data.augment.channels import LowPass
from nes2net.data.augment.conditions import create_condition
from nes2net.data.augment.effect import OneOf
from nes2net.data.augment.legacy import LegacyStream
from nes2net.data.augment.rawboost import RawBoost
from nes2net.data.augment.timing import DrawnSpeed
from nes2net.data.corpora.trial import Trial
from nes2net.lib.process.workers import usable_workers
from nes2net.training import dataset as dataset_module
from nes2net.training.augmentation import training_effects
from nes2net.training.data import development_batches, list_examples, training_batches
from nes2net.training.dataset import Examples, TrainingSet, training_loader
from nes2net.training.run import train
from nes2net.training.sampling import EpochBatches, StepShare


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    root = tmp_path_factory.mktemp("noise")
    return {"musan": str(noise_folders.make_musan(root)), "rir": str(noise_folders.make_rirs(root))}


def conditions_of(names, trials, folders):
    """One condition by chance, with noise and rooms of ``folders`` and babble of ``trials``."""
    sources = Sources(folders["musan"], folders["rir"], [trial.path for trial in trials])
    return OneOf([create_condition(name, sources) for name in names], 0.8)


def stream(seed, epoch, name):
    """The stream of an utterance; epochs count from 1, their streams from 0."""
    return np.random.default_rng([seed, epoch - 1, zlib.crc32(name.encode())])


def test_the_effects_of_an_utterance_draw_random_numbers_in_a_fixed_order_from_one_stream(trials, folders):
    """Speed, noise, RawBoost, condition, filter, crop."""
    noise = NoiseAugmentation(**folders, probability=1)
    fir = LowPass("wide", probability=1.0)
    names = ("mp3:16", "white:10", "babble:5", "noise:5", "rir", "cut:0.3", "speed:1.05")
    conditions = conditions_of(names, trials, folders)
    effects = [DrawnSpeed(0.8, 1.2), noise, RawBoost(4), conditions, fir]
    dataset = TrainingSet(Examples(trials), 4000, effects, seed=5, crop="random")
    for epoch, index in ((1, 0), (1, 7), (4, 7), (2, 1), (2, 2), (2, 3)):
        trial = trials[index]
        rng = stream(5, epoch, f"train/{trial.id}")
        boosted = noise(DrawnSpeed(0.8, 1.2)(load_audio(trial.path), rng), rng)
        boosted = rawboost(boosted, 4, rng).astype(np.float32)
        expected = conditions(boosted, rng)
        expected = random_crop(fir(expected, rng), 4000, rng).astype(np.float32)
        assert_array_equal(dataset[epoch, index].waveform.numpy(), expected)


def inputs_of(loader):
    """The waveforms of each batch."""
    return [batch.part.inputs for batch in loader]


def heard(dataset, workers):
    return inputs_of(training_loader(dataset, EpochBatches(len(dataset), 4, dataset.seed, True), workers, False))


def test_an_utterance_is_augmented_alike_with_and_without_worker_processes(trials, folders):
    conditions = conditions_of(("babble:5", "mp3:16"), trials, folders)
    effects = [NoiseAugmentation(**folders, probability=0.8), RawBoost(5), conditions]
    dataset = TrainingSet(Examples(trials), 4000, effects, seed=3, crop="random")
    alone = heard(dataset, 0)
    helped = heard(dataset, 2)
    assert len(alone) == len(trials) // 4
    assert same(helped, alone)


def first_example(trials, *effects):
    """The first example; ``error`` says why it is skipped, ``lost`` why the run ends."""
    return TrainingSet(Examples(trials), 8000, effects)[1, 0]


def babble_of(path):
    return OneOf([create_condition("babble:5", Sources(speech=[path] * 4))], 1.0)


def test_an_utterance_is_skipped_if_a_recording_to_be_mixed_into_it_is_damaged(trials, tmp_path):
    (tmp_path / "2.wav").write_text("damaged")
    assert "2.wav was read by neither" in first_example(trials, babble_of(tmp_path / "2.wav")).error


def test_a_run_ends_if_a_recording_to_be_mixed_into_an_utterance_is_missing(trials, tmp_path):
    assert "2.wav is not there any more" in first_example(trials, babble_of(tmp_path / "2.wav")).lost


def test_a_silent_recording_is_used_with_a_remark(trials, tmp_path):
    soundfile.write(tmp_path / "silent.wav", np.zeros(8000), 16000)
    example = first_example([replace(trials[0], path=tmp_path / "silent.wav")])
    assert example.error.startswith(f"silent: utterance '{trials[0].id}' is digital silence")
    assert example.waveform is not None
    assert first_example(trials).error is None


def test_an_utterance_is_skipped_if_its_impulse_response_is_silent(trials, tmp_path):
    soundfile.write(tmp_path / "silent.wav", np.zeros(100), 16000)
    assert "silent.wav is silent" in first_example(trials, NoiseAugmentation(rir=tmp_path, probability=1)).error


def fails(path, *_):
    raise OSError(errno.EMFILE, os.strerror(errno.EMFILE), str(path))


def test_a_recording_whose_first_read_fails_is_read_again(trials, monkeypatch):
    read = dataset_module.load_audio
    failed = []

    def fails_once(path, *excerpt):
        failed.append(path)
        return fails(path) if failed == [path] else read(path, *excerpt)

    monkeypatch.setattr(dataset_module, "load_audio", fails_once)
    assert first_example(trials).lost is None
    assert failed == [trials[0].path] * 2


def test_a_run_ends_if_both_reads_of_a_recording_fail(trials, monkeypatch):
    for name in ("load_audio", "open_recording"):
        monkeypatch.setattr(dataset_module, name, fails)
    assert "cannot be read at present (Too many open files)" in first_example(trials).lost


def test_a_training_set_refuses_a_trial_without_a_label(trials):
    with input_error("trial 'LA_E_1' has no label"):
        TrainingSet(Examples([Trial("LA_E_1", trials[0].path)]), 8000)[1, 0]


def test_an_utterance_that_is_not_cropped_is_augmented_whole(trials):
    waveform = load_audio(trials[0].path)
    boosted = rawboost(waveform, 5, stream(0, 2, f"dev/{trials[0].id}")).astype(np.float32)
    whole_utterances = TrainingSet(Examples(trials), None, [RawBoost(5)], part="dev")
    assert_array_equal(whole_utterances[2, 0].waveform.numpy(), boosted)


def test_only_the_beginning_of_a_recording_is_decoded_for_a_head_crop_without_augmentation(
    trials, tmp_path, monkeypatch
):
    heads = [head_crop(load_audio(trial.path), 4000) for trial in trials]
    monkeypatch.setattr(AudioFile, "read_with_length", None)
    cache = AudioCache(tmp_path)
    for options in ({}, {"effects": [NoiseAugmentation()]}, {"cache": cache}, {"cache": cache}):
        dataset = TrainingSet(Examples(trials), 4000, **options)
        for index, head in enumerate(heads):
            assert_array_equal(dataset[1, index].waveform.numpy(), head)


def test_the_number_of_workers_is_limited_to_the_share_of_each_process_in_the_cpus(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)), raising=False)
    assert [usable_workers(n) for n in (0, 3, 8, 20)] == [0, 3, 8, 8]
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "3")
    assert [usable_workers(n) for n in (0, 1, 3)] == [0, 1, 2]


def test_workers_of_a_loader_ignore_sigint_and_sigterm_and_read_on(trials):
    dataset = TrainingSet(Examples(trials), 8000, [RawBoost(5)])
    loader = training_loader(dataset, EpochBatches(len(trials), 2, 0, True), 2, False)
    batches = iter(loader)
    first = [next(batches), next(batches)]  # one of each worker, so that both are under way
    for worker in loader.worker_processes:
        os.kill(worker.pid, signal.SIGINT)
        os.kill(worker.pid, signal.SIGTERM)
    assert len(first) + len(list(batches)) == len(trials) // 2


@pytest.mark.parametrize("algo, accumulate", [(10, 1), (8, 2)])
def test_legacy_augmentation_draws_from_the_global_stream_in_the_order_of_reading(trials, dev_trials, algo, accumulate):
    effects = [RawBoost(algo, stream=LegacyStream(77))]
    batches = EpochBatches(len(trials), 4, 77, True, share=StepShare(accumulate=accumulate))
    train_loader = training_loader(TrainingSet(Examples(trials), 8000, effects), batches, 2, False)
    dev_set = TrainingSet(Examples(dev_trials), 8000, effects, part="dev")
    dev_loader = training_loader(dev_set, EpochBatches(len(dev_trials), 5, 77, False), 2, False)
    np.random.seed(77)
    random.seed(77)
    for epoch in (1, 2):
        batches.epoch = epoch
        order = np.random.default_rng([77, epoch - 1]).permutation(len(trials))[: len(trials) // 4 * 4]
        for loader, expected in ((train_loader, [trials[i] for i in order]), (dev_loader, dev_trials)):
            heard = torch.cat(inputs_of(loader))
            for row, trial in zip(heard, expected, strict=True):
                boosted = rawboost(load_audio(trial.path), algo, np.random.mtrand._rand, gate_rng=random._inst)
                assert_array_equal(row.numpy(), head_crop(boosted, 8000).astype(np.float32))


def test_speed_noise_conditions_and_random_crops_are_used_only_in_training(recipe, trials, dev_trials, folders):
    def batches(augment=(), data=()):
        values = recipe(augment={"algo": 5, **dict(augment)}, data=dict(data))
        training = training_batches(values, list_examples(values.data, trials), None)
        development = development_batches(values, list_examples(values.data, dev_trials), None)
        return list(map(inputs_of, (training, development["w_aug"], development["wo_aug"])))

    plain = batches()
    for augment, data in (
        ({"speed": [0.9, 1.1]}, {}),
        ({}, {"crop": "random"}),
        ({}, {"crop": "dynamic", "chunk_samples": [3000, 5000]}),
        ({**folders, "noise_probability": 1}, {}),
        ({**folders, "conditions": ["noise:0", "rir", "babble:5", "gsm"], "condition_probability": 0.9}, {}),
    ):
        train, *development = batches(augment, data)
        assert not same(train, plain[0])
        assert same(development, plain[1:])


def test_augmentation_conditions_that_shift_audio_in_time_are_refused_if_frames_have_labels(recipe, trials):
    for name in ("cut:1", "speed:1.05", "trim:30", "pitch:0.95"):
        values = recipe(augment={"conditions": ["alaw", name]})
        with input_error(f"'{name}' .*which `segments.resolutions` does not follow"):
            training_effects(values, trials, None, labelled=True)


def test_a_reverberation_delays_the_sound_unless_frames_have_labels(recipe, trials, tmp_path):
    soundfile.write(tmp_path / "late.wav", np.eye(1, 400, 300)[0], 16000)
    values = recipe(augment={"rir": str(tmp_path), "noise_probability": 1})
    for labelled, place in ((False, 1300), (True, 1000)):
        (effect,) = training_effects(values, trials, None, labelled=labelled)
        click = effect(np.eye(1, 4000, 1000, dtype=np.float32)[0], np.random.default_rng(0))
        assert np.abs(click).argmax() == place


def test_a_finished_run_whose_folder_of_noise_was_moved_is_not_taken_for_another_run(recipe, folders, tmp_path):
    folder = train(recipe(augment=folders, train={"epochs": 1}))
    (tmp_path / "moved").symlink_to(folders["musan"])
    moved = {**folders, "musan": str(tmp_path / "moved")}
    assert train(recipe(augment=moved, train={"epochs": 1})) == folder


PIECES = {"crop": "pieces", "num_samples": 8000, "min_piece": 3000}


def pieces_of(trials):
    """The samples of each piece by its name."""
    expected = {}
    for trial in trials:
        waveform = load_audio(trial.path)
        for start in range(0, len(waveform), 8000):
            piece = waveform[start : start + 8000]
            if len(piece) >= 3000 or not start:
                expected[f"{trial.id}[{start}:{start + len(piece)}]"] = piece
    return expected


def test_a_recording_has_pieces_of_num_samples_and_a_last_one_of_at_least_min_piece(recipe, trials):
    """Their names state their samples."""
    pieces = list_examples(recipe(data=PIECES).data, trials)
    expected = pieces_of(trials)
    assert [trial.id for trial in pieces.trials] == list(expected)
    assert len(expected) > len(trials)


def test_pieces_are_the_samples_of_their_recordings(recipe, trials):
    """Padded with zeros to the length asked for."""
    dataset = TrainingSet(list_examples(recipe(data=PIECES).data, trials), 8000, crop="pieces")
    for index, piece in enumerate(pieces_of(trials).values()):
        assert_array_equal(dataset[1, index, 8500].waveform.numpy(), np.pad(piece, (0, 8500 - len(piece))))


def test_an_empty_file_or_one_without_audio_gives_no_pieces_and_is_named_in_an_error(recipe, trials, tmp_path):
    data = recipe(data=PIECES).data
    (tmp_path / "bad.flac").write_bytes(b"no audio")
    soundfile.write(tmp_path / "empty.wav", np.zeros(0), 16000)
    bad = [Trial(name, tmp_path / name, "spoof") for name in ("bad.flac", "empty.wav")]
    pieces = list_examples(data, [*bad, *trials])
    assert pieces.trials == list_examples(data, trials).trials
    of_bad, of_empty = pieces.errors
    assert "bad.flac" in of_bad
    assert "empty.wav" in of_empty


@pytest.fixture
def short(tmp_path):
    """Sixteen trials of a recording of 100 samples."""
    soundfile.write(tmp_path / "a.wav", np.full(100, 0.5), 16000)
    return [Trial(str(number), tmp_path / "a.wav", ("spoof", "bonafide")[number % 2]) for number in range(16)]


def test_pieces_of_a_batch_of_short_recordings_are_padded_with_zeros_to_min_piece(recipe, short):
    values = recipe(data=PIECES)
    batch = inputs_of(training_batches(values, list_examples(values.data, short), None))[0]
    assert batch.shape[1] == 3000
    assert (batch[:, :100] == 0.5).all()
    assert (batch[:, 100:] == 0).all()


@pytest.mark.parametrize("settings", [{"crop": "head"}, {"crop": "random"}, {"crop": "pieces", "min_piece": 500}])
@pytest.mark.parametrize("cached", [False, True])
def test_a_part_gives_the_examples_of_that_part_cut_to_a_file(recipe, tmp_path, settings, cached):
    cache = AudioCache(tmp_path / "cache") if cached else None
    data = recipe(data={"num_samples": 4000, **settings}).data
    waveforms = []
    for trials in parts_and_files(tmp_path):
        dataset = TrainingSet(list_examples(data, trials), 4000, crop=data.crop, cache=cache)
        waveforms.append(torch.stack([dataset[1, index].waveform for index in range(len(dataset))]))
    np.testing.assert_allclose(*waveforms, rtol=0, atol=1e-6)
    assert len(waveforms[0]) == (9 if data.crop == "pieces" else 3)
