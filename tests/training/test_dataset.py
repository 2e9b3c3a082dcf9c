"""The training set: order of its steps, random streams, and the recipe's keys for data."""

import io
import os
import random
import signal
import subprocess
import sys
import zlib

import numpy as np
import pytest
import soundfile
import torch
from builders import PATIENCE, noise_folders

from nes2net import InputError
from nes2net.audio.cache import AudioCache
from nes2net.audio.read import load_audio
from nes2net.audio.waveform import head_crop, random_crop
from nes2net.augment import NoiseAugmentation, RawBoostParameters, Sources, rawboost
from nes2net.augment.channels import LowPass
from nes2net.augment.effect import OneOf
from nes2net.augment.legacy import LegacyStream
from nes2net.augment.rawboost import RawBoost
from nes2net.augment.timing import DrawnSpeed
from nes2net.corpora import asvspoof2019_la
from nes2net.corpora.trial import Trial
from nes2net.machine.workers import reading_processes
from nes2net.recipes.recipe import recipe_from_dict
from nes2net.registry import create_condition
from nes2net.training import dataset as dataset_module
from nes2net.training.augmentation import training_effects
from nes2net.training.dataset import Examples, TrainingSet, longest_first, training_loader
from nes2net.training.sampling import EpochBatches, StepShare


@pytest.fixture(scope="module")
def trials(corpus):
    return asvspoof2019_la.CORPUS.trials(corpus, "train")


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    root = tmp_path_factory.mktemp("noise")
    return {"musan": str(noise_folders.make_musan(root)), "rir": str(noise_folders.make_rirs(root))}


def stream(seed, epoch, name):
    """The stream of an utterance; epochs count from 1, their streams from 0."""
    return np.random.default_rng([seed, epoch - 1, zlib.crc32(name.encode())])


def test_speed_then_noise_then_rawboost_then_filter_then_crop_from_one_stream(trials, folders):
    noise, fir = NoiseAugmentation(**folders, probability=1), LowPass("wide", probability=1.0)
    dataset = TrainingSet(
        Examples(trials), 8000, [DrawnSpeed(0.8, 1.2), noise, RawBoost(4), fir], seed=5, crop="random"
    )
    for epoch, index in ((1, 0), (1, 7), (4, 7)):
        trial = trials[index]
        rng = stream(5, epoch, f"train/{trial.id}")
        expected = DrawnSpeed(0.8, 1.2)(load_audio(trial.path), rng)
        expected = fir(rawboost(noise(expected, rng), 4, rng).astype(np.float32), rng)
        expected = random_crop(expected, 8000, rng).astype(np.float32)
        example = dataset[epoch, index]
        assert (example.target, example.error) == (trial.target, None)
        assert example.waveform.dtype == torch.float32
        np.testing.assert_array_equal(example.waveform.numpy(), expected)


def test_a_condition_comes_behind_rawboost_and_before_the_filter(trials, folders):
    """All draw from the stream of the utterance, in this order; an utterance may be left unchanged."""
    noise, fir = NoiseAugmentation(**folders, probability=1), LowPass("wide", probability=1.0)
    sources = Sources(folders["musan"], folders["rir"], [trial.path for trial in trials])
    names = ("mp3:16", "white:10", "babble:5", "noise:5", "rir", "cut:0.5", "speed:1.05")
    conditions = OneOf([create_condition(name, sources) for name in names], 0.8)
    dataset = TrainingSet(Examples(trials), 8000, [noise, RawBoost(4), conditions, fir], seed=5, crop="random")
    unchanged = 0
    for epoch, index in ((1, 0), (1, 7), (4, 7), (2, 1), (2, 2), (2, 3)):
        rng = stream(5, epoch, f"train/{trials[index].id}")
        boosted = rawboost(noise(load_audio(trials[index].path), rng), 4, rng).astype(np.float32)
        expected = conditions(boosted, rng)
        unchanged += expected is boosted
        expected = random_crop(fir(expected, rng), 8000, rng).astype(np.float32)
        np.testing.assert_array_equal(dataset[epoch, index].waveform.numpy(), expected)
    assert 0 < unchanged < 6
    alone, helped = heard(dataset, 0), heard(dataset, 2)
    assert all(torch.equal(a, b) for a, b in zip(alone, helped))


