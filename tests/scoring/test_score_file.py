"""Score files: accepted ids and scores are read back exactly, and all others are refused."""

from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from nes2net.cli.main import main
from nes2net.corpora.trial import Trial
from nes2net.errors import InputError
from nes2net.scoring.corpus import score_trials
from nes2net.scoring.score_file import check_ids, line, read_scores, write_scores

# White space and line separators of every kind, characters that look like them, and those with a
# meaning in other formats.
UNUSUAL = (
    " \t\n\r\v\f\x1c\x1d\x1e\x1f\x85\xa0\u1680\u2003\u2028\u2029\u202f\u3000\ufeff"
    "\u200b\u2060\0\x1a\"'#%,;\\[]{}ä語\ud800"
)
IDS = st.text(st.one_of(st.sampled_from(UNUSUAL), st.characters()), max_size=6)
SCORES = st.floats(allow_nan=False)


def is_accepted(*ids: str) -> bool:
    try:
        check_ids(ids)
    except InputError:
        return False
    return True


@pytest.fixture(scope="module")
def path(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("scores") / "scores.txt"


@given(st.lists(st.tuples(IDS, SCORES), max_size=8, unique_by=lambda pair: pair[0]))
def test_accepted_pairs_are_read_back(path, pairs):
    pairs = [(id, score) for id, score in pairs if is_accepted(id)]
    write_scores(path, [id for id, _ in pairs], [score for _, score in pairs])
    ids, scores = read_scores(path)
    assert ids == [id for id, _ in pairs]
    assert scores.tobytes() == np.array([score for _, score in pairs]).tobytes()


def could_be_read_back(path, id, score=0.0) -> bool:
    try:
        path.write_text(line(id, score), encoding="utf-8", newline="")
        return read_scores(path)[0] == [id]
    except (UnicodeEncodeError, InputError):
        return False


@given(IDS, SCORES)
def test_refused_ids_could_not_be_read_back(path, id, score):
    assert is_accepted(id) == could_be_read_back(path, id, score)


def test_each_unusual_character_at_each_place(path):
    for character in UNUSUAL:
        for id in (f"{character}a", f"a{character}b", f"a{character}", character):
            assert is_accepted(id) == could_be_read_back(path, id), id


@pytest.mark.parametrize(
    ("ids", "message"),
    [
        (["a", "b", "a"], "two trials have the id 'a', but a score file has one line per id: name each trial once"),
        (["a b"], "the id 'a b': white space separates id and score there; rename the trial, for example to 'a%20b'"),
        (["a\nb"], r"the id 'a\\nb': white space"),
        (["a\x85"], r"the id 'a\\x85': white space .* to 'a'"),
        ([""], "the id '': it is empty; give the trial a name"),
        (["\ufeffa"], r"the id '\\ufeffa': .* byte-order mark .* remove it"),
        (["a\udc80"], r"the id 'a\\udc80': it cannot be written as UTF-8; rename the file"),
    ],
)
def test_a_refused_id_is_named_before_anything_is_scored(spectral_detector, tmp_path, ids, message):
    trials = [Trial(id, tmp_path / "a.wav") for id in ids]
    with pytest.raises(InputError, match=message):
        score_trials(spectral_detector, trials, tmp_path / "s", num_samples=8000)
    with pytest.raises(InputError, match=message):
        write_scores(tmp_path / "s", ids, [0.0] * len(ids))
    assert not list(tmp_path.iterdir())


def test_evaluate_and_calibrate_read_the_file_of_score(spectral_detector, tmp_path, capsys):
    """Ids of a user's own list; two of them hold all unusual characters that are accepted."""
    unusual = "".join(c for c in UNUSUAL if is_accepted(f"a{c}") and c not in "\0/\\,\"'#")
    stems = ["#1", "0.5", "nan", '"quoted"', f"a{unusual}", f"b{unusual}", "语音", "%20"]
    rng = np.random.default_rng(0)
    rows = ["path,label,id"]
    for number, stem in enumerate(stems):
        soundfile.write(tmp_path / f"{number}.wav", 0.1 * rng.standard_normal(8000), 16000)
        quoted = stem.replace('"', '""')
        rows.append(f'{number}.wav,{("bonafide", "spoof")[number % 2]},"{quoted}"')
    (tmp_path / "list.csv").write_text("\n".join(rows), encoding="utf-8")
    checkpoint, out = tmp_path / "detector.pth", tmp_path / "scores.txt"
    spectral_detector.save(checkpoint)
    score = ["score", "generic", str(tmp_path / "list.csv"), "--model", str(checkpoint), "--out", str(out)]
    keys = ["--keys", str(tmp_path / "list.csv")]
    assert main([*score, "--split", "all", "--samples", "8000", "--workers", "0"]) == 0
    assert read_scores(out)[0] == stems
    assert main(["evaluate", "generic", str(out), *keys]) == 0
    assert "8 trials (4 bona fide, 4 spoof)" in capsys.readouterr().out
    calibrated = tmp_path / "calibrated.txt"
    apply = ["--phase", "all", "--allow-inverted", "--apply", str(out), "--out", str(calibrated)]
    assert main(["calibrate", "fit", "generic", str(out), *keys, *apply]) == 0
    assert read_scores(calibrated)[0] == stems


def test_scores_are_written_to_the_last_bit(path):
    scores = np.array([1 / 3, -0.0, 5e-324, 1.7976931348623157e308, 1e16])
    write_scores(path, "abcde", scores)
    assert path.read_text() == "a 0.3333333333333333\nb -0.0\nc 5e-324\nd 1.7976931348623157e+308\ne 1e+16\n"
    write_scores(path, ["a"], [np.float32(0.1)])
    assert path.read_text() == "a 0.10000000149011612\n"


def test_files_of_other_programs_are_read(path):
    path.write_bytes(b"\xef\xbb\xbfb 1.5\r\na  -2e-3\n\n\tc nan")
    ids, scores = read_scores(path)
    assert ids == ["b", "a", "c"]
    np.testing.assert_array_equal(scores, [1.5, -0.002, np.nan])


@pytest.mark.parametrize(
    "text, message",
    [
        ("a 1\nb\n", r"scores.txt, line 2: expected 2 fields \(utterance score\), found 1: 'b'"),
        ("a 1 2\n", "line 1: expected 2 fields"),
        ("a one\n", "line 1: expected a number as score, found 'one'"),
        ("a 1_0\n", "line 1: expected a number as score, found '1_0'"),
        ("a ١\n", "line 1: expected a number as score"),
    ],
)
def test_malformed_score_file(path, text, message):
    path.write_text(text)
    with pytest.raises(InputError, match=message):
        read_scores(path)
    with pytest.raises(InputError, match=r"none\.txt: cannot be read \(No such file or directory\)"):
        read_scores(path.with_name("none.txt"))
