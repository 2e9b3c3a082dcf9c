"""Score files: accepted ids and scores are read back exactly, and all others are refused."""

from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from builders import input_error
from builders.scored import score_trials
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

from nes2net.data.corpora.trial import Trial
from nes2net.lib.errors import InputError
from nes2net.scoring.judgement import scores_of
from nes2net.scoring.score_file import check_ids, read_scores, write_scores

# White space and line separators of every kind, characters that look like them, and those with a
# meaning in other formats.
UNUSUAL = (
    " \t\n\r\v\f\x1c\x1d\x1e\x1f\x85\xa0\u1680\u2003\u2028\u2029\u202f\u3000\ufeff"
    "\u200b\u2060\0\x1a\"'#%,;\\[]{}ä語\ud800"
)
IDS = st.text(st.one_of(st.sampled_from(UNUSUAL), st.characters()), max_size=6)
SCORES = st.floats(allow_nan=False)


@pytest.fixture(scope="module")
def path(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("scores") / "scores.txt"


def is_accepted(id: str) -> bool:
    with suppress(InputError):
        check_ids([id])
        return True
    return False


@given(st.lists(st.tuples(IDS, SCORES), max_size=8, unique_by=lambda pair: pair[0]))
def test_accepted_ids_and_their_scores_are_read_back_exactly(path, pairs):
    pairs = {id: score for id, score in pairs if is_accepted(id)}
    write_scores(path, pairs, pairs.values())
    ids, scores = read_scores(path)
    assert ids == list(pairs)
    assert scores.tobytes() == np.array(list(pairs.values())).tobytes()


def test_an_id_that_a_score_file_cannot_hold_is_named_and_refused_before_anything_is_scored(
    spectral_detector, tmp_path
):
    for ids, message in (
        (["a", "b", "a"], "two trials have the id 'a', but a score file has one line per id: name each trial once"),
        (["a b"], "the id 'a b': white space separates id and score there; rename the trial, for example to 'a%20b'"),
        ([""], "the id '': it is empty; give the trial a name"),
        (["\ufeffa"], r"the id '\\ufeffa': .* byte-order mark .* remove it"),
        (["a\udc80"], r"the id 'a\\udc80': it cannot be written as UTF-8; rename the file"),
    ):
        trials = [Trial(id, tmp_path / "a.wav") for id in ids]
        with input_error(message):
            score_trials(spectral_detector, trials, tmp_path / "s")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "text",
    [
        "filename\tcm-score\na.wav\t0.5\nb.wav\t-1e-3\n",
        "filename,score\na.wav,0.5\nb.wav,-1e-3\n",
        ",file,score\n0,a.wav,0.5\n1,b.wav,-1e-3\n",
        "a.wav,0.5\r\nb.wav,-1e-3\r\n",
        "score;utt_id\n0.5;a.wav\n-1e-3;b.wav\n",
        "a.wav|spoof|0.5\nb.wav|bonafide|-1e-3\n",
        "utterance score\na.wav 0.5\nb.wav -1e-3\n",
        "a.wav spoof 0.5\nb.wav bonafide -1e-3\n",
        "ID_audio,label,score_class0,score_class1\na.wav,0,0.1,0.5\nb.wav,1,0.2,-1e-3\n",  # DeepFense
        "\ufeffa.wav 0.5\r\n\n\n\tb.wav  -1e-3",
        '"a.wav","0.5"\n"b.wav","-1e-3"\n',
        '"file";"score"\n"a.wav";"0.5"\n"b.wav";"-1e-3"\n',
        "a.wav;Fake;0.5\nb.wav;Real;-1e-3\n",
        "file,label,score,duration\na.wav,real,0.5,4\nb.wav,fake,-1e-3,5\n",
    ],
)
def test_ids_with_their_scores_are_read_from_a_score_file_of_any_usual_form(path, text):
    """Whatever its header, further columns, quotation marks, delimiters, white space or byte-order mark."""
    path.write_text(text, newline="")
    ids, scores = read_scores(path)
    assert ids == ["a.wav", "b.wav"]
    assert scores.tolist() == [0.5, -1e-3]