def test_a_recording_for_a_condition_that_is_gone_is_lost_and_a_damaged_one_is_named(trials, tmp_path):
    paths = [tmp_path / f"{index}.wav" for index in range(4)]
    for path in paths:
        soundfile.write(path, np.full(100, 0.1), 16000)
    conditions = OneOf([create_condition("babble:5", Sources(speech=paths))], 1.0)
    dataset = TrainingSet(Examples(trials), 8000, [conditions])
    assert dataset[1, 0].error is None and dataset[1, 0].lost is None
    paths[2].write_text("damaged")
    assert "2.wav was read by neither" in dataset[1, 0].error
    paths[2].unlink()
    assert "2.wav is not there any more" in dataset[1, 0].lost


def test_every_step_can_be_left_out(trials):
    waveform = load_audio(trials[0].path)
    np.testing.assert_array_equal(TrainingSet(Examples(trials), None)[1, 0].waveform.numpy(), waveform)
    np.testing.assert_array_equal(TrainingSet(Examples(trials), 8000)[1, 0].waveform.numpy(), head_crop(waveform, 8000))
    off = TrainingSet(Examples(trials), 8000, [NoiseAugmentation()])
    np.testing.assert_array_equal(off[1, 0].waveform.numpy(), head_crop(waveform, 8000))
    boosted = rawboost(waveform, 5, stream(0, 2, f"dev/{trials[0].id}")).astype(np.float32)
    np.testing.assert_array_equal(
        TrainingSet(Examples(trials), None, [RawBoost(5)], part="dev")[2, 0].waveform.numpy(), boosted
    )


def heard(dataset, workers, batch_size=4, epoch=1):
    loader = training_loader(dataset, EpochBatches(len(dataset), batch_size, dataset.seed, True), workers, False)
    loader.batch_sampler.epoch = epoch
    return [batch.waveforms for batch in loader]


def test_the_same_whatever_the_workers_and_the_order(trials, folders):
    dataset = TrainingSet(
        Examples(trials),
        8000,
        [NoiseAugmentation(**folders, probability=0.8), RawBoost(5)],
        seed=3,
        crop="random",
    )
    alone, helped = heard(dataset, 0), heard(dataset, 2)
    assert len(alone) == len(trials) // 4 and all(torch.equal(a, b) for a, b in zip(alone, helped))
    backwards = [dataset[1, index].waveform for index in reversed(range(len(trials)))][::-1]
    rows = {tuple(row[:50].tolist()) for batch in alone for row in batch}
    assert rows <= {tuple(waveform[:50].tolist()) for waveform in backwards}
    assert not any(torch.equal(a, b) for a, b in zip(alone, heard(dataset, 0, epoch=2)))
    subset = TrainingSet(Examples(trials[5:]), 8000, dataset.augmentation.effects, seed=3, crop="random")
    assert torch.equal(subset[1, 2].waveform, backwards[7])  # what other trials there are does not matter


def test_a_bad_noise_file_leaves_the_trial_out_and_is_named(trials, tmp_path):
    soundfile.write(tmp_path / "silent.wav", np.zeros(100), 16000)
    dataset = TrainingSet(Examples(trials), 8000, [NoiseAugmentation(rir=tmp_path, probability=1)])
    example = dataset[1, 0]
    assert (
        example.waveform is None
        and f"utterance '{trials[0].id}': " in example.error
        and "silent.wav is silent" in example.error
    )


def test_nan_names_the_file(tmp_path):
    soundfile.write(tmp_path / "LA_T_9.wav", np.array([0.1, np.nan]), 16000, subtype="FLOAT")
    example = TrainingSet(Examples([Trial("LA_T_9", tmp_path / "LA_T_9.wav", "spoof")]), 8000, [RawBoost(4)])[1, 0]
    assert example.waveform is None and "LA_T_9.wav holds NaN" in example.error


def test_a_trial_without_a_label_is_refused(trials):
    with pytest.raises(InputError, match="trial 'LA_E_1' has no label"):
        TrainingSet(Examples([Trial("LA_E_1", trials[0].path)]), 8000)[1, 0]


