"""The lines of a source: those of the whole recording, whatever the blocks, the holes and the speed."""

import gc
import json
import threading
import time
import tracemalloc

import numpy as np
import pytest
from builders import PATIENCE, input_error
from builders.live import WINDOW, expected, heard, judge_of, lines_of, session_of, windows
from hypothesis import given, settings
from hypothesis import strategies as st

from nes2net.apps.listen.listening import Block, Gone, Listening
from nes2net.lib.files import json_text
from nes2net.scoring.decisions import Decider, Evidence, load
from nes2net.scoring.stream import TimedWindow


@settings(max_examples=15)
@given(st.lists(st.integers(0, 24000), max_size=20), st.sampled_from([8000, 16000, 44100]), st.integers(3000, 24000))
def test_lines_do_not_depend_on_the_blocks(small, call, cuts, rate, length):
    samples = call[:, :length]
    blocks = np.split(samples, sorted(cut for cut in cuts if cut < length), axis=1)
    lines = heard(judge_of(small), (Block(block) for block in blocks), rate, ("a", "b"))
    for name, channel in zip("ab", samples):
        assert windows(lines, name) == expected(small, channel, rate)
    assert [line["channel"] for line in lines_of(lines, "end")] == ["a", "b"]
    assert all(line["seconds"] == pytest.approx(length / rate) for line in lines[-2:])


def test_keep_all_loses_no_window(judge, small, call, monkeypatch):
    scores = small.scores
    monkeypatch.setattr(small, "scores", lambda waveform, *arguments: (time.sleep(0.02), scores(waveform))[1])
    session = session_of(judge(), is_live=False)
    blocks = (Block(call[:1, first : first + 4000]) for first in range(0, 48000, 4000))
    longest = 0
    lines = []
    for line in Listening(session, blocks).lines():
        lines.append(line)
        longest = max(longest, len(session.channels[0].queue))
    assert windows(lines) == expected(small, call[0])
    assert longest <= 3
    assert lines[-1]["skipped"] == 0
    assert lines[-1]["lag"] is None
    assert lines[-1]["compute"]["median"] > 0.02


def test_keep_latest_scores_or_skips_each_window_once(judge, small, call, monkeypatch):
    """At most the windows of 0.5 s wait, however slowly they are scored."""
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
            yield Block(call[:1, first : first + 800])
        all_sent.set()

    lines = list(Listening(session, blocks()).lines())
    assert max(waiting) <= 2
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
    assert set(windows(lines)) <= set(expected(small, call[0]))


def test_the_evidence_of_a_call_equals_that_added_up_from_its_scores(judge, calls_it_spoof, call):
    lines = heard(judge(calls_it_spoof), [Block(call[:1])])
    evidence = Evidence(Decider(calls_it_spoof), WINDOW)
    for line in lines_of(lines, "score"):
        running = evidence.add(line["end"], line["score"], line["speech"] if line["speech"] >= 0.25 else 0.0)
        assert [line[key] for key in ("mean", "against", "alarm")] == [running.mean, running.against, running.alarm]
        spoken = "reason" not in line
        assert spoken == (line["speech"] >= 0.25)
        assert [line["llr"], line["probability"]] == ([running.llr, running.probability] if spoken else [None, None])


def test_alarms_begin_and_end_in_turn(judge, calls_it_spoof, call):
    alarms = lines_of(heard(judge(calls_it_spoof), [Block(call[:1])]), "alarm", "clear")
    events = [line["event"] for line in alarms]
    assert events[:1] == ["alarm"]
    assert alarms[0]["because"] == "probability"
    assert events == (["alarm", "clear"] * len(events))[: len(events)]


@pytest.mark.parametrize("kind", ["bonafide", "spoof"])
def test_hold_music_after_speech_raises_neither_trust_nor_alarm(judge, listen_folder, music, call, kind):
    judge = judge(load(listen_folder / f"{kind}.json"), window=2.0)
    before = heard(judge, [Block(call[:1])])[-1]
    lines = heard(judge, [Block(call[:1]), Block(music, 3.2)])
    of_music = [line for line in lines_of(lines, "score") if line["start"] >= 3.2]
    assert len(of_music) > 20
    assert all(line["probability"] is line["llr"] is None and line["reason"] for line in of_music)
    assert lines[-1]["mean"] == pytest.approx(before["mean"])
    assert lines[-1]["against"] == before["against"]
    assert [line["start"] >= 3.2 for line in lines_of(lines, "silence")].count(True) == 1


