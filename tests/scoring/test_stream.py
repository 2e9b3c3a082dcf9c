"""Scores while the audio arrives: those of the whole, whatever the pushes, and what a hole changes."""

import gc
import math
import tracemalloc

import numpy as np
import pytest
import torch
from builders import golden, input_error
from conftest import seeded_detector
from numpy.testing import assert_array_equal

from nes2net.scoring.stream import SlidingWindows

WINDOW = 0.25
HOP = 0.1
OPTIONS = {"window": WINDOW, "hop": HOP}


def noise(seconds, rate=16000, channels=1, seed=0):
    """Noise (channels, N) whose loudness changes, so that its windows have different scores."""
    length = math.ceil(seconds * rate)
    loudness = np.repeat(np.random.default_rng(1).uniform(0.01, 0.3, 1 + length // 1000), 1000)[:length]
    return (np.random.default_rng(seed).standard_normal((channels, length)) * loudness).astype(np.float32)


def scored(stream, blocks):
    return [window for block in blocks for window in stream.push(block)] + stream.finish()


@pytest.mark.parametrize("case", golden.read("tracing/windows")["cases"], ids=lambda case: str(case["samples"]))
def test_windows_of_a_stream_are_those_counted_by_hand(case):
    """Where they begin, their length, and how many are complete before the end."""
    windows = SlidingWindows(case["window"], case["hop"])
    samples = np.arange(case["samples"], dtype=np.float32)
    cut_windows = [
        window for first in range(0, len(samples), 320) for window in windows.push(samples[first : first + 320])
    ]
    assert len(cut_windows) == case["complete_before_finish"]
    cut_windows += windows.finish()
    assert [window.start for window in cut_windows] == case["starts"]
    assert {len(window.samples) for window in cut_windows} == {case["length"]}


#: How a recording arrives → after how many samples it is cut.
CUTS = {
    "all at once": lambda length, rate: [],
    "20 ms": lambda length, rate: range(rate // 50, length, rate // 50),
    "random": lambda length, rate: sorted(np.random.default_rng(2).integers(0, length + 1, 20)),
    "one by one": lambda length, rate: range(1, length) if rate == 8000 else [],
}


@pytest.mark.parametrize("rate", [8000, 16000, 44100])
@pytest.mark.parametrize("seconds", [0.6 * WINDOW, WINDOW, 0.93])
@pytest.mark.parametrize("batch_size", [1, 3])
def test_scores_do_not_depend_on_the_sizes_of_the_blocks_pushed(spectral_detector, rate, seconds, batch_size):
    """To the last bit they are those of score_track on the whole, at its times."""
    samples = noise(seconds, rate, channels=2)
    track = spectral_detector.score_track(samples, rate, **OPTIONS, batch_size=batch_size)
    for name, cut in CUTS.items():
        stream = spectral_detector.stream(rate, **OPTIONS, batch_size=batch_size)
        windows = scored(stream, np.split(samples, cut(samples.shape[1], rate), axis=1))
        starts, _, scores = np.array(windows).T
        assert scores.astype(np.float32).tobytes() == track.scores.tobytes(), name
        assert_array_equal(starts + track.window / 2, track.times)


def test_a_window_is_scored_as_soon_as_it_is_complete(spectral_detector):
    samples = noise(1.0)[0]
    stream = spectral_detector.stream(16000, **OPTIONS)
    blocks_with_a_window = []
    for number in range(50):
        if stream.push(samples[number * 320 : (number + 1) * 320]):
            blocks_with_a_window.append(number)
    assert blocks_with_a_window == list(range(12, 50, 5))  # of 20 ms: those that hold 0.25 s, 0.35 s, …


def test_with_pre_emphasis_a_window_has_the_score_of_its_samples_alone(small_model):
    small_model["frontend"]["pre_emphasis"] = 0.97
    detector = seeded_detector(small_model)
    waveform = noise(0.9)[0]
    for window in scored(detector.stream(16000, **OPTIONS), np.split(waveform, 9)):
        samples = waveform[round(window.start * 16000) : round(window.end * 16000)]
        assert window.score == detector.score(samples, 16000)


def test_streams_do_not_disturb_each_other(spectral_detector):
    """Two interleaved streams read the channels of a recording from one buffer."""
    channels = noise(0.9, channels=2)
    alone = [scored(spectral_detector.stream(16000, **OPTIONS), [channel]) for channel in channels]
    streams = [spectral_detector.stream(16000, **OPTIONS) for _ in channels]
    scores_of_streams = [[], []]
    buffer = np.empty(480, np.float32)
    for first in range(0, channels.shape[1], 480):
        for stream, channel, windows in zip(streams, channels, scores_of_streams):
            buffer[:] = channel[first : first + 480]
            windows += stream.push(buffer)
    assert [windows + stream.finish() for windows, stream in zip(scores_of_streams, streams)] == alone
    assert alone[0] != alone[1]


@pytest.mark.parametrize("rate", [16000, 44100])
def test_no_window_spans_a_hole_of_seconds_in_the_stream(spectral_detector, rate):
    """The audio before and behind the hole has the windows of two recordings."""
    before = noise(0.62, rate)[0]
    behind = noise(0.5, rate, seed=1)[0]
    stream = spectral_detector.stream(rate, **OPTIONS, batch_size=2)
    windows = stream.push(before, time=100.0)
    windows += stream.push(behind, time=103.5) + stream.finish()
    expected = []
    for start, samples in ((100.0, before), (103.5, behind)):
        for window in scored(spectral_detector.stream(rate, **OPTIONS, batch_size=2), [samples]):
            expected.append((start + window.start, start + window.end, window.score))
    assert windows == expected


def test_audio_shorter_than_a_window_is_scored_only_at_the_end_of_the_stream(spectral_detector):
    """Before a hole in the stream it has no score."""
    short = noise(0.5 * WINDOW)[0]
    stream = spectral_detector.stream(16000, **OPTIONS)
    assert stream.push(short) + stream.push(short, time=1.0) == []
    (last,) = stream.finish()
    assert last.start == pytest.approx(1.0)
    assert last.end == pytest.approx(1.0 + len(short) / 16000, abs=1e-4)
    assert last.score == spectral_detector.score(short, 16000)


def test_zeros_fill_a_short_hole_in_the_stream(spectral_detector):
    """One of 0.1 s between the times of two blocks."""
    first, second = np.split(noise(0.8)[0], 2)
    filled = np.concatenate([first, np.zeros(1600, np.float32), second])
    expected = scored(spectral_detector.stream(16000, **OPTIONS), [filled])
    stream = spectral_detector.stream(16000, **OPTIONS)
    windows = stream.push(first, time=0.0) + stream.push(second, time=0.5)
    assert windows + stream.finish() == expected
    assert stream.filled == pytest.approx(0.1)


def test_a_clock_that_goes_back_a_little_changes_no_score(spectral_detector):
    samples = noise(0.8)[0]
    stream = spectral_detector.stream(16000, **OPTIONS)
    windows = stream.push(samples[:8000], time=0.0) + stream.push(samples[8000:], time=0.48)
    assert windows + stream.finish() == scored(spectral_detector.stream(16000, **OPTIONS), [samples])


def test_a_time_before_the_end_of_the_samples_pushed_so_far_is_refused(spectral_detector):
    stream = spectral_detector.stream(16000, **OPTIONS)
    samples = noise(0.4)[0]
    stream.push(samples, time=0.0)
    with input_error("is 0.200 s, but samples up to 0.400 s"):
        stream.push(samples, time=0.2)


@pytest.mark.parametrize(
    "value, message", [(np.nan, "NaN or infinite"), (-np.inf, "NaN or infinite"), (17, "reach 17")]
)
def test_a_block_of_impossible_samples_is_refused_without_effect_on_the_scores(spectral_detector, value, message):
    samples = noise(0.9, 8000)[0]
    stream = spectral_detector.stream(8000, **OPTIONS)
    windows = stream.push(samples[:4000])
    wrong = np.zeros(800)
    wrong[400:] = value
    with input_error(message):
        stream.push(wrong)
    windows += stream.push(samples[4000:]) + stream.finish()
    assert windows == scored(spectral_detector.stream(8000, **OPTIONS), [samples])


def test_impossible_samples_in_a_stream_are_refused_with_the_time_of_the_first(spectral_detector):
    stream = spectral_detector.stream(8000)
    stream.push(np.zeros(4000))
    with input_error(r"the first at 0\.550 s"):
        stream.push([0.0] * 400 + [np.nan] * 400)


@pytest.mark.parametrize(
    "block, message", [(np.zeros(9, np.int16), "whole numbers"), (np.zeros((320, 2)), "transpose")]
)
def test_a_block_of_another_type_or_shape_is_refused(spectral_detector, block, message):
    with input_error(message):
        spectral_detector.stream(8000).push(block)


def test_a_failed_window_loses_only_its_own_score(spectral_detector, monkeypatch):
    samples = noise(0.75)[0]
    expected = scored(spectral_detector.stream(16000, **OPTIONS), [samples])
    compute = spectral_detector.scores
    calls = []

    def fails_once(waveform, system_scores=None):
        calls.append(waveform)
        return compute(waveform) * (torch.nan if len(calls) == 3 else 1)

    monkeypatch.setattr(spectral_detector, "scores", fails_once)
    stream = spectral_detector.stream(16000, **OPTIONS)
    with input_error("score is nan"):
        stream.push(samples)
    assert stream.push(samples[:0]) + stream.finish() == expected[:2] + expected[3:]


def test_the_memory_of_a_stream_does_not_grow(spectral_detector):
    """It needs as much after forty seconds as after ten, with a window every ten seconds."""
    block = noise(2.0, 8000)[0]
    stream = spectral_detector.stream(8000, hop=10.0)

    def allocated_after(num_blocks):
        for _ in range(num_blocks):
            stream.push(block)
        gc.collect()
        return tracemalloc.get_traced_memory()[0]

    allocated_after(10)  # what is imported and allocated once
    tracemalloc.start()
    after_ten_seconds = allocated_after(5)
    after_forty_seconds = allocated_after(15)
    tracemalloc.stop()
    assert after_forty_seconds - after_ten_seconds < 64 << 10