# ---- what is read, and where


@pytest.mark.parametrize("crop", ["head", "random", "random_tiled"])
@pytest.mark.parametrize("algo", [0, 5])
def test_a_cache_changes_nothing(trials, tmp_path, monkeypatch, crop, algo):
    cache = AudioCache(tmp_path)
    plain, cached = (
        TrainingSet(Examples(trials), 8000, [RawBoost(algo)] if algo else (), seed=3, crop=crop, cache=c)
        for c in (None, cache)
    )
    expected = heard(plain, 0)
    assert all(torch.equal(a, b) for a, b in zip(expected, heard(cached, 2)))
    monkeypatch.setattr("nes2net.audio.cache.load_head", None)  # all is there
    assert all(torch.equal(a, b) for a, b in zip(expected, heard(cached, 0)))
    assert len(list(tmp_path.rglob("*.npy"))) == len(trials)


def test_only_the_head_is_decoded_where_that_is_enough(trials, folders, monkeypatch):
    whole = [head_crop(load_audio(trial.path), 8000) for trial in trials]
    noise = NoiseAugmentation(**folders, probability=1)
    monkeypatch.setattr(dataset_module, "load_audio", None)
    for dataset in (
        TrainingSet(Examples(trials), 8000),
        TrainingSet(Examples(trials), 8000, [NoiseAugmentation()]),
    ):
        for index in range(len(trials)):
            np.testing.assert_array_equal(dataset[1, index].waveform.numpy(), whole[index])
    others = [{"effects": [effect]} for effect in (RawBoost(5), DrawnSpeed(0.9, 1.1), noise)]
    for options in (*others, {"crop": "random"}, {"num_samples": None}):
        with pytest.raises(TypeError, match="not callable"):
            TrainingSet(Examples(trials), **{"num_samples": 8000, **options})[1, 0]


def test_whole_utterances_are_given_longest_first(trials):
    ordered = longest_first(trials)
    lengths = [len(load_audio(trial.path)) for trial in ordered]
    assert sorted(t.id for t in ordered) == sorted(t.id for t in trials)
    sizes = [trial.path.stat().st_size for trial in ordered]
    assert sizes == sorted(sizes, reverse=True) and max(lengths[:3]) == max(lengths)
    loader = training_loader(TrainingSet(Examples(ordered), None), EpochBatches(len(ordered), 1, 0, False), 2, False)
    assert [batch.waveforms.shape[1] for batch in loader] == lengths


def test_workers_share_the_processors_of_the_machine(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)), raising=False)
    assert [reading_processes(n) for n in (0, 3, 8, 20)] == [0, 3, 8, 8]
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "3")
    assert [reading_processes(n) for n in (0, 1, 3)] == [0, 1, 2]
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "16")
    assert reading_processes(4) == 1


def test_a_signal_to_all_processes_leaves_the_workers_reading(trials):
    loader = training_loader(
        TrainingSet(Examples(trials), 8000, [RawBoost(5)]), EpochBatches(len(trials), 2, 0, True), 2, False
    )
    batches = iter(loader)
    first = [next(batches), next(batches)]  # one of each worker, so that both are under way
    workers = loader.readers
    for worker in workers:
        os.kill(worker.pid, signal.SIGINT)
        os.kill(worker.pid, signal.SIGTERM)
    rest = list(batches)
    assert len(first + rest) == len(trials) // 2 and first[0].waveforms.shape == rest[-1].waveforms.shape
    del batches, loader
    for worker in workers:
        worker.join(PATIENCE)
        assert worker.exitcode == 0


def run(program, *arguments):
    """Run a Python program and return its exit status."""
    command = [sys.executable, "-c", program, *map(str, arguments)]
    return subprocess.run(command, timeout=PATIENCE, check=False).returncode