def test_the_rule_for_windows_without_speech_changes_no_other_window(judge, calls_it_spoof, music, call):
    """Windows without speech are weighed, skipped, or as others."""
    samples = np.concatenate([call[:1], music[:, :48000], call[1:]], axis=1)
    lines = {vad: heard(judge(calls_it_spoof, vad=vad), [Block(samples)]) for vad in ("weigh", "skip", "none")}
    scores = {vad: lines_of(of_vad, "score") for vad, of_vad in lines.items()}
    assert windows(lines["none"]) == windows(lines["weigh"])
    silent = ["reason" in line for line in scores["weigh"]]
    assert 3 < sum(silent) < len(silent) - 3
    for weighed, skipped, is_silent in zip(scores["weigh"], scores["skip"], silent, strict=True):
        assert skipped["score"] == (None if is_silent else weighed["score"])
        keys = ("speech", "llr", "probability", "mean", "against", "alarm", "reason")
        assert [skipped.get(key) for key in keys] == [weighed.get(key) for key in keys]
    assert not any("speech" in line or "reason" in line for line in lines["none"])
    assert lines["skip"][-1]["skipped"] == sum(silent)


def test_wrong_samples_end_a_call_after_its_last_lines(judge, small, call):
    wrong = call[:1, 16000:].copy()
    wrong[0, 8000] = np.nan
    listening = Listening(session_of(judge()), [Block(call[:1, :16000]), Block(wrong)])
    lines = []
    with input_error(r"the first at 1\.500 s"):
        for line in listening.lines():
            lines.append(line)
    assert windows(lines) == expected(small, call[0, :16000])
    assert lines[-1]["event"] == "end"


def test_ten_failed_windows_in_a_row_end_the_call(judge, small, call, monkeypatch):
    scores = small.scores
    calls = []

    def fail(waveform, *arguments):
        calls.append(waveform)
        return scores(waveform) * (np.nan if 2 <= len(calls) != 5 else 1)

    monkeypatch.setattr(small, "scores", fail)
    lines = []
    with input_error("10 windows in a row cannot be scored: .*nan"):
        for line in Listening(session_of(judge()), [Block(np.tile(call[:1], 2))]).lines():
            lines.append(line)
    failed = [line for line in lines if "error" in line]
    assert all(line["score"] is None and "nan" in line["error"] for line in failed)
    assert len(failed) == 12
    assert lines[-1]["failed"] == 13
    assert lines[-1]["windows"] == 2


def test_a_source_that_comes_back_is_one_stream_with_a_gap(judge, calls_it_spoof, call):
    """Also with the evidence, and with a window that was complete and not told."""
    before, behind = np.split(call[:1], [20000], axis=1)
    uninterrupted = heard(judge(calls_it_spoof), [Block(before), Block(behind, 3.5)])

    def goes():
        yield Block(before)
        raise Gone

    session = session_of(judge(calls_it_spoof))
    lines = []
    with pytest.raises(Gone):
        for line in Listening(session, goes()).lines():
            lines.append(line)
    lines += Listening(session, [Block(behind, 3.5)]).lines()
    for line in (*lines, *uninterrupted):
        for measured in ("lag", "compute", "real_time_factor"):
            line.pop(measured, None)
    assert json.loads(json_text(lines)) == uninterrupted


def test_stop_ends_a_source_that_waits(judge, small, call):
    arrived = threading.Event()

    def blocks():
        yield Block(call[:1])
        arrived.set()
        threading.Event().wait()

    session = session_of(judge())
    listening = Listening(session, blocks())
    threading.Thread(target=lambda: (arrived.wait(), time.sleep(0.05), listening.stop())).start()
    assert windows(list(listening.lines())) == expected(small, call[0])


def test_a_long_call_leaves_nothing_behind(calls_it_spoof, small, call):
    """After five minutes as after one, with all that is said of a window."""
    before = set(threading.enumerate())
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
            yield Block(block)

    listening = Listening(session, blocks())
    for _ in listening.lines():
        pass
    listening.wait(PATIENCE)
    tracemalloc.stop()  # Python may crash if another thread allocates meanwhile
    # Times of up to 1,000 windows are kept, some 100 bytes each. A line takes 1 kB; 200 windows lie in between.
    assert min(memory[150:]) - min(memory[40:60]) < 128 << 10
    assert not set(threading.enumerate()) - before
