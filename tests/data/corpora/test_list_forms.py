"""Lists of other toolkits give the trials of the CSV list that says the same."""

import gzip
import json

import numpy as np
import pytest
import soundfile
from builders import input_error
from builders.files import write

from nes2net.data.audio.parts import RecordingPart
from nes2net.data.corpora import generic
from nes2net.data.corpora.generic import CORPUS
from nes2net.metrics.localisation import Segment


def lines_of_json(*objects):
    return "".join(f"{json.dumps(entry)}\n" for entry in objects)


def cut(id, file, label, duration=2.0, **changes):
    """A cut of Lhotse: all of a recording of 2 s, with a supervision."""
    sources = [{"type": "file", "channels": [0], "source": file}]
    recording = {"id": id, "sources": sources, "duration": 2.0}
    supervision = {"id": id, "speaker": "ann", "custom": {"label": label}}
    entry = {"id": id, "start": 0, "duration": duration, "channel": 0, "type": "MonoCut"}
    entry["recording"] = recording
    entry["supervisions"] = [supervision]
    return {**entry, **changes}


FIRST = {"audio_filepath": "a/1.wav", "duration": 2.0, "label": "real", "speaker": "ann", "id": "u1"}
SECOND = {"audio_filepath": "a/2.wav", "offset": 0, "label": "fake", "speaker": "ann", "id": "u2"}
NEMO = lines_of_json(FIRST, SECOND)
FIRST_CUT = cut("u1", "a/1.wav", "real")
SECOND_CUT = cut("u2", "a/2.wav", "fake")
CUTS = lines_of_json(FIRST_CUT, SECOND_CUT)
SPEECHBRAIN = """ID,duration,wav,label,speaker
u1,2.0,$data_root/a/1.wav,real,ann
u2,2.0,{data_root}/a/2.wav,fake,ann
"""
LISTS = {"train.jsonl": NEMO, "cuts.jsonl": CUTS, "speechbrain.csv": SPEECHBRAIN}
LISTS["metadata.jsonl"] = NEMO.replace("audio_filepath", "file_name")


@pytest.fixture
def expected(tmp_path):
    return [("u1", tmp_path / "a/1.wav", "bonafide", "ann"), ("u2", tmp_path / "a/2.wav", "spoof", "ann")]


def facts(trials):
    return [(trial.id, trial.path, trial.label, trial.speaker) for trial in trials]


@pytest.mark.parametrize("name", LISTS)
def test_lists_of_other_toolkits_give_trials_with_ids_paths_labels_and_speakers(tmp_path, expected, name):
    """NeMo, Lhotse, SpeechBrain, and the metadata.jsonl of `datasets`, given by the path of the list or of its folder."""
    path = write(tmp_path / name, LISTS[name])
    assert facts(CORPUS.trials(path)) == expected
    assert facts(CORPUS.trials(tmp_path)) == expected


def test_gzipped_cuts_of_lhotse_are_read(tmp_path, expected):
    path = tmp_path / "cuts.jsonl.gz"
    path.write_bytes(gzip.compress(CUTS.encode()))
    assert facts(CORPUS.trials(path)) == expected


def test_a_list_in_a_gzip_file_that_is_cut_off_is_refused(tmp_path):
    path = tmp_path / "cuts.jsonl.gz"
    path.write_bytes(gzip.compress(CUTS.encode())[:-9])
    with input_error("cut off"):
        CORPUS.trials(path)


def test_a_list_in_a_gzip_file_that_grows_beyond_the_limit_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("nes2net.lib.storage.text_files.MAX_BYTES", 1000)
    path = tmp_path / "cuts.jsonl.gz"
    path.write_bytes(gzip.compress(b" " * 2000))
    with input_error("1,000 bytes when decompressed"):
        CORPUS.trials(path)


@pytest.mark.parametrize("line", [b"{}\n", b"{}\r"])
def test_a_small_gzip_file_with_a_list_of_a_hundred_thousand_lines_is_refused(tmp_path, line):
    path = tmp_path / "cuts.jsonl.gz"
    path.write_bytes(gzip.compress(line * 100_001))
    with input_error("more than 100,000 lines"):
        CORPUS.trials(path)


def test_kaldi_lists_of_files_labels_and_speakers_are_joined_by_their_ids(tmp_path, expected):
    write(tmp_path / "wav.scp", "u1 a/1.wav\nu2 a/2.wav\n")
    write(tmp_path / "utt2label", "u2 fake\nu1 real\n")
    write(tmp_path / "utt2spk", "u1 ann\nu2 ann\n")
    assert facts(CORPUS.trials(tmp_path)) == expected


def test_a_kaldi_list_with_two_labels_of_one_id_is_refused(tmp_path):
    write(tmp_path / "wav.scp", "u1 a/1.wav\n")
    write(tmp_path / "utt2label", "u1 fake\nu1 real\n")
    with input_error(r"utt2label: 'u1' has different values, \['fake', 'real'\]"):
        CORPUS.trials(tmp_path)


