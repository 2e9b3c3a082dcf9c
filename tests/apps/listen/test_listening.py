"""The lines of a source: those of the whole recording, whatever the blocks, the holes and the speed."""

import gc
import json
import threading
import time
import tracemalloc
from types import SimpleNamespace

import numpy as np
import pytest
from builders import PATIENCE, input_error
from builders.live import WINDOW, expected, heard, judge_of, lines_of, session_of, windows
from hypothesis import given, settings
from hypothesis import strategies as st

from nes2net.apps.listen.listening import AudioBlock, Gone, Listening
from nes2net.lib.storage.files import json_text
from nes2net.scoring.decisions import Decider, Evidence, load
from nes2net.scoring.stream import TimedWindow


@settings(max_examples=8)
@given(st.lists(st.integers(0, 24000), max_size=20), st.sampled_from([8000, 16000, 44100]), st.integers(3000, 24000))
def test_lines_do_not_depend_on_how_the_samples_are_cut_into_blocks(small, call, cuts, rate, length):
    samples = call[:, :length]
    blocks = np.split(samples, sorted(cut for cut in cuts if cut < length), axis=1)
    lines = heard(judge_of(small), (AudioBlock(block) for block in blocks), rate, ("a", "b"))
    for name, channel in zip("ab", samples):
        assert windows(lines, name) == expected(small, channel, rate)
    assert [line["channel"] for line in lines_of(lines, "end")] == ["a", "b"]
    assert all(line["seconds"] == pytest.approx(length / rate) for line in lines[-2:])


def test_in_place_of_skipping_windows_the_reading_of_a_recording_pauses_while_they_are_scored(
    judge, small, call, monkeypatch
):
    scores = small.scores
    monkeypatch.setattr(small, "scores", lambda waveform, *arguments: (time.sleep(0.02), scores(waveform))[1])
    session = session_of(judge(), is_live=False)
    blocks = (AudioBlock(call[:1, first : first + 4000]) for first in range(0, 48000, 4000))
    longest = 0
    lines = []
    for line in Listening(session, blocks).lines():
        lines.append(line)
        longest = max(longest, len(session.channels[0].queue))
    assert windows(lines) == expected(small, call[0])
    assert longest <= 3


@pytest.fixture
def overtaken(judge, small, call, monkeypatch):
    """The lines of a call that is scored more slowly than it comes, and how many windows waited at each block."""
    scores = small.scores
    all_sent = threading.Event()
    monkeypatch.setattr(
        small, "scores", lambda waveform, *arguments: (all_sent.wait(PATIENCE), time.sleep(0.1), scores(waveform))[2]
    )

    session = session_of(judge(keep="latest", max_behind=0.5))
    waiting = []

    def blocks():
        for first in range(0, 48000, 800):
            waiting.append(sum(isinstance(item, TimedWindow) for item in tuple(session.channels[0].queue)))
            yield AudioBlock(call[:1, first : first + 800])
        all_sent.set()

    return list(Listening(session, blocks()).lines()), waiting


def test_with_keep_latest_no_more_windows_wait_than_end_within_max_behind(overtaken):
    """Here it is half a second, in which two windows end."""
    _, waiting = overtaken
    assert max(waiting) <= 2


def test_with_keep_latest_each_window_is_either_scored_or_skipped(overtaken, small, call):
    lines, _ = overtaken
    grid = {start: None for start, _, _ in expected(small, call[0])}
    counts = dict.fromkeys(grid, 0)
    for line in lines:
        if line["event"] == "score":
            counts[line["start"]] += 1
        elif line["event"] == "skipped":
            inside = [start for start in grid if line["start"] <= start <= line["end"] - WINDOW]
            assert len(inside) == line["windows"]
            for start in inside:
                counts[start] += 1
    assert set(counts.values()) == {1}
    assert lines[-1]["skipped"] > 0
    assert lines[-1]["windows"] + lines[-1]["skipped"] == len(grid)


def test_with_keep_latest_a_window_that_is_scored_has_the_score_of_its_own_samples(overtaken, small, call):
    lines, _ = overtaken
    scored = windows(lines)
    assert scored
    assert set(scored) <= set(expected(small, call[0]))


def test_the_evidence_of_a_call_equals_that_added_up_from_its_scores(judge, calls_it_spoof, call):
    """Each window counts by its share of speech, or not at all below a quarter."""
    lines = heard(judge(calls_it_spoof), [AudioBlock(call[:1])])
    evidence = Evidence(Decider(calls_it_spoof), WINDOW)
    assert windows(lines)
    for line in lines_of(lines, "score"):
        running = evidence.add(line["end"], line["score"], line["speech"] * (line["speech"] >= 0.25))
        assert [line[key] for key in ("mean", "against", "alarm")] == [running.mean, running.against, running.alarm]


