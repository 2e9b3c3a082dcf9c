"""A user's own recordings: lists and folders, their parts, and what is refused."""

from pathlib import Path

import numpy as np
import pytest
import soundfile
from builders import input_error
from builders.files import folder, write

from nes2net.data.corpora import generic
from nes2net.data.corpora.generic import CORPUS
from nes2net.data.corpora.protocol import NotFound
from nes2net.data.corpora.trial import Trial
from nes2net.metrics.localisation import Segment, write_rttm


@pytest.mark.parametrize(
    "name, path, split_column, separator", [("list.csv", "path", "split", ","), ("list.tsv", "file", "phase", "\t")]
)
def test_a_list_of_paths_gives_all_its_trials_or_those_of_a_split(tmp_path, name, path, split_column, separator):
    """The columns may be called path and split, or file and phase."""
    rows = "a/1.wav,Real,Ann,train,hall\nb/2 x.flac,fake,,test,\nc.wav,fake,,,\n"
    file = write(tmp_path / name, f"{path},label,speaker,{split_column},room\n{rows}".replace(",", separator))
    first = Trial("a/1", tmp_path / "a/1.wav", "bonafide", "Ann", phase="train", extra=(("room", "hall"),))
    second = Trial("b/2%20x", tmp_path / "b/2 x.flac", "spoof", phase="eval")
    third = Trial("c", tmp_path / "c.wav", "spoof")  # of every part
    for root in (file, tmp_path):
        assert CORPUS.trials(root) == [first, second, third]
        assert CORPUS.trials(root, "train") == [first, third]
        assert CORPUS.trials(root, "eval") == [second, third]


def test_a_list_of_claims_has_a_trial_for_each_person_and_recording(tmp_path):
    file = write(tmp_path / "list.csv", "file,speaker,key\na.wav,Ann,target\na.wav,Ben,nontarget\nb.wav,Ann,spoof\n")
    assert CORPUS.trials(file) == [
        Trial("Ann:a", tmp_path / "a.wav", "bonafide", "Ann", claim="target"),
        Trial("Ben:a", tmp_path / "a.wav", "bonafide", "Ben", claim="nontarget"),
        Trial("Ann:b", tmp_path / "b.wav", "spoof", "Ann", claim="spoof"),
    ]


@pytest.mark.parametrize(
    "row, message",
    [
        ("a.wav,Ann,maybe,real", "line 2: 'a' has the claim 'maybe': expected target, nontarget, spoof"),
        ("a.wav,,target,real", "line 2: 'a' is a claim without a speaker"),
        ("a.wav,Ann,target,fake", "line 2: 'a' is target and spoof at once"),
    ],
)
def test_a_claim_that_contradicts_its_row_is_refused(tmp_path, row, message):
    with input_error(message):
        CORPUS.trials(write(tmp_path / "list.csv", f"file,speaker,claim,label\n{row}\n"))


def test_a_list_may_lie_beside_the_folder_of_its_recordings(tmp_path):
    file = write(tmp_path / "list.csv", "path,label\na/1.wav,real\n")
    (trial,) = CORPUS.trials(folder(tmp_path / "audio"), protocols=file)
    assert trial.path == tmp_path / "audio/a/1.wav"


def test_the_paths_of_a_list_may_lead_out_of_its_folder(tmp_path):
    file = write(tmp_path / "mine.csv", "path,label\n/data/x.wav,spoof\n../y.wav,\n")
    assert [trial.path for trial in CORPUS.trials(file)] == [Path("/data/x.wav"), tmp_path / "../y.wav"]


def test_a_list_without_a_column_of_splits_gives_all_its_trials_for_every_split(tmp_path):
    file = write(tmp_path / "mine.csv", "path,label,id,attack\na.wav,spoof,utterance 1,A1\nb.wav,,,\n")
    trials = [Trial("utterance%201", tmp_path / "a.wav", "spoof", attack="A1"), Trial("b", tmp_path / "b.wav")]
    for split in ("train", "dev", "eval", "all"):
        assert CORPUS.trials(file, split) == trials