def test_a_line_of_json_with_two_labels_is_refused(tmp_path):
    path = write(tmp_path / "train.jsonl", '{"path": "a.wav", "label": "fake", "label": "real"}\n')
    with input_error(r"train\.jsonl, line 1: 'label' has different values, \['fake', 'real'\]"):
        CORPUS.trials(path)


def test_two_keys_of_json_that_name_one_column_are_refused(tmp_path):
    path = write(tmp_path / "train.jsonl", '{"path": "a.wav", "Label": "fake", "label": "real"}\n')
    with input_error("train.jsonl, line 1: .*more than one column is called 'label'"):
        CORPUS.trials(path)


def test_a_tab_may_follow_the_id_in_a_kaldi_list(tmp_path):
    write(tmp_path / "wav.scp", "u1\ta b.wav\nu2 \t c.wav\n")
    assert [(trial.id, trial.path.name) for trial in CORPUS.trials(tmp_path)] == [("u1", "a b.wav"), ("u2", "c.wav")]


def test_a_list_in_the_folder_of_each_split_is_read(tmp_path):
    write(tmp_path / "train/metadata.jsonl", lines_of_json({"file_name": "1.wav", "label": "real"}))
    write(tmp_path / "test/wav.scp", "u2 2.wav\n")
    write(tmp_path / "test/utt2label", "u2 fake\n")
    expected = [("1", tmp_path / "train/1.wav", "train"), ("u2", tmp_path / "test/2.wav", "eval")]
    trials = CORPUS.trials(tmp_path)
    assert [(trial.id, trial.path, trial.phase) for trial in trials] == expected


NESTED = lines_of_json({**FIRST, "segments": [{"start": 1.0}]})
MIXED = lines_of_json(cut("u", "a.wav", "real", type="MixedCut"))
WITHOUT_FILE = lines_of_json({"id": "u", "label": "real"})
OBJECTS = [{"wav": "a.wav", "label": "real"}, {"wav": "b.wav", "label": "fake"}]
REFUSED = [
    ("a.json", json.dumps(OBJECTS), ["line 1", "write one object in each line"]),
    ("a.json", json.dumps(OBJECTS, indent=1), ["line 1", "not JSON from character 2", "write one object in each line"]),
    ("a.json", json.dumps(dict(enumerate(OBJECTS))), ["line 1", "write one object in each line"]),
    ("wav.scp", "u1 wav.ark:42\n", ["wav.scp, line 1", "archive"]),
    ("a.jsonl", NESTED, ["line 1", "segments"]),
    ("a.jsonl", MIXED, ["line 1", "MixedCut"]),
    ("a.jsonl", WITHOUT_FILE, ["expected a column 'path'"]),
]


@pytest.mark.parametrize("name, text, facts_of_message", REFUSED)
def test_lists_of_other_toolkits_that_name_no_audio_files_are_refused(tmp_path, name, text, facts_of_message):
    path = write(tmp_path / name, text)
    with input_error() as refused:
        CORPUS.trials(path)
    message = str(refused.value)
    assert [fact for fact in facts_of_message if fact not in message] == []


def test_a_command_in_a_kaldi_list_is_refused_and_not_run(tmp_path):
    owned = tmp_path / "owned"
    path = write(tmp_path / "wav.scp", f"u1 touch {owned} |\n")
    with input_error("wav.scp, line 1.*never run"):
        CORPUS.trials(path)
    assert not owned.exists()


def test_a_cut_of_lhotse_whose_source_is_a_command_is_refused(tmp_path):
    entry = cut("u", "touch owned", "real")
    entry["recording"]["sources"][0]["type"] = "command"
    path = write(tmp_path / "cuts.jsonl", lines_of_json(entry))
    with input_error("type 'command'"):
        CORPUS.trials(path)


def part_of_cut(tmp_path, **changes):
    """The part of the trial of a cut of a stereo recording, with these changes."""
    entry = cut("u", "a.wav", "real", **changes)
    entry["recording"]["sources"][0]["channels"] = [0, 1]
    (trial,) = CORPUS.trials(write(tmp_path / "cuts.jsonl", lines_of_json(entry)))
    return trial.part


def test_a_cut_of_lhotse_is_a_part_and_a_channel_of_its_recording(tmp_path):
    assert part_of_cut(tmp_path, start=0.5, duration=1.0, channel=1) == RecordingPart(0.5, 1.0, channel=1)


def test_a_cut_of_lhotse_of_a_mono_recording_names_no_channel(tmp_path):
    """So that it counts as the same recording as in a list without channels."""
    path = write(tmp_path / "cuts.jsonl", lines_of_json(cut("u", "a.wav", "real", start=0.5, duration=1.0)))
    assert CORPUS.trials(path)[0].part == RecordingPart(0.5, 1.0)


def test_the_channels_of_a_cut_of_lhotse_stand_in_the_order_of_its_source(tmp_path):
    entry = cut("u", "a.wav", "real", channel=1)
    entry["recording"]["sources"][0]["channels"] = [1, 0]
    (trial,) = CORPUS.trials(write(tmp_path / "cuts.jsonl", lines_of_json(entry)))
    assert trial.part.channel == 0