def test_alarms_tell_that_the_probability_caused_them_and_begin_and_end_in_turn(judge, calls_it_spoof, call):
    alarms = lines_of(heard(judge(calls_it_spoof), [AudioBlock(call[:1])]), "alarm", "clear")
    assert alarms[0]["because"] == "probability"
    events = [line["event"] for line in alarms]
    assert len(events) > 2
    assert events == (["alarm", "clear"] * len(events))[: len(events)]


def test_hold_music_after_speech_does_not_change_the_evidence(judge, listen_folder, music, call):
    judge = judge(load(listen_folder / "bonafide.json"), window=2.0)
    before = heard(judge, [AudioBlock(call[:1])])[-1]
    lines = heard(judge, [AudioBlock(call[:1]), AudioBlock(music, 3.2)])
    of_music = [line for line in lines_of(lines, "score") if line["start"] >= 3.2]
    assert len(of_music) > 20
    assert lines[-1]["mean"] == pytest.approx(before["mean"])
    assert lines[-1]["against"] == before["against"]


@pytest.fixture
def heard_by_rule(judge, calls_it_spoof, music, call):
    """A function that hears speech, music and speech, with a rule for windows without speech; gives the lines."""
    samples = np.concatenate([call[:1], music[:, :48000], call[1:]], axis=1)
    return lambda vad: heard(judge(calls_it_spoof, vad=vad), [AudioBlock(samples)])


def test_a_window_with_speech_in_less_than_a_quarter_has_a_reason_in_place_of_a_probability(heard_by_rule):
    silent = [line for line in lines_of(heard_by_rule("weigh"), "score") if line["speech"] < 0.25]
    assert len(silent) > 3
    for line in silent:
        assert [line["llr"], line["probability"]] == [None, None]
        assert line["reason"]


def test_a_window_with_speech_in_a_quarter_of_it_has_a_probability_and_no_reason(heard_by_rule, calls_it_spoof):
    """The likelihood ratio is of the window's score, the probability of the mean of the call so far."""
    decider = Decider(calls_it_spoof)
    spoken = [line for line in lines_of(heard_by_rule("weigh"), "score") if line["speech"] >= 0.25]
    assert len(spoken) > 3
    for line in spoken:
        figures = [decider.llrs([line["score"]])[0], decider.probability(line["mean"])]
        assert [line["llr"], line["probability"]] == figures
        assert "reason" not in line


def test_by_the_rule_skip_only_the_scores_of_windows_without_speech_are_left_out(heard_by_rule):
    """All other figures are those of the rule `weigh`; the last line counts the skipped windows."""
    weighed_lines = lines_of(heard_by_rule("weigh"), "score")
    spoken = [line["score"] for line in weighed_lines if "reason" not in line]
    assert 3 < len(spoken) < len(weighed_lines) - 3
    *lines, last = heard_by_rule("skip")
    skipped_lines = lines_of(lines, "score")
    assert last["skipped"] == len(skipped_lines) - len(spoken)
    assert [line["score"] for line in skipped_lines if "reason" not in line] == spoken
    assert {line["score"] for line in skipped_lines if "reason" in line} == {None}
    for weighed, skipped in zip(weighed_lines, skipped_lines, strict=True):
        keys = ("speech", "llr", "probability", "mean", "against", "alarm", "reason")
        assert [skipped.get(key) for key in keys] == [weighed.get(key) for key in keys]


def test_by_the_rule_none_windows_are_scored_and_their_speech_is_not_measured(heard_by_rule):
    lines = heard_by_rule("none")
    assert windows(lines) == windows(heard_by_rule("weigh"))
    assert not any("speech" in line or "reason" in line for line in lines)


def test_a_block_with_nan_ends_a_call_after_the_windows_of_the_blocks_before_are_scored(judge, small, call):
    wrong = call[:1, 16000:].copy()
    wrong[0, 8000] = np.nan
    listening = Listening(session_of(judge()), [AudioBlock(call[:1, :16000]), AudioBlock(wrong)])
    lines = []
    with input_error(r"the first at 1\.500 s"):
        for line in listening.lines():
            lines.append(line)
    assert windows(lines) == expected(small, call[0, :16000])
    assert lines[-1]["event"] == "end"


@pytest.fixture
def failed_windows(judge, small, call, monkeypatch):
    """The lines of failed windows: of three around a scored one, and of those after it until the call ends."""
    scores = small.scores
    calls = []

    def fail(waveform, *arguments):
        calls.append(waveform)
        return scores(waveform) * (np.nan if 2 <= len(calls) != 5 else 1)

    monkeypatch.setattr(small, "scores", fail)
    lines = []
    with input_error("10 windows in a row cannot be scored: .*nan"):
        for line in Listening(session_of(judge()), [AudioBlock(np.tile(call[:1], 2))]).lines():
            lines.append(line)
    return [line for line in lines if "error" in line]