def test_the_only_split_of_a_list_without_a_column_of_splits_is_called_all(tmp_path):
    assert CORPUS.find_splits(write(tmp_path / "mine.csv", "path\na.wav\n")) == ("all",)


def test_the_only_list_of_a_folder_is_its_protocol(tmp_path):
    file = write(tmp_path / "mine.csv", "path\n")
    assert CORPUS.find_protocol(tmp_path) == file


def test_of_several_lists_of_a_folder_list_csv_is_its_protocol(tmp_path):
    write(tmp_path / "mine.csv", "path\n")
    assert write(tmp_path / "list.csv", "path\n") == CORPUS.find_protocol(tmp_path)


def test_a_note_names_the_lists_that_are_not_read_beside_the_one_with_a_usual_name(tmp_path, capsys):
    for name in ("mine.csv", "metadata.csv", "cuts.jsonl"):
        write(tmp_path / name, "path\na.wav\n")
    CORPUS.trials(tmp_path)
    note = f"{tmp_path / 'metadata.csv'} is read, and not {tmp_path / 'cuts.jsonl'}, {tmp_path / 'mine.csv'}\n"
    assert capsys.readouterr().err.endswith(note)


@pytest.mark.parametrize(
    "header, field",
    [("path\tsentence\tlabel", '"Hi'), ('"path"\t"sentence"\t"label"', '"""Hi"')],
)
def test_quotation_marks_between_tabs_belong_to_the_text_unless_the_header_has_any(tmp_path, header, field):
    """A sentence may begin with a quotation mark, and a later one end with one."""
    rows = [f"a.wav\t{field}\tspoof", "b.wav\tHo\tspoof", 'c.wav\tHe"\treal']
    trials = CORPUS.trials(write(tmp_path / "list.tsv", [header, *rows]))
    assert [(trial.id, trial.label) for trial in trials] == [("a", "spoof"), ("b", "spoof"), ("c", "bonafide")]
    assert trials[0].get("sentence") == '"Hi'


def test_blanks_around_the_fields_of_a_list_are_skipped(tmp_path):
    file = write(tmp_path / "list.csv", 'ID, duration, wav, label\nu1, 3.0, "a,b.wav", real\nu2 , 3.0, c.wav , fake\n')
    trials = [(trial.id, trial.path.name, trial.label) for trial in CORPUS.trials(file)]
    assert trials == [("u1", "a,b.wav", "bonafide"), ("u2", "c.wav", "spoof")]


def test_a_corpus_joins_the_lists_and_folders_of_its_splits(tmp_path):
    write(tmp_path / "train.csv", "path,label\na.wav,real\n")
    write(tmp_path / "test.csv", "path,label,split\nb.wav,fake,eval\nsub/c.wav,real,eval\n")
    write(tmp_path / "validation/fake/d.wav")
    expected = [("a", "train"), ("validation/fake/d", "dev"), ("b", "eval"), ("sub/c", "eval")]
    assert [(t.id, t.phase) for t in CORPUS.keys(tmp_path)] == expected
    assert [(t.id, t.phase) for t in CORPUS.trials(tmp_path)] == expected


@pytest.mark.parametrize(
    "prefix, split, phase", [("", "all", None), ("train/", "train", "train"), ("test/", "eval", "eval")]
)
def test_folders_named_after_labels_give_trials_with_files_labels_attacks_and_phases(tmp_path, prefix, split, phase):
    for name in ("Real/b.wav", "Real/a.flac", "fake/vits/z 1.mp3", "fake/y.wav"):
        write(tmp_path / f"{prefix}{name}")
    trials = CORPUS.trials(tmp_path, split)
    assert [(t.id, t.label, t.attack) for t in trials] == [
        (f"{prefix}Real/a", "bonafide", None),
        (f"{prefix}Real/b", "bonafide", None),
        (f"{prefix}fake/vits/z%201", "spoof", "vits"),
        (f"{prefix}fake/y", "spoof", None),
    ]
    assert {t.phase for t in trials} == {phase}
    for t in trials:
        assert t.path.is_file()


