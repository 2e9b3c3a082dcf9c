"""Scores while the audio arrives: those of the whole, whatever the pushes, and what a hole changes."""

import gc
import json
import math
import tracemalloc
import weakref

import numpy as np
import pytest
import torch
from builders import golden
from conftest import seeded_detector
from hypothesis import given, settings
from hypothesis import strategies as st

from nes2net import InputError, decisions
from nes2net.data.audio.blocks import push_all
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


@settings(max_examples=100)
@given(st.lists(st.integers(0, 25), min_size=1, max_size=12), st.integers(1, 30), st.integers(1, 40))
def test_windows_do_not_depend_on_the_pieces_pushed(lengths, length, hop):
    """For any pieces there is a window every hop, and the last one ends with the recording."""
    end = sum(lengths)
    whole = np.arange(end, dtype=np.float32)
    windows = list(push_all(np.split(whole, np.cumsum(lengths)[:-1]), SlidingWindows(length, hop)))
    starts = list(range(0, end - length + 1, hop)) or [0]
    starts += [end - length] if starts[-1] + length < end else []
    assert [window.start for window in windows] == starts
    for window in windows:
        np.testing.assert_array_equal(window.samples, whole[window.start : window.start + length])


@pytest.mark.parametrize("case", golden.read("tracing/windows")["cases"], ids=lambda case: str(case["samples"]))
def test_windows_are_the_golden_ones(case):
    windows = SlidingWindows(case["window"], case["hop"])
    whole = np.arange(case["samples"], dtype=np.float32)
    found = [window for first in range(0, len(whole), 320) for window in windows.push(whole[first : first + 320])]
    assert len(found) == case["complete_before_finish"]
    found += windows.finish()
    assert [window.start for window in found] == case["starts"]
    assert {len(window.samples) for window in found} == {case["length"]}


