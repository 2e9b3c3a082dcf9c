"""Tables of ids: scores and labels of other programs are read, or refused in the words of the table."""

import pytest
from builders import input_error

from nes2net.data.registry import corpora
from nes2net.scoring.judgement import ScoreFile
from nes2net.scoring.score_file import read_scores

#: Id → label of the trials in the files of labels.
TWO_LABELS = {"u1": "bonafide", "u2": "spoof"}


@pytest.fixture
def path(tmp_path):
    return tmp_path / "scores.txt"


def labels_by_id(trials):
    return {trial.id: trial.label for trial in trials}


@pytest.mark.parametrize("text", ['"a;b"\n"c";1\n', '"a,score"\n"b",1\n'])
def test_a_line_of_scores_whose_only_delimiter_is_in_quotes_is_refused_as_one_field(path, text):
    path.write_text(text)
    with input_error(r"line 1: expected 2 fields \(utterance score\), found 1"):
        read_scores(path)


@pytest.mark.parametrize("id", ["{a", "[a", "{a}", '{"a'])
def test_an_id_that_begins_like_json_is_read_as_an_id(path, id):
    path.write_text(f"{id} 0.5\n{id}2 1\n")
    assert read_scores(path)[0] == [id, f"{id}2"]


def test_a_space_in_an_id_is_written_as_percent_20_as_in_the_ids_of_trials(path):
    path.write_text('{"file": "a b.wav", "score": 1}\n')
    assert read_scores(path)[0] == ["a%20b.wav"]


@pytest.mark.parametrize(
    "text",
    [
        "a.wav -0,5\n",
        "a.wav\t-0,5\n",
        "a.wav;-0,5\n",
        'a.wav,"-0,5"\n',
        "file;score\na.wav;-0,5\n",
        "a.wav|spoof|-0,5\n",
    ],
)
def test_a_score_with_a_decimal_comma_is_refused(path, text):
    path.write_text(text)
    with input_error("expected a number as score, found '-0,5', with a decimal comma: write a point"):
        read_scores(path)


@pytest.mark.parametrize(
    "text, message",
    [
        ("filename,spoof_probability\na,0.5\n", "spoof_probability is of spoof, so negate its numbers$"),
        (
            "file;prob_fake\na;0.5\n",
            "semicolons.; rename one of its columns to score: prob_fake is of spoof, so negate",
        ),
        ("utt,logit_spoof,logit_bonafide\na,1,2\n", "score: logit_bonafide, higher for bona fide$"),
        ("utterance\tlogit_spoof\tlogit_bonafide\na\t1\t2\n", "score: logit_bonafide, higher for bona fide$"),
        ("utt logit_spoof logit_bonafide\na 1 2\n", "separated by white space.; .*: logit_bonafide, higher"),
        ("file,real_score,P(human),decision\na,1,2,real\n", r"score: real_score or p\(human\), higher"),
        ("wav,left,right\na,1,2\n", "score: wav or left or right, higher for bona fide$"),
        ('{"file": "a", "fake_prob": 0.5}\n', "separated by JSON.; .*: fake_prob is of spoof"),
        ("path,label\na.wav,spoof\n", "separated by commas.; rename one of its columns to score"),
    ],
)
def test_a_header_without_a_column_of_scores_is_refused_with_the_columns_to_rename(path, text, message):
    path.write_text(text)
    with input_error(f"scores.txt: no column of scores in the header .*{message}") as error:
        ScoreFile.of(path).judgement.scores(path)
    header = text.split("\n")[0]
    assert header.replace("\t", "\\t") in str(error.value)


def test_a_header_with_two_columns_of_scores_is_refused(path):
    path.write_text("file,cm_score,score\na,1,2\n")
    with input_error("several columns of scores in the header .*cm_score,score.*; rename or remove all but one"):
        read_scores(path)


@pytest.mark.parametrize(
    "text, message",
    [
        ('{"file": "a", "score": 1}\nb 2\n', "line 2: not a JSON object"),
        ('[{"file": "a", "score": 1}]\n', "line 1: not a JSON object .*write one object in each line"),
        ('{"s1": 1.5, "s2": -1.5}', "no key of files or scores in .*write one object in each line"),
        ('{"s1": 1.5, "s2": 0, "s3": 1}', "no key of files or scores in .*write one object in each line"),
        ('{\n "file": "a"\n}\n', "line 1: not a JSON object"),
        ('{"file": "a"}\n', "no key of files or scores in .*file.*write one object in each line"),
        ("[" * 2000, "nested more than 100 deep"),
    ],
)
def test_json_that_has_no_object_of_file_and_score_in_each_line_is_refused(path, text, message):
    path.write_text(text)
    with input_error(message):
        read_scores(path)


@pytest.mark.parametrize(
    "text",
    [
        "filename\tcm-label\nu1.flac\tbonafide\nu2.flac\tspoof\n",
        ",file,label\n0,u1.wav,bonafide\n1,u2.wav,spoof\n",
        "u1.mp3;bonafide\nu2.mp3;spoof\n",
        "u1 bonafide\nu2 spoof\n",
        "u1.wav\tReal\nu2.wav\tFake\n",
        "utt_id|key\nu1|genuine\nu2|deepfake\n",
        '{"file": "u1.wav", "label": "bonafide"}\n{"label": "spoof", "file": "u2.wav"}\n',
    ],
)
def test_a_file_of_labels_is_read_in_any_usual_form(path, text):
    path.write_text(text)
    assert labels_by_id(corpora.get("in_the_wild").keys(path)) == TWO_LABELS


@pytest.fixture
def labels(path):
    path.write_text("u1 bonafide\nu2 spoof\n")
    return path


def test_a_file_of_labels_is_read_as_the_key_of_every_corpus(labels):
    for name in corpora.names():
        assert labels_by_id(corpora.get(name).keys(labels)) == TWO_LABELS, name


def test_a_file_of_labels_is_read_whole_as_the_key_of_the_last_phase_of_every_corpus(labels):
    for name in corpora.names():
        corpus = corpora.get(name)
        phases = corpus.phases or corpus.splits
        assert labels_by_id(corpus.keys(labels, phases[-1])) == TWO_LABELS, name


def test_a_file_of_labels_without_phases_is_enough_for_the_default_phase(labels):
    """Even of a corpus whose parts are called otherwise, such as ADD 2022."""
    for name in corpora.names():
        assert labels_by_id(corpora.get(name).keys(labels, "eval")) == TWO_LABELS, name


def test_an_unknown_phase_is_refused_for_a_file_of_labels_of_every_corpus(labels):
    for name in corpora.names():
        with input_error("has no phase 'x'"):
            corpora.get(name).keys(labels, "x")


def test_a_file_of_labels_with_a_number_for_a_label_is_refused(path):
    path.write_text("u1 bonafide\nu2 1\n")
    with input_error("scores.txt, line 2: unknown label '1'; .*so write the words"):
        corpora.get("in_the_wild").keys(path)


def test_a_list_of_recordings_is_not_read_as_a_file_of_labels(tmp_path):
    """Its ids are paths without suffix, and recordings without a label are left out."""
    recordings = tmp_path / "list.csv"
    recordings.write_text("path,label\na.b.wav,real\nb,fake\nc.x,\n")
    assert [trial.id for trial in corpora.get("generic").keys(recordings)] == ["a.b", "b"]
