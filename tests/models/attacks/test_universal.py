"""One perturbation for all recordings: fitted on some, applied to others of any length."""

import numpy as np
import pytest
import torch

from nes2net import robustness
from nes2net.lib.output import progress

RNG = np.random.default_rng(0)
FAKES = torch.ones(8)
#: 8×300 and 8×500 samples.
SHORTER = torch.from_numpy(RNG.normal(0, 0.1, (8, 300)))
LONGER = torch.from_numpy(RNG.normal(0, 0.1, (8, 500)))
ATTACKS = {"universal:0.005fs": {}, "malafide:9": {"steps": 50, "step": 0.01}}


def logits_of(x):
    """High for a recording whose neighbouring samples differ, or whose even samples are high."""
    differences = x.diff(dim=1).square()
    roughness = 100 * differences.mean(1) + 10 * x[:, ::2].mean(1)
    return torch.stack([-roughness, roughness], 1)


def fitted(attack, *waveforms, seed=0):
    recordings = [(batch, FAKES) for batch in waveforms]
    return robustness.fit_attack(logits_of, recordings, attack, seed=seed, **ATTACKS[attack])


@pytest.mark.parametrize("attack", ATTACKS)
def test_a_perturbation_raises_the_scores_of_recordings_that_it_was_not_fitted_on(attack):
    perturbation = fitted(attack, SHORTER)
    attacked = robustness.attack_logits(logits_of, LONGER, FAKES, attack, perturbation=perturbation)
    gain = logits_of(attacked) - logits_of(LONGER)
    assert gain[:, 1].min() > 0


@pytest.mark.parametrize("attack", ATTACKS)
def test_without_a_perturbation_it_is_fitted_on_the_same_recordings(attack):
    perturbation = fitted(attack, LONGER)
    expected = robustness.attack_logits(logits_of, LONGER, FAKES, attack, perturbation=perturbation)
    attacked = robustness.attack_logits(logits_of, LONGER, FAKES, attack, **ATTACKS[attack])
    assert torch.equal(attacked, expected)


def test_a_universal_waveform_is_as_long_as_the_longest_recording_and_repeated_for_longer_ones():
    delta = fitted("universal:0.005fs", SHORTER[:, :200], SHORTER)
    assert delta.shape == (1, 300)
    assert delta.abs().max() == 0.005
    attacked = robustness.attack_logits(
        logits_of, LONGER, FAKES, "universal:0.005fs", perturbation=delta, bits=None, keep="last"
    )
    tiled = delta.repeat(1, 2)[:, :500]
    torch.testing.assert_close(attacked - LONGER, tiled.expand(8, -1))


def test_a_filter_has_the_centre_1_and_starts_by_the_seed():
    taps = fitted("malafide:9", SHORTER)
    assert taps.shape == (9,)
    assert taps[4] == 1
    same_taps = fitted("malafide:9", SHORTER)
    other_taps = fitted("malafide:9", SHORTER, seed=1)
    assert torch.equal(taps, same_taps)
    assert not torch.equal(taps, other_taps)


@pytest.mark.parametrize(("attack", "level"), (("universal:0.005fs", "objective"), ("malafide:9", "loss")))
def test_the_progress_of_a_fit_shows_what_it_changes(monkeypatch, caplog, attack, level):
    monkeypatch.setenv(progress.SECONDS, "0.000001")
    with caplog.at_level("INFO", progress.PROGRESS.name):
        fitted(attack, SHORTER)
    lines = [record.getMessage() for record in caplog.records]
    levels = [float(line.split(f", {level} ")[1].split(",")[0]) for line in lines]
    steps = ATTACKS[attack].get("steps", 100)
    assert lines[0].startswith(f"fitting the attack: step 1 of {steps}, {level} ")
    assert len(levels) == steps
    rises = levels[-1] > levels[0]
    assert rises == (level == "objective")


def test_a_filter_learns_from_all_batches():
    taps = fitted("malafide:9", SHORTER)
    taps_of_both = fitted("malafide:9", SHORTER, LONGER)
    assert not torch.equal(taps, taps_of_both)
