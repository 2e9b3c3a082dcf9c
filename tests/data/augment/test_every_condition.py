"""Every registered condition at each of its default strengths: what the contract promises."""

import pickle
import sys
from contextlib import suppress

import numpy as np
import pytest
import soundfile
import torch
from builders import input_error, noise_folders
from builders.voices import voice
from conftest import repository_text
from numpy.random import default_rng

from nes2net.data.augment import NoiseAugmentation, Sources
from nes2net.data.augment.channels import LowPass
from nes2net.data.augment.conditions import create_condition, default_conditions
from nes2net.data.augment.latent import LatentAugmentation
from nes2net.data.augment.specmix import Specmix
from nes2net.data.registry import effects
from nes2net.lib.errors import MissingLibrary
from nes2net.lib.process.installation import how_to_install

NAMES = []
for name in effects._built_in:
    strengths = effects.get(name).strengths
    NAMES += [f"{name}:{strength:g}" for strength in strengths] or [name]

LONG_CUTS = ("cut:8", "cut:4", "cut:2", "cut:1")
NOISY_CODECS = ("alaw", "gsm", "amr_nb", "ulaw", "opus", "g722")


@pytest.fixture(scope="module")
def sources(tmp_path_factory):
    root = tmp_path_factory.mktemp("sources")
    speech = []
    for seed in range(6):
        speech.append(root / f"{seed}.wav")
        soundfile.write(speech[-1], voice(seed, 0.3 + 0.3 * seed), 16000, subtype="FLOAT")
    return Sources(noise_folders.make_musan(root), noise_folders.make_rirs(root), speech)


@pytest.fixture(scope="module")
def conditions(sources):
    """The conditions whose libraries and encoders are installed, by name and strength."""
    created = {}
    for text in NAMES:
        with suppress(MissingLibrary):
            created[text] = create_condition(text, sources)
    return created


@pytest.fixture(scope="module")
def changed(conditions):
    """What each condition makes of a waveform, and this waveform afterwards."""
    results = {}
    for text, condition in conditions.items():
        x = voice()
        results[text] = condition(x, default_rng(7)), x
    return results


def test_every_condition_does_not_change_its_input(changed):
    assert [text for text, (_, x) in changed.items() if not np.array_equal(x, voice())] == []


def test_the_result_of_every_condition_shares_no_memory_with_its_input(changed):
    assert [text for text, (y, x) in changed.items() if np.shares_memory(y, x)] == []


def test_every_condition_changes_a_waveform(changed):
    """Cuts as long as the waveform or longer are left out."""
    unchanged = {text for text, (y, x) in changed.items() if np.array_equal(y, x)}
    assert unchanged <= set(LONG_CUTS)


def test_every_condition_that_is_declared_to_move_no_times_keeps_the_length_of_a_waveform(changed):
    moving = {text for text, (y, x) in changed.items() if y.shape != x.shape}
    assert moving <= {text for text in NAMES if effects.get(text.partition(":")[0]).time_moves}


@pytest.fixture(scope="module")
def of_each_kind(conditions):
    """The condition of each name at its last strength, by name and strength."""
    last_strengths = {text.partition(":")[0]: text for text in conditions}
    return {text: conditions[text] for text in last_strengths.values()}


def test_every_condition_gives_the_same_samples_after_pickling(of_each_kind, changed):
    for text, condition in of_each_kind.items():
        unpickled = pickle.loads(pickle.dumps(condition))
        np.testing.assert_array_equal(unpickled(voice(), default_rng(7)), changed[text][0], text)


def test_every_condition_gives_finite_float32_samples_for_short_or_silent_recordings(of_each_kind):
    x = voice()
    recordings = (x[:1], np.ones(1, np.float32), x[:100], np.zeros(1, np.float32), np.zeros(3000, np.float32))
    for text, condition in of_each_kind.items():
        for short in recordings:
            y = condition(short, default_rng(1))
            assert len(y) >= 1, text
            assert y.dtype == np.float32, text
            assert np.isfinite(y).all(), text


def test_every_condition_but_some_noisy_codecs_leaves_silence_silent(conditions):
    for text, condition in conditions.items():
        if not text.startswith(NOISY_CODECS):
            silence = condition(np.zeros(3000, np.float32), default_rng(1))
            assert np.abs(silence).max() <= 1e-4, text