def test_a_program_that_ends_amid_a_pass_waits_for_no_worker(corpus):
    program = """
import os, signal, sys
from nes2net.corpora import asvspoof2019_la
from nes2net.augment.rawboost import RawBoost
from nes2net.training.dataset import Examples, TrainingSet, training_loader
from nes2net.training.sampling import EpochBatches
trials = asvspoof2019_la.CORPUS.trials(sys.argv[1], "train")
loader = training_loader(TrainingSet(Examples(trials), 8000, [RawBoost(5)]), EpochBatches(len(trials), 2, 0, True), 2, False)
kept = iter(loader)
loader.cycle = loader, kept
next(kept), next(kept)
for worker in loader.readers:
    os.kill(worker.pid, signal.SIGTERM)
raise SystemExit(75)
"""
    assert run(program, corpus) == 75


def test_other_processes_of_the_program_may_end_as_they_like(corpus, tmp_path):
    program = """
import multiprocessing, pathlib, signal, sys
from nes2net.corpora import asvspoof2019_la
from nes2net.augment.rawboost import RawBoost
from nes2net.training.dataset import Examples, TrainingSet, training_loader
from nes2net.training.sampling import EpochBatches

def other(ready):
    def end(*_):
        pathlib.Path(sys.argv[2]).write_text("ended")
        sys.exit()
    signal.signal(signal.SIGTERM, end)
    ready.set()
    while True:
        signal.pause()

ready = multiprocessing.Event()
multiprocessing.Process(target=other, args=(ready,), daemon=True).start()
ready.wait()
trials = asvspoof2019_la.CORPUS.trials(sys.argv[1], "train")
next(iter(training_loader(TrainingSet(Examples(trials), 8000), EpochBatches(len(trials), 2, 0, True), 1, False)))
"""
    assert run(program, corpus, tmp_path / "file") == 0
    assert (tmp_path / "file").read_text() == "ended"


@pytest.mark.parametrize("workers", [0, 2])
def test_reading_draws_nothing_from_the_global_stream(trials, workers):
    """Weights and dropout draw from that stream."""
    before = torch.get_rng_state()
    heard(TrainingSet(Examples(trials), 8000, [RawBoost(5)]), workers)
    assert torch.equal(torch.get_rng_state(), before)


# ---- the published order of draws


def published(trial, algo, rng, gates):
    boosted = rawboost(load_audio(trial.path), algo, rng, gate_rng=gates)
    return torch.from_numpy(head_crop(boosted, 8000).astype(np.float32))