@pytest.mark.parametrize("delimiter", [",", ";", "|", "\t"])
def test_a_list_is_read_whatever_its_delimiter(tmp_path, delimiter):
    text = "utt_id,file_path,label\nx,a.wav,pristine\ny,b.wav,generated\n"
    path = write(tmp_path / "list.csv", text.replace(",", delimiter))
    trials = [(trial.id, trial.path, trial.label) for trial in CORPUS.trials(path)]
    assert trials == [("x", tmp_path / "a.wav", "bonafide"), ("y", tmp_path / "b.wav", "spoof")]


@pytest.mark.parametrize(
    "text, message",
    [
        ("name,label\na,spoof\n", "line 1: expected a column 'path' .* found 'name,label'"),
        ("path,label\na.wav\n", r"line 2: expected 2 fields \(path, label\), found 1: 'a.wav'"),
        ("path,label\n\n,spoof\n", "line 3: ',spoof' names no file; write the path"),
        ("\npath,label\n\na.wav,x\n", "line 4: unknown label 'x'"),
        (
            "path,label,extra\na.wav,spoof,x\n",
            "line 1: a column is named 'extra', a name that nes2net uses itself; rename or remove it",
        ),
        ('path,label\na.wav,spoof\nb.wav,"' + "x" * 140_000, r"line 3: not a row of a CSV file \(field larger"),
        ('path,label,room\na.wav,spoof,"hall\nb.wav,spoof,hall\n', r"line 2: not a row of a CSV file \(unexpected end"),
        (
            'path,label,room\na.wav,spoof,"hall\nb.wav,real,hall\nc.wav,real,hall"\n',
            "line 2: quotation marks join the lines 2 to 4, each of which would be a row",
        ),
        ("path,label,split\na.wav,spoof,holdout\n", "line 2: unknown split 'holdout'; expected one of train"),
        (
            "path,label\na.wav,spoof\na.flac,spoof\n",
            "1 utterance more than once: a; .*a.wav and .*a.flac share the id 'a'",
        ),
        ("path,label\na.wav,1\n", "line 2: unknown label '1'; .* numbers do not say which class is bona fide"),
        ("path,label\n$ROOT/a.wav,real\n", r"line 2: '\$ROOT/a.wav' begins with a variable, which is not replaced"),
        ("path,label\na\x1b[2J.wav,spoof\n", r"the id 'a\\x1b\[2J' holds control characters, which a terminal may"),
    ],
)
def test_a_malformed_list_of_ones_own_is_refused_with_its_name_and_fault(tmp_path, text, message):
    with input_error(message) as error:
        CORPUS.trials(write(tmp_path / "list.csv", text))
    assert "list.csv" in str(error.value)


def test_a_folder_without_recordings_or_lists_is_refused(tmp_path):
    with pytest.raises(NotFound, match="no folders of classes, and no list of trials .*; give a CSV file"):
        CORPUS.trials(tmp_path)


def test_a_split_that_a_list_lacks_is_refused_with_the_splits_that_it_has(tmp_path):
    file = write(tmp_path / "list.csv", "path,label,split\na.wav,real,train\nb.wav,real,eval\n")
    with input_error("no trials in phase 'dev'; the key has eval, train"):
        CORPUS.trials(file, "dev")


def test_two_folders_whose_names_stand_for_one_label_are_refused(tmp_path):
    folder(tmp_path / "real")
    folder(tmp_path / "human")
    with input_error("both human and real stand for bonafide; rename or remove one"):
        CORPUS.trials(tmp_path)


@pytest.mark.parametrize("levels", ["{}/a.wav", "{}/vits/a.wav", "vits/{}/a.wav"])
def test_folders_of_parts_may_lie_below_the_folders_of_classes(tmp_path, levels):
    for split_folder in ("train", "Val", "test"):
        for label in ("real", "fake"):
            write(tmp_path / label / levels.format(split_folder))
    assert CORPUS.find_splits(tmp_path) == ("train", "dev", "eval")
    spoof, bonafide = CORPUS.trials(tmp_path, "dev")
    assert bonafide.path == tmp_path / "real" / levels.format("Val")
    assert spoof.attack == ("vits" if "vits" in levels else None)


def test_recordings_outside_of_the_folders_of_parts_are_refused(tmp_path):
    write(tmp_path / "real/a.wav")
    write(tmp_path / "fake/test/b.wav")
    with input_error("some recordings lie in folders of parts, such as train, but not .*a.wav; move all"):
        CORPUS.trials(tmp_path)