def test_an_offset_and_a_duration_of_nemo_name_a_part(tmp_path):
    path = write(tmp_path / "a.jsonl", lines_of_json({**FIRST, "offset": 1.5}))
    assert CORPUS.trials(path)[0].part == RecordingPart(1.5, 2.0)


def with_recording(**facts):
    entry = cut("u", "a.wav", "real")
    return {**entry, "recording": {**entry["recording"], **facts}}


SOURCE = cut("u", "a.wav", "real")["recording"]["sources"][0]
CHANGED = [
    (with_recording(transforms=[{"name": "Speed"}]), "transforms"),
    (with_recording(sources=[SOURCE, SOURCE]), "2 sources"),
    (with_recording(sources=[]), "0 sources"),
    (cut("u", "a.wav", "real", channel=[0, 1]), "channel"),
    (cut("u", "a.wav", "real", channel=2), "channel 2"),
    (cut("u", "a.wav", "real", tracks=[{"offset": 1}]), "tracks"),
]


@pytest.mark.parametrize("entry, fault", CHANGED)
def test_a_cut_of_lhotse_that_is_more_than_a_part_of_a_file_is_refused(tmp_path, entry, fault):
    path = write(tmp_path / "cuts.jsonl", lines_of_json(entry))
    with input_error(f"cuts.jsonl, line 1.*{fault}"):
        CORPUS.trials(path)


def trial_of(tmp_path, *facts, custom=None):
    """The trial of a cut with a supervision of these facts each."""
    entry = cut("u", "a.wav", "real", custom=custom)
    entry["supervisions"] = [{"speaker": "ann", "custom": custom} for custom in facts]
    (trial,) = CORPUS.trials(write(tmp_path / "cuts.jsonl", lines_of_json(entry)))
    return trial


def test_a_cut_of_lhotse_is_spoofed_if_one_of_its_supervisions_is(tmp_path):
    trial = trial_of(tmp_path, {"label": "real", "room": "hall"}, {"label": "fake", "room": "hall", "attack": "A01"})
    assert (trial.label, trial.speaker, trial.attack, trial.get("room")) == ("spoof", "ann", None, "hall")


def test_a_cut_of_lhotse_is_spoofed_if_only_its_supervision_says_so(tmp_path):
    assert trial_of(tmp_path, {"label": "fake"}, custom={"label": "real"}).label == "spoof"


def test_a_cut_of_lhotse_has_no_label_if_one_of_its_supervisions_has_none(tmp_path):
    assert trial_of(tmp_path, {"label": "real"}, {}).label is None


def test_a_cut_of_lhotse_with_an_unknown_label_beside_a_known_one_is_refused(tmp_path):
    with input_error("cuts.jsonl, line 1: unknown label 'odd'"):
        trial_of(tmp_path, {"label": "real"}, {"label": "odd"})


def test_a_kaldi_folder_with_a_file_of_segments_is_refused(tmp_path):
    write(tmp_path / "wav.scp", "r1 a.wav\n")
    write(tmp_path / "segments", "u1 r1 0.0 1.0\n")
    with input_error("cut the audio files"):
        CORPUS.trials(tmp_path)


def audacity_labels(folder):
    write(folder / "a.labels.txt", "0.25\t0.5\tfake\n")


def textgrid_of_praat(folder):
    textgrid = pytest.importorskip("praatio.textgrid")
    grid = textgrid.Textgrid()
    grid.addTier(textgrid.IntervalTier("labels", [(0.25, 0.5, "fake")], 0, 1))
    grid.save(str(folder / "a.TextGrid"), "long_textgrid", includeBlankSpaces=True)


def test_two_label_files_of_one_recording_are_refused(tmp_path):
    write(tmp_path / "list.csv", "path,label\na.wav,fake\n")
    audacity_labels(tmp_path)
    write(tmp_path / "a.TextGrid")
    with input_error("a.TextGrid: another file beside it labels the same recording"):
        generic.segments(tmp_path)


def test_labels_beside_a_recording_do_not_fit_a_part_that_begins_later(tmp_path):
    write(tmp_path / "list.csv", "path,label,start,end\na.wav,fake,0.25,0.75\n")
    audacity_labels(tmp_path)
    with input_error(r"a\.labels\.txt.*is a part.*RTTM"):
        generic.segments(tmp_path)


@pytest.mark.parametrize("write_labels", [audacity_labels, textgrid_of_praat])
def test_label_files_of_audacity_or_praat_give_the_segments_of_a_recording(tmp_path, write_labels):
    soundfile.write(tmp_path / "a.wav", np.zeros(16000, dtype=np.float32), 16000)
    write(tmp_path / "list.csv", "path,label\na.wav,fake\n")
    write_labels(tmp_path)
    fake_part = [Segment("bonafide", 0.0, 0.25), Segment("spoof", 0.25, 0.5), Segment("bonafide", 0.5, 1.0)]
    assert generic.segments(tmp_path) == {"a": fake_part}