@pytest.mark.parametrize("algo, accumulate", [(4, 1), (10, 1), (8, 2)])
def test_legacy_draws_in_the_order_of_reading_from_the_global_stream(trials, corpus, algo, accumulate):
    dev = asvspoof2019_la.CORPUS.trials(corpus, "dev")
    stream = LegacyStream(77)
    batches = EpochBatches(len(trials), 4, 77, True, share=StepShare(accumulate=accumulate))
    train_loader = training_loader(
        TrainingSet(Examples(trials), 8000, [RawBoost(algo, stream=stream)], seed=77), batches, 2, False
    )
    dev_loader = training_loader(
        TrainingSet(Examples(dev), 8000, [RawBoost(algo, stream=stream)], seed=77, part="dev"),
        EpochBatches(len(dev), 5, 77, False),
        2,
        False,
    )
    assert train_loader.num_workers == 0
    np.random.seed(77)
    random.seed(77)
    for epoch in (1, 2):
        batches.epoch = epoch
        order = np.random.default_rng([77, epoch - 1]).permutation(len(trials))[: len(trials) // 4 * 4]
        for loader, expected in ((train_loader, [trials[i] for i in order]), (dev_loader, dev)):
            heard = torch.cat([batch.waveforms for batch in loader])
            plain = [published(trial, algo, np.random.mtrand._rand, random._inst) for trial in expected]
            assert torch.equal(heard, torch.stack(plain))


def test_legacy_goes_on_from_any_batch(trials):
    def loader(stream):
        dataset = TrainingSet(
            Examples(trials),
            8000,
            [RawBoost(11, parameters=RawBoostParameters(LnL_ratio=0.5, SSI_ratio=0.5), stream=stream)],
        )
        return training_loader(dataset, EpochBatches(len(trials), 3, 0, True), 0, False)

    stream = LegacyStream(5)
    whole = []
    for step, batch in enumerate(loader(stream)):
        if step == 1:
            file = io.BytesIO()
            torch.save(stream.state(), file)
        whole.append(batch.waveforms)
    resumed = LegacyStream(6)
    file.seek(0)
    resumed.load_state(torch.load(file, weights_only=True))
    rest = loader(resumed)
    rest.batch_sampler.start = 2
    assert all(torch.equal(a, b.waveforms) for a, b in zip(whole[2:], rest, strict=True))
    assert resumed.rng.random() == stream.rng.random() and resumed.gates.random() == stream.gates.random()


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


def test_speed_noise_and_random_crop_are_for_training_alone(recipe, trials, corpus, folders):
    from nes2net.training.data import development_batches, examples, training_batches

    dev_trials = asvspoof2019_la.CORPUS.trials(corpus, "dev")

    def batches(recipe):
        training = training_batches(recipe, examples(recipe.data, trials), None)
        development = development_batches(recipe, examples(recipe.data, dev_trials), None)
        return [[b.waveforms for b in loader] for loader in (training, development["w_aug"], development["wo_aug"])]

    plain = batches(recipe())
    for augment, data in (
        ({"speed": [0.9, 1.1]}, {}),
        (folders, {}),
        ({}, {"crop": "random"}),
        ({}, {"crop": "dynamic", "chunk_samples": [4000, 9000]}),
        ({**folders, "noise_probability": 1}, {}),
        ({**folders, "conditions": ["noise:0", "rir", "babble:5", "gsm"], "condition_probability": 0.9}, {}),
    ):
        train, dev_augmented, dev = batches(recipe(augment, data))
        assert not all(torch.equal(a, b) for a, b in zip(train, plain[0]))
        assert all(torch.equal(a, b) for a, b in zip(dev_augmented, plain[1]))
        assert all(torch.equal(a, b) for a, b in zip(dev, plain[2]))


def test_conditions_that_move_time_are_refused_beside_labels_of_frames(recipe, trials):
    for name in ("cut:1", "speed:1.05", "trim:30", "pitch:0.95"):
        values = recipe({"conditions": ["alaw", name]})
        assert [effect.probability for effect in training_effects(values, trials, None)[1:]] == [0.5]
        with pytest.raises(InputError, match=f"'{name}' .*which `segments.resolutions` does not follow"):
            training_effects(values, trials, None, labelled=True)


def test_a_run_with_noise_goes_on_where_the_folders_have_moved(recipe, folders, tmp_path, capsys):
    from nes2net.training.run import train

    folder = train(recipe(folders))
    (tmp_path / "moved").symlink_to(folders["musan"])
    assert train(recipe({**folders, "musan": str(tmp_path / "moved")})) == folder
    with pytest.raises(InputError, match=r"holds another run, which differs in `augment\.musan`:"):
        train(recipe({"rir": folders["rir"]}))
    with pytest.raises(InputError, match=r"differs in `augment\.noise_probability"):
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
        (
            {"rir": "none", "noise_probability": 2},
            {},
            "`augment.noise_probability` is a number from 0 to 1, or null, not 2",
        ),
        ({}, {"crop": "middle"}, "`data.crop` is one of head, random"),
        ({"rng": "global"}, {}, "`augment.rng` is one of utterance, legacy, not 'global'"),
        ({"rng": "legacy", "algo": 0}, {}, "`augment.algo=0` draws nothing"),
        ({"conditions": ["mp4:16"]}, {}, "unknown condition 'mp4'; did you mean 'mp3'"),
        ({"conditions": ["mp3:17"]}, {}, "condition 'mp3:17': its strength is one of"),
        ({"conditions": ["noise:10"]}, {}, "'noise:10': needs MUSAN .* `augment.musan`"),
        ({"conditions": ["noise:10"], "musan": "none"}, {}, "MUSAN folder none not found"),
        (
            {"conditions": ["mp3:16"], "rir": "none"},
            {},
            "`augment.rir` changes nothing, because no `augment.conditions` needs it",
        ),
        ({"conditions": ["cut:1"]}, {"crop": "pieces"}, "'cut:1' .*which `data.crop=pieces` does not follow"),
    ],
)
def test_wrong_keys_stop_before_training(recipe, augment, data, message, tmp_path):
    from nes2net.training.run import train

    with pytest.raises(InputError, match=message):
        train(recipe(augment, data))
    assert not (tmp_path / "models").exists()