def test_folders_of_classes_outside_of_the_root_are_refused(tmp_path):
    write(tmp_path / "lists/real/a.wav")
    with input_error("lists: holds recordings in folders of classes: give it as `root`, without `protocols`"):
        CORPUS.trials(folder(tmp_path / "audio"), protocols=tmp_path / "lists")


PARTS = [Segment("bonafide", 0.0, 0.3), Segment("spoof", 0.3, 0.45), Segment("bonafide", 0.45, 1.0)]


@pytest.fixture
def dev_list(tmp_path):
    """The folder of a list whose recordings of dev are there."""
    rows = "sub/a b.wav,spoof,dev\nb.wav,real,dev\nc.wav,fake,dev\nd.wav,,dev\ne.wav,fake,train\n"
    write(tmp_path / "list.csv", f"path,label,split\n{rows}")
    for number, file in enumerate(("sub/a b.wav", "b.wav", "c.wav", "d.wav")):
        soundfile.write(write(tmp_path / file), np.full(8000 + 80 * number, 0.1), 8000)
    return tmp_path


SPOOFED_PART = {"sub/a b": [("fake", 0.3, 0.45)]}


@pytest.mark.parametrize("name", ["list.rttm", "segments.rttm", "dev.rttm", "validation.rttm"])
def test_segments_are_read_from_the_rttm_file_beside_the_list(dev_list, name):
    """It is named after the list, a split or `segments`."""
    write_rttm(dev_list / name, SPOOFED_PART)
    for root in (dev_list, dev_list / "list.csv"):
        assert generic.segments(root, "dev")["sub/a%20b"] == PARTS


def test_one_segment_of_its_label_spans_a_recording_that_the_rttm_file_lacks(dev_list):
    write_rttm(dev_list / "list.rttm", SPOOFED_PART)
    segments = generic.segments(dev_list, "dev")
    assert segments["b"] == [Segment("bonafide", 0.0, 1.01)]
    assert segments["c"] == [Segment("spoof", 0.0, 1.02)]


def test_a_recording_without_a_label_that_the_rttm_file_lacks_gets_no_segments(dev_list):
    write_rttm(dev_list / "list.rttm", SPOOFED_PART)
    assert set(generic.segments(dev_list, "dev")) == {"sub/a%20b", "b", "c"}


@pytest.fixture
def list_folder(tmp_path):
    """A folder with lists of train and dev, each of one recording that is not there, and their durations."""
    for split, label in (("train", "fake"), ("dev", "real")):
        write(tmp_path / f"{split}.csv", f"path,label\n{split}.wav,{label}\n")
    write(tmp_path / "reco2dur", "train 1.0\ndev 2.0\n")
    return tmp_path


def test_a_missing_rttm_file_of_segments_is_refused_with_the_file_names_that_were_sought(list_folder):
    with pytest.raises(NotFound, match=r"RTTM of the segments not found; looked for .*train\.rttm, .*segments\.rttm"):
        generic.segments(list_folder, "train")


def test_the_durations_of_recordings_that_are_not_there_are_read_from_reco2dur(list_folder):
    write_rttm(list_folder / "segments.rttm", {"train": PARTS})
    assert generic.segments(list_folder, "train") == {"train": PARTS}
    assert generic.segments(list_folder, "dev") == {"dev": [Segment("bonafide", 0.0, 2.0)]}


def test_segments_that_contradict_the_label_of_their_recording_in_the_list_are_refused(list_folder):
    write_rttm(list_folder / "segments.rttm", {"dev": [("spoof", 0.5, 1.0)], "devv": []})
    with input_error(r"segments\.rttm: 1 utterance has another label .*dev .bonafide, some of it"):
        generic.segments(list_folder, "dev")


def test_segments_of_an_utterance_that_the_list_lacks_are_refused(list_folder):
    write_rttm(list_folder / "segments.rttm", {"trian": PARTS})
    with input_error(r"segments\.rttm: 1 utterance is not in the list: trian"):
        generic.segments(list_folder, "train")
