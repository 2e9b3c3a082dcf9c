"""A declared layout: its defaults, and the fields of its columns."""

import pytest
from builders.files import folder, write

from nes2net import InputError
from nes2net.corpora.layout import Columns, Files, ListedCorpus, Table
from nes2net.corpora.protocol import NotFound
from nes2net.corpora.trial import Trial

MINE = ListedCorpus(
    title="Mine",
    rows=Columns(
        "utterance, voice, -, codec, label",
        labels={"real": "bonafide", "fake": "spoof"},
        fields={"voice": "speaker"},
        words={"codec": {"-": "none", "0": None}},
    ),
    parts={"eval": Files(["list.txt"], ["audio"])},
)


def test_words_and_names_of_columns(tmp_path):
    write(tmp_path / "list.txt", "a V1 x - real\nb - y 0 fake\nc V2 z mp3 fake\n")
    audio = folder(tmp_path / "audio")
    assert MINE.trials(tmp_path) == [
        Trial("a", audio / "a.flac", "bonafide", "V1", codec="none", phase="eval"),
        Trial("b", audio / "b.flac", "spoof", phase="eval"),
        Trial("c", audio / "c.flac", "spoof", "V2", codec="mp3", phase="eval"),
    ]


def test_the_only_part_is_not_named(tmp_path):
    with pytest.raises(NotFound, match="audio of Mine not found; .*; give the folder that holds audio"):
        MINE.find_audio(tmp_path)
    with pytest.raises(NotFound, match="protocol of Mine not found; looked for .*list.txt; give `protocols`"):
        MINE.find_protocol(tmp_path)


def test_a_field_that_no_trial_has():
    for declare in (
        lambda: Table("path", fields={"spk": "speaker"}),
        lambda: Columns("utterance, spk"),
        lambda: Columns("utterance, s", fields={"s": "spk"}),
    ):
        with pytest.raises(InputError, match="a trial .* has no field 'spk'"):
            declare()