def test_at_most_two_windows_and_a_block_are_held():
    def blocks():
        for number in range(200):
            made.append(weakref.ref(block := np.full(1000, number, np.float32)))
            yield block
            assert sum(ref() is not None for ref in made) <= 10

    for hop, starts in ((500, range(0, 196_001, 500)), (150_000, (0, 150_000, 196_000))):
        made = []
        found = []
        for start, samples, _ in push_all(blocks(), SlidingWindows(4000, hop)):
            assert (samples.size if samples.base is None else samples.base.size) <= 2 * 4000 + 1000
            np.testing.assert_array_equal(samples, np.arange(start, start + 4000) // 1000)
            found.append(start)
        assert found == list(starts)


@pytest.mark.parametrize("rate", [8000, 16000, 44100, 48000])
@pytest.mark.parametrize("seconds", [0.6 * WINDOW, WINDOW, 0.93])
@pytest.mark.parametrize("batch_size", [1, 3])
def test_scores_do_not_depend_on_the_pushes(spectral_detector, rate, seconds, batch_size):
    """They are those of the whole by score_track, to the last bit, and so is the remark."""
    whole = noise(seconds, rate, channels=2)
    track = spectral_detector.score_track(whole, rate, **OPTIONS, batch_size=batch_size)
    others = spectral_detector.score_track(whole, rate, **OPTIONS, batch_size=4 - batch_size)
    np.testing.assert_allclose(others.scores, track.scores, rtol=0, atol=1e-5)
    length = whole.shape[1]
    cuts = {
        "all at once": [],
        "20 ms": range(rate // 50, length, rate // 50),
        "random": sorted(np.random.default_rng(2).integers(0, length + 1, 20)),
        "one by one": range(1, length, 1) if rate == 8000 else [],
    }
    for name, places in cuts.items():
        stream = spectral_detector.stream(rate, **OPTIONS, batch_size=batch_size)
        windows = scored(stream, np.split(whole, places, axis=1))
        starts, ends, scores = np.array(windows).T
        assert scores.astype(np.float32).tobytes() == track.scores.tobytes(), name
        np.testing.assert_array_equal(starts + track.window / 2, track.times)
        assert ends[-1] == track.duration
        assert stream.remark == track.remark


def test_a_score_is_that_of_the_window_alone_and_comes_when_it_is_complete(spectral_detector):
    whole = noise(1.0)[0]
    stream = spectral_detector.stream(16000, **OPTIONS)
    for number in range(50):
        windows = stream.push(whole[number * 320 : (number + 1) * 320])
        arrived = (number + 1) * 0.02
        assert len(windows) == (arrived >= WINDOW - 1e-9 and number % 5 == 2)
        for window in windows:
            first = round(window.start * 16000)
            assert window.end - window.start == pytest.approx(WINDOW)
            assert arrived - 0.02 < window.end <= arrived + 1e-9
            assert window.score == spectral_detector.score(whole[first : first + 4000], 16000)


def test_a_score_with_pre_emphasis_is_that_of_the_window_alone(small_model):
    small_model["frontend"]["pre_emphasis"] = 0.97
    detector = seeded_detector(small_model)
    whole = noise(0.9)[0]
    for window in scored(detector.stream(16000, **OPTIONS), np.split(whole, 9)):
        samples = whole[round(window.start * 16000) : round(window.end * 16000)]
        assert window.score == detector.score(samples, 16000)
    short = whole[:1000]
    assert scored(detector.stream(16000, **OPTIONS), [short])[0].score == detector.score(short, 16000)


def test_a_stream_goes_on_in_another_process_by_its_time_and_evidence(spectral_detector):
    """As plain data between the two, they are one stream with a gap, to the last bit."""
    decider = decisions.Decider(decisions.fit([1.0, 0.5, 0.3, -0.1], [-1.0, -0.5, -0.2, 0.2]))
    before, behind = np.split(noise(1.6)[0], 2)

    def running(stream, evidence, pushes):
        windows = [window for samples, time in pushes for window in stream.push(samples, time)]
        return [evidence.add(end, score) for _, end, score in windows]

    stream = spectral_detector.stream(16000, **OPTIONS)
    evidence = decisions.Evidence(decider, WINDOW)
    expected = running(stream, evidence, [(before, 0.0), (behind, 2.0)])
    first = spectral_detector.stream(16000, **OPTIONS)
    evidence = decisions.Evidence(decider, WINDOW)
    told = running(first, evidence, [(before, 0.0)])
    for _, end, score in first.finish():
        told.append(evidence.add(end, score))
    saved = json.dumps({"now": first.now, "evidence": evidence.state()})
    state = json.loads(saved)
    evidence = decisions.Evidence.from_state(state["evidence"], decider, WINDOW)
    told += running(spectral_detector.stream(16000, **OPTIONS), evidence, [(behind, state["now"] + 1.2)])
    assert told == expected


def test_streams_do_not_disturb_each_other(spectral_detector):
    """Interleaved, with a channel each of a recording, and a buffer that is used again."""
    channels = noise(0.9, channels=2)
    alone = [scored(spectral_detector.stream(16000, **OPTIONS), [channel]) for channel in channels]
    streams = [spectral_detector.stream(16000, **OPTIONS) for _ in channels]
    found = [[], []]
    buffer = np.empty(480, np.float32)
    for first in range(0, channels.shape[1], 480):
        for stream, channel, windows in zip(streams, channels, found):
            buffer[:] = channel[first : first + 480]
            windows += stream.push(buffer)
    assert [windows + stream.finish() for windows, stream in zip(found, streams)] == alone
    assert alone[0] != alone[1]


@pytest.mark.parametrize("rate", [16000, 44100])
def test_no_window_spans_a_hole(spectral_detector, rate):
    before = noise(0.62, rate)[0]
    behind = noise(0.5, rate, seed=1)[0]
    stream = spectral_detector.stream(rate, **OPTIONS, batch_size=2)
    windows = stream.push(before, time=100.0) + stream.push(behind, time=103.5) + stream.finish()
    expected = []
    for start, samples in ((100.0, before), (103.5, behind)):
        for window in scored(spectral_detector.stream(rate, **OPTIONS, batch_size=2), [samples]):
            expected.append((start + window.start, start + window.end, window.score))
    assert windows == expected
    # What is shorter than a window has a score at the end of the stream alone.
    short = noise(0.5 * WINDOW, rate)[0]
    stream = spectral_detector.stream(rate, **OPTIONS)
    assert stream.push(short) + stream.push(short, time=1.0) == []
    (last,) = stream.finish()
    assert last == pytest.approx((1.0, 1.0 + len(short) / rate, spectral_detector.score(short, rate)), abs=1e-4)
    assert last.score == spectral_detector.score(short, rate)


def test_zeros_fill_a_short_hole_and_time_does_not_go_back(spectral_detector):
    first, second = np.split(noise(0.8)[0], 2)
    filled = np.concatenate([first, np.zeros(1600, np.float32), second])
    expected = scored(spectral_detector.stream(16000, **OPTIONS), [filled])
    stream = spectral_detector.stream(16000, **OPTIONS)
    windows = stream.push(first, time=0.0) + stream.push(second[:800], time=0.5)
    for time, message in ((0.4, r"goes back to 0.400 s, behind which 0.550 s"), (math.nan, "number of seconds")):
        with pytest.raises(InputError, match=message):
            stream.push(second[800:], time=time)
    windows += stream.push(second[800:], time=0.48)  # a clock that goes back a little
    assert windows + stream.finish() == expected
    assert stream.filled == pytest.approx(0.1)


def test_what_is_not_audio_is_refused_by_its_time_and_not_taken(spectral_detector):
    whole = noise(0.9, 8000)[0]
    stream = spectral_detector.stream(8000, **OPTIONS)
    windows = stream.push(whole[:4000])
    for value, message in ((np.nan, "NaN or infinite"), (-np.inf, "NaN or infinite"), (17, "reach 17")):
        wrong = np.zeros(800)
        wrong[400:] = value
        with pytest.raises(InputError, match=rf"the stream .*{message} samples \(|.*{message} \(") as raised:
            stream.push(wrong)
        assert "the first at 0.550 s" in str(raised.value)
        with pytest.raises(InputError, match=r"the first at 60\.050 s"):
            stream.push(np.stack([np.zeros(800), wrong]), time=60.0)
    for wrong, message in ((np.zeros(9, np.int16), "whole numbers"), (np.zeros((320, 2)), "transpose")):
        with pytest.raises(InputError, match=message):
            stream.push(wrong)
    assert stream.push(np.zeros(0)) == []
    windows += stream.push(whole[4000:]) + stream.finish()
    assert windows == scored(spectral_detector.stream(8000, **OPTIONS), [whole])
    with pytest.raises(InputError, match="finished"):
        stream.push(whole)
    assert stream.finish() == []
    assert spectral_detector.stream(8000).finish() == []
    for rate, message in ((None, "number of Hz"), ("8000", "number of Hz"), (10, "1,000 to 1,000,000 Hz")):
        with pytest.raises(InputError, match=message):
            spectral_detector.stream(rate)


def test_a_failed_window_costs_its_own_score(spectral_detector, monkeypatch):
    whole = noise(0.75)[0]
    expected = scored(spectral_detector.stream(16000, **OPTIONS), [whole])
    compute = spectral_detector.scores
    calls = []

    def fails_once(waveform, system_scores=None):
        calls.append(waveform)
        return compute(waveform) * (torch.nan if len(calls) == 3 else 1)

    monkeypatch.setattr(spectral_detector, "scores", fails_once)
    stream = spectral_detector.stream(16000, **OPTIONS)
    with pytest.raises(InputError, match="score is nan"):
        stream.push(whole)
    assert stream.push(whole[:0]) + stream.finish() == expected[:2] + expected[3:]


def test_memory_does_not_grow(spectral_detector):
    """After ten minutes as after one, also with a window a minute."""
    block = noise(2.0, 8000)[0]
    for hop in (5.0, 60.0):
        stream = spectral_detector.stream(8000, hop=hop)
        held = []
        for _ in range(30):
            stream.push(block)  # what is imported and allocated once
        tracemalloc.start()
        for number in range(300):
            stream.push(block)
            if number in (29, 299):
                gc.collect()
                held.append(tracemalloc.get_traced_memory()[0])
        tracemalloc.stop()
        assert held[1] - held[0] < 64 << 10