@pytest.mark.parametrize(
    "text",
    [
        '{"file": "a.wav", "score": 0.5, "times": [1, 2]}\n\n{"score": -1e-3, "file": "b.wav"}\n',
        '{"utt_id":"a.wav","cm-score":"0.5"}\r\n{"utt_id":"b.wav","cm-score":"-1e-3"}',
    ],
)
def test_a_score_file_may_have_lines_of_json(path, text):
    path.write_text(text, newline="")
    ids, scores = read_scores(path)
    assert dict(zip(ids, scores)) == {"a.wav": 0.5, "b.wav": -1e-3}


@pytest.mark.parametrize("missing", ["", "nan", "NaN", "N/A", "NA", "None", "null", "-"])
def test_an_empty_field_or_a_word_for_a_missing_number_is_read_as_nan(path, missing):
    path.write_text(f"file,score\na.wav,0.5\nb.wav,{missing}\n")
    _, scores = read_scores(path)
    assert_array_equal(scores, [0.5, np.nan])


def test_the_score_of_a_recording_that_failed_is_read_as_nan(path):
    """`nes2net predict --json` writes a line without a score, also as the first."""
    path.write_text(
        '{"file": "a.wav", "error": "is empty"}\n{"file": "b.wav", "score": null}\n{"file": "c", "score": 1}\n'
    )
    ids, scores = read_scores(path)
    assert ids == ["a.wav", "b.wav", "c"]
    assert_array_equal(scores, [np.nan, np.nan, 1.0])


@pytest.mark.parametrize(
    "text",
    [
        "file,label,score\na,fake,0.9\nb,Real,0.51\nc,fake,1\n",
        ",file,label,score\n0,a,fake,0.9\n1,b,real,0.6\n2,c,fake,0.7\n",
        "file\tscore\tprediction\na\t0.9\t1\nb\t0.51\t0\nc\t1\t0\n",
        "a;spoof;0.9\nb;bonafide;0.51\n",
        '{"file": "a", "label": "LABEL_0", "score": 0.9}\n{"file": "b", "label": "LABEL_1", "score": 0.5}\n',
    ],
)
def test_scores_that_look_like_the_probability_of_the_label_beside_them_are_warned_of(path, text, capsys):
    path.write_text(text)
    scores_of(path)
    printed = capsys.readouterr().err
    assert f"note: {path}: the file calls recordings " in printed
    assert "if a score is the probability of the label beside it, the results are meaningless" in printed


@pytest.mark.parametrize(
    "text",
    [
        "file,label,score\na,fake,0.1\nb,real,0.9\n",
        "file,label,score\na,fake,1.1\nb,real,0.9\n",
        "file,label,score\na,fake,0.9\nb,fake,0.8\n",  # one word
        "file,speaker,score\na,Ann,0.9\nb,Bob,0.8\n",  # other words
        "a 0.9\nb 0.8\n",
    ],
)
def test_only_scores_from_0_5_to_1_beside_labels_of_both_classes_are_warned_of_as_probabilities(path, text, capsys):
    path.write_text(text)
    scores_of(path)
    assert capsys.readouterr().err == ""


def test_a_malformed_score_file_is_refused_with_the_line_or_header_at_fault(path):
    for text, message in (
        ("a 1\nb\n", r"scores.txt, line 2: expected 2 fields \(utterance score\), found 1: 'b'"),
        ("a 1 2\n", "line 1: expected 2 fields"),
        ("a,1,2\n", r"found 3: 'a,1,2' \(separated by commas\); keep .* \(score, scores, cm_score, score_class1\)"),
        ("speaker,score\na,1\n", r"no column of ids in the header 'speaker,score' \(separated by commas\); rename it"),
        ("file,score\na,1\nb\n", "line 3: expected 2 fields"),
        ("file,score\na,x\n", "line 2: expected a number as score, found 'x'"),
        ("a '1'\n", "line 1: expected a number as score, found \"'1'\": remove the quotation marks"),
        ("a 1_0\n", "line 1: expected a number as score, found '1_0'"),
        ("a ١\n", "line 1: expected a number as score"),
    ):
        path.write_text(text)
        with input_error(message):
            read_scores(path)