# ---- pieces


@pytest.fixture
def in_pieces(recipe, trials):
    from nes2net.training.data import examples

    values = recipe({}, {"crop": "pieces", "num_samples": 8000, "min_piece": 3000})
    return values, examples(values.data, trials)


def test_pieces_are_the_samples_of_their_recordings(in_pieces, trials):
    _, found = in_pieces
    waveforms = {trial.id: load_audio(trial.path) for trial in trials}
    expected = {}
    for name, waveform in waveforms.items():
        for start in range(0, len(waveform), 8000):
            piece = waveform[start : start + 8000]
            if len(piece) >= 3000 or not start:
                expected[f"{name}[{start}:{start + len(piece)}]"] = piece
    assert [trial.id for trial in found.trials] == list(expected) and len(expected) > len(trials)
    dataset = TrainingSet(found, 8000, crop="pieces")
    for index, trial in enumerate(found.trials):
        piece = expected[trial.id]
        np.testing.assert_array_equal(dataset[1, index, 8500].waveform.numpy(), np.pad(piece, (0, 8500 - len(piece))))
    assert not found.errors


@pytest.mark.parametrize("algo", [0, 5])
def test_batches_of_pieces_whatever_the_workers_and_the_cache(recipe, trials, tmp_path, algo):
    from nes2net.training.data import development_batches, examples, training_batches

    data = {"crop": "pieces", "num_samples": 8000, "min_piece": 3000}
    heard = []
    for more in ({}, {"num_workers": 2}, {"cache": str(tmp_path / "cache")}, {"cache": str(tmp_path / "cache")}):
        values = recipe({"algo": algo}, {**data, **more})
        found = examples(values.data, trials)
        loaders = [training_batches(values, found, None), *development_batches(values, found, None).values()]
        heard.append([batch.waveforms for loader in loaders for batch in loader])
    for other in heard[1:]:
        assert len(other) == len(heard[0]) and all(torch.equal(a, b) for a, b in zip(other, heard[0]))
    lengths = [batch.shape[1] for batch in heard[0]]
    assert min(lengths) >= 3000 and max(lengths) == 8000 and len(set(lengths)) > 1
    development = next(iter(development_batches(recipe({}, data), found, None).values()))
    sizes = [size for _, size in development.dataset.found.excerpts]
    assert sizes == sorted(sizes, reverse=True)


def test_a_file_without_a_length_has_no_pieces_and_is_named(recipe, trials, tmp_path):
    from nes2net.training.data import examples

    values = recipe({}, {"crop": "pieces", "num_samples": 8000, "min_piece": 3000})
    (tmp_path / "bad.flac").write_bytes(b"no audio")
    soundfile.write(tmp_path / "empty.wav", np.zeros(0), 16000)
    bad = [Trial(name, tmp_path / name, "spoof") for name in ("bad.flac", "empty.wav")]
    found = examples(values.data, [*bad, *trials])
    assert found.trials == examples(values.data, trials).trials
    assert len(found.errors) == 2 and "bad.flac" in found.errors[0] and "empty.wav" in found.errors[1]
    with pytest.raises(InputError, match=r"the development set needs pieces.*2 of 2 files.*bad\.flac"):
        examples(values.data, bad, "development")


def test_a_recording_shorter_than_a_piece_may_be_is_kept(recipe, trials, tmp_path):
    from nes2net.training.data import examples, training_batches

    values = recipe({"algo": 0}, {"crop": "pieces", "num_samples": 8000, "min_piece": 3000})
    short = []
    for number in range(16):
        soundfile.write(tmp_path / f"{number}.wav", np.full(100, 0.5), 16000)
        short.append(Trial(str(number), tmp_path / f"{number}.wav", ("spoof", "bonafide")[number % 2]))
    found = examples(values.data, short)
    assert [trial.id for trial in found.trials] == [f"{number}[0:100]" for number in range(16)]
    for batch in training_batches(values, found, None):
        assert batch.waveforms.shape[1] == 3000 and (batch.waveforms[:, 100:] == 0).all()
        assert (batch.waveforms[:, :100] == 0.5).all()