def test_random_conditions_give_another_result_with_another_seed(sources):
    for text in ("white:10", "pink:10", "babble:10", "noise:10", "music:10", "speech:10", "room:0.3", "rawboost:5"):
        condition = create_condition(text, sources)
        x = voice()
        assert not np.array_equal(condition(x, default_rng(1)), condition(x, default_rng(2))), text


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("mp4:16", "unknown condition 'mp4'; did you mean 'mp3'"),
        ("mp3", "'mp3': it needs a strength, one of 8, 16, .*160 kbit/s: write it after a colon, such as :64"),
        ("mp3:17", "'mp3:17': its strength must be one of 8, .*, not 17"),
        ("mp3:loud", "the strength behind the colon must be a number, not 'loud'"),
        ("white:nan", "its strength must be -50 to 100 dB, not nan"),
        ("cut:0", "its strength must be 0.01 to 86400 s, not 0"),
        ("rawboost:1.5", "its strength must be one of 1, 2"),
        ("alaw:64", "it has no strength"),
        ("noise:10", "needs MUSAN .*`augment.musan`"),
        ("rir", "needs impulse responses .*`augment.rir`"),
        ("babble:5", "needs recordings"),
    ],
)
def test_conditions_that_cannot_be_created_are_refused_with_the_reason(text, message):
    with input_error(message):
        create_condition(text)


@pytest.mark.parametrize(
    "augmentation, settings, message",
    [
        (LowPass, {"band": "narrow"}, "low-pass filter: band must be one of telephone, wide, not 'narrow'"),
        (LowPass, {"taps": 100}, "taps must be an odd number from 3 to 10001, not 100"),
        (Specmix, {"gamma": 1.5}, "gamma must be a number from 0 to 1, not 1.5"),
        (
            LatentAugmentation,
            {"kinds": ["noises"]},
            "latent augmentation: kinds must be a list of noise, affine, .*, not",
        ),
        (NoiseAugmentation, {"probability": -0.1}, "`noise_probability` must be a probability from 0 to 1"),
    ],
)
def test_invalid_settings_of_augmentation_are_refused_with_what_is_allowed(augmentation, settings, message):
    with input_error(message):
        getattr(augmentation, "of", augmentation)(**settings)


SPOOFED = torch.zeros(2, dtype=torch.long)


@pytest.mark.parametrize(
    "shape, augment",
    [
        ((1200,), lambda x, rirs: NoiseAugmentation(rir=rirs, probability=0.0)(x.numpy(), default_rng(0))),
        ((2, 20, 30), lambda x, _: Specmix(probability=0.0)(x, SPOOFED, torch.Generator()).spectrograms),
        ((2, 600), lambda x, _: LatentAugmentation(probability=0.0)(x, SPOOFED, default_rng(0))),
    ],
)
def test_an_augmentation_applied_with_probability_0_leaves_a_waveform_or_batch_unchanged(shape, augment, tmp_path):
    """Noise augmentation, Specmix and latent augmentation."""
    x = torch.linspace(-1, 1, 1200).reshape(shape)
    before = x.clone()
    np.testing.assert_array_equal(augment(x, noise_folders.make_rirs(tmp_path)), before)


def test_the_default_suite_of_conditions_states_which_data_each_condition_left_out_needs():
    suite = default_conditions()
    assert suite.left_out["babble"] == "needs speech"
    assert suite.left_out["noise"] == "needs musan"


def test_the_default_suite_with_all_data_has_every_condition_at_each_default_strength(sources):
    """Conditions whose library or encoder is missing are left out."""
    suite = default_conditions(sources)
    assert {"babble", "noise"}.isdisjoint(suite.left_out)
    assert suite.names == [text for text in NAMES if text.partition(":")[0] not in suite.left_out]


def test_a_condition_without_its_encoder_is_left_out_of_the_default_suite_with_the_reason(monkeypatch):
    monkeypatch.setattr(effects.get("amr_nb"), "encoder", "libnone")
    assert "no encoder 'libnone'" in default_conditions().left_out["amr_nb"]


def test_a_condition_without_its_library_is_left_out_of_the_default_suite_with_how_to_install_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "pyroomacoustics", None)
    assert how_to_install("robustness") in default_conditions().left_out["room"]


def test_the_page_on_robustness_has_a_row_for_every_condition_with_unit_and_strengths():
    page, _, _ = repository_text("docs/robustness.md").partition("\n## Attacks\n")
    rows = [[cell.strip() for cell in line.split("|")[1:4]] for line in page.splitlines() if line.startswith("| `")]
    expected = []
    for name in effects._built_in:
        effect = effects.get(name)
        strengths = ", ".join(f"{strength:g}" for strength in effect.strengths)
        expected.append([f"`{name}`", effect.unit, strengths])
    assert rows == expected