def test_the_last_line_of_a_call_counts_its_failed_windows(judge, small, call, monkeypatch):
    scores = small.scores
    factors = iter([np.nan, np.nan])
    monkeypatch.setattr(small, "scores", lambda waveform, *_: scores(waveform) * next(factors, 1))
    assert heard(judge(), [AudioBlock(call[:1])])[-1]["failed"] == 2


def test_ten_failed_windows_in_a_row_end_the_call_and_each_has_an_error_in_place_of_a_score(failed_windows):
    """Fewer do not end it: the three before the scored one are not among the ten."""
    assert len(failed_windows) == 12
    assert all(line["score"] is None and "nan" in line["error"] for line in failed_windows)


def test_a_source_that_is_lost_and_comes_back_has_the_lines_of_one_stream_with_a_gap(judge, calls_it_spoof, call):
    before, behind = np.split(call[:1], [20000], axis=1)
    uninterrupted = heard(judge(calls_it_spoof), [AudioBlock(before), AudioBlock(behind, 3.5)])

    def goes():
        yield AudioBlock(before)
        raise Gone

    session = session_of(judge(calls_it_spoof))
    lines = []
    with pytest.raises(Gone):
        for line in Listening(session, goes()).lines():
            lines.append(line)
    lines += Listening(session, [AudioBlock(behind, 3.5)]).lines()
    for line in (*lines, *uninterrupted):
        for measured in ("lag", "late", "compute", "real_time_factor"):
            line.pop(measured, None)
    assert json.loads(json_text(lines)) == uninterrupted


def test_stop_ends_listening_to_a_source_that_waits(judge, small, call):
    arrived = threading.Event()

    def blocks():
        yield AudioBlock(call[:1])
        arrived.set()
        threading.Event().wait()

    session = session_of(judge())
    listening = Listening(session, blocks())
    threading.Thread(target=lambda: (arrived.wait(), time.sleep(0.05), listening.stop())).start()
    assert windows(list(listening.lines())) == expected(small, call[0])


@pytest.mark.slow
def test_memory_does_not_grow_during_a_long_call(calls_it_spoof, small, call):
    """After five minutes as after one, with a calibration."""
    session = session_of(judge_of(small, Decider(calls_it_spoof), hop=1.0))
    (channel,) = session.channels
    block = np.tile(call[:1], 2)[:, :32000]
    memory = []

    def blocks():
        for number in range(180):
            if number == 30:  # behind what is imported and allocated once
                tracemalloc.start()
            give_up = time.monotonic() + PATIENCE
            while channel.queue and time.monotonic() < give_up:  # how many windows wait varies
                time.sleep(0.001)
            gc.collect()
            memory.append(tracemalloc.get_traced_memory()[0])
            yield AudioBlock(block)

    listening = Listening(session, blocks())
    for _ in listening.lines():
        pass
    listening.wait(PATIENCE)
    tracemalloc.stop()  # Python may crash if another thread allocates meanwhile
    # Times of up to 1,000 windows are kept, some 100 bytes each. A line takes 1 kB; 200 windows lie in between.
    assert min(memory[150:]) - min(memory[40:60]) < 128 << 10


@pytest.fixture
def clock(monkeypatch):
    """A clock that stands still until its time is changed."""
    clock = SimpleNamespace(now=1000.0)
    monkeypatch.setattr("nes2net.scoring.stream.monotonic", lambda: clock.now)
    monkeypatch.setattr("time.monotonic", lambda: clock.now)
    return clock


def judged_window(judge, clock, call, client_takes, computing_takes):
    """The line about a window whose second half comes, and is judged, after these seconds."""
    (channel,) = session_of(judge()).channels
    channel.take(call[0, :4000], None, None)
    clock.now += client_takes
    channel.take(call[0, 4000:8000], None, None)
    clock.now += computing_takes
    (line,) = channel.judge(channel.queue.popleft())
    return line


def test_the_lag_of_a_window_is_the_time_from_its_arrival_to_its_line(judge, clock, call):
    assert judged_window(judge, clock, call, 5.25, 0.5)["lag"] == pytest.approx(0.5)


def test_a_client_that_sends_slowly_is_late_by_the_time_that_it_took_too_long(judge, clock, call):
    """The second half of the window lasts 0.25 s."""
    assert judged_window(judge, clock, call, 5.25, 0.5)["late"] == pytest.approx(5.0)
