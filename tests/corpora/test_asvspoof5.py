"""ASVspoof 5: where its files may lie, every field, and what is refused."""

import pytest
from builders.files import folder, write

from nes2net.corpora import asvspoof5
from nes2net.corpora.trial import Trial
from nes2net.errors import InputError

ASVSPOOF5 = (
    "T_4850 T_0000000000 F - - - AC3 A05 spoof -\n"
    "T_4851 T_0000000001 M - 0 - - bonafide bonafide -\n"
    "E_0001 E_0000000002 M C05 3 77 AC1 A17 spoof -\n"
)


@pytest.mark.parametrize(
    "split, name, place, audio",
    [
        ("train", "train", ".", "flac_T"),
        ("dev", "dev.track_1", "ASVspoof5_protocols", "flac_D"),
        ("eval", "eval.track_1", "protocols", "flac_E_eval"),
    ],
)
def test_trials_and_keys(tmp_path, split, name, place, audio):
    file = write(tmp_path / place / f"ASVspoof5.{name}.tsv", ASVSPOOF5)
    audio = folder(tmp_path / audio)
    spoof, bonafide, coded = asvspoof5.CORPUS.trials(tmp_path, split)
    rest = {"codec": "none", "phase": split}
    assert spoof == Trial(
        "T_0000000000", audio / "T_0000000000.flac", "spoof", "T_4850", "A05", gender="F", attack_type="AC3", **rest
    )
    assert bonafide == Trial("T_0000000001", audio / "T_0000000001.flac", "bonafide", "T_4851", gender="M", **rest)
    assert (coded.codec, coded.quality, coded.seed, coded.attack) == ("C05", "3", "77", "A17")
    assert [t.phase for t in asvspoof5.CORPUS.keys(file)] == [split] * 3
    assert asvspoof5.CORPUS.keys(tmp_path, split) == asvspoof5.CORPUS.keys(tmp_path) == asvspoof5.CORPUS.keys(file)
    assert all(t.path is None for t in asvspoof5.CORPUS.keys(file))


@pytest.mark.parametrize(
    "text, message",
    [
        (ASVSPOOF5 + "T_1 T_2 F - - - AC3 A05 spoof\n", r"line 4: expected 10 fields \(speaker, .*\), found 9"),
        (ASVSPOOF5.replace("A05 spoof", "A05 deepfake"), "line 1: unknown label 'deepfake'"),
        (ASVSPOOF5 + ASVSPOOF5, "3 utterances in it more than once"),
        ("\n", "holds no trials"),
    ],
)
def test_malformed_protocol(tmp_path, text, message):
    with pytest.raises(InputError, match=message) as error:
        asvspoof5.CORPUS.keys(write(tmp_path / "ASVspoof5.train.tsv", text))
    assert "ASVspoof5.train.tsv" in str(error.value)
