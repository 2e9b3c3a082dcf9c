"""Conditions that attacked recordings pass, and the gradients through them."""

import numpy as np
import pytest
import torch
from builders import input_error

from nes2net.data.augment.conditions import create_condition
from nes2net.models.attacks.channel import changed, logits_through

RNG = np.random.default_rng(0)
WAVEFORMS = torch.from_numpy(RNG.normal(0, 0.1, (2, 4000)))
WEIGHT = torch.from_numpy(RNG.normal(0, 1, (4000, 2)))
LINEAR = ("gain:-20", "telephone", "resample:8", "room:0.3")
CODECS = ("mp3:64", "mp3:8", "aac:32", "opus:32", "g722", "alaw", "ulaw", "gsm")


def generators():
    return [np.random.default_rng(number) for number in range(2)]


def logits(condition, waveforms):
    effect = create_condition(condition)
    return logits_through(effect, generators(), lambda x: x @ WEIGHT, waveforms)


def gradient(condition):
    waveforms = WAVEFORMS.clone()
    waveforms.requires_grad_()
    total = logits(condition, waveforms).sum()
    total.backward()
    return waveforms.grad


@pytest.mark.parametrize("condition", (*LINEAR, *CODECS, "white:20"))
def test_the_logits_are_those_of_the_changed_recordings(condition):
    effect = create_condition(condition)
    rows = []
    for waveform, rng in zip(WAVEFORMS.numpy(), generators()):
        samples = waveform.astype(np.float32)
        rows.append(effect(samples, rng))
    received = torch.from_numpy(np.stack(rows))
    expected = received.double() @ WEIGHT
    torch.testing.assert_close(logits(condition, WAVEFORMS), expected, rtol=0, atol=0.0001)


@pytest.mark.parametrize("condition", LINEAR)
def test_the_gradient_through_a_filter_is_exact(condition):
    step = torch.from_numpy(RNG.normal(0, 0.01, WAVEFORMS.shape))
    above = logits(condition, WAVEFORMS + step)
    below = logits(condition, WAVEFORMS - step)
    change = (above - below) / 2
    predicted = gradient(condition) * step
    torch.testing.assert_close(predicted.sum(1), change.sum(1), rtol=0.02, atol=0.02)


@pytest.mark.parametrize("condition", (*CODECS, "white:20"))
def test_any_other_condition_passes_the_gradient_on(condition):
    expected = WEIGHT.sum(1)
    torch.testing.assert_close(gradient(condition), expected.expand(2, -1))


@pytest.mark.parametrize("condition", CODECS)
def test_codecs_have_no_delay(condition):
    """Otherwise the gradient would belong to other samples."""
    probe = np.convolve(RNG.uniform(-0.5, 0.5, 16000), np.ones(3) / 3, "same")
    sent = torch.from_numpy(probe)[None]
    received = changed(create_condition(condition), generators(), sent)
    spectrum = np.fft.rfft(received[0].numpy())
    products = np.fft.irfft(spectrum * np.fft.rfft(probe).conj())
    lags = np.arange(-4096, 4097)
    best = products[lags].argmax()
    assert abs(lags[best]) <= 1


def test_a_condition_that_moves_sounds_in_time_is_refused():
    effect = create_condition("cut:0.1")
    with input_error("moves sounds in time, so no attacked recording can pass it: use a codec or noise"):
        changed(effect, generators(), WAVEFORMS)
