"""In-the-Wild: where its files may lie, with and without labels, and what is refused."""

import pytest
from builders.files import folder, write

from nes2net.corpora import in_the_wild
from nes2net.corpora.protocol import NotFound
from nes2net.corpora.trial import Trial
from nes2net.errors import InputError

META = 'file,speaker,label\n0.wav,"Obama, Barack",spoof\n1.wav,Alec Guinness,bona-fide\n10.wav,Ayn Rand,spoof\n'


@pytest.mark.parametrize("given", [".", "release_in_the_wild"])
def test_trials_and_keys(tmp_path, given):
    audio = folder(tmp_path / "release_in_the_wild")
    for name in ("10.wav", "1.wav", "0.wav", "7.wav", "._1.wav", "notes.txt"):
        write(audio / name)
    write(audio / "meta.csv", META)
    assert in_the_wild.CORPUS.trials(tmp_path / given) == [
        Trial("0", audio / "0.wav", "spoof", "Obama, Barack"),
        Trial("1", audio / "1.wav", "bonafide", "Alec Guinness"),
        Trial("10", audio / "10.wav", "spoof", "Ayn Rand"),
        Trial("7", audio / "7.wav"),
    ]
    for key in (tmp_path / given, audio / "meta.csv"):
        assert [(t.id, t.label, t.path) for t in in_the_wild.CORPUS.keys(key, "eval")] == [
            ("0", "spoof", None),
            ("1", "bonafide", None),
            ("10", "spoof", None),
        ]


def test_without_labels(tmp_path):
    write(tmp_path / "1.wav")
    assert in_the_wild.CORPUS.trials(tmp_path) == [Trial("1", tmp_path / "1.wav")]
    with pytest.raises(NotFound):
        in_the_wild.CORPUS.trials(tmp_path, protocols=tmp_path / "labels")
    write(tmp_path / "labels" / "meta.csv", META)
    assert in_the_wild.CORPUS.trials(tmp_path, protocols=tmp_path / "labels")[0].label == "bonafide"


@pytest.mark.parametrize(
    "text, message",
    [
        ("name,label\n0.wav,spoof\n", "line 1: expected the columns file, speaker, label, found 'name,label'"),
        ("", "line 1: expected the columns"),
        ("file,speaker,label\n0.wav,spoof\n", r"line 2: expected 3 fields \(file, speaker, label\), found 2"),
        ("file,speaker,label\n0.wav,A,real\n", "line 2: unknown label 'real'; expected one of bona-fide, spoof"),
        ("file,speaker,label\n../0.wav,A,spoof\n", "line 2: '../0.wav' cannot be a recording of the corpus"),
        ("file,speaker,label\n0.wav,A,spoof\n0.wav,A,spoof\n", "1 utterance in it more than once: 0"),
        ("file,speaker,label\n", "holds no trials"),
        (
            'file,speaker,label\n0.wav,A,spoof\n1.wav,"' + "B,spoof\n" * 20_000,
            r"meta\.csv, line 3: not a row of a CSV file .*quotation marks",
        ),
        (
            "file,speaker,label,label\n0.wav,A,spoof,spoof\n",
            "line 1: more than one column is called 'label'; rename or",
        ),
        (b"\x1f\x8b\x08\x00\xff\xfe", r"not a text file \(byte 1 is not UTF-8\)"),
    ],
)
def test_malformed_meta(tmp_path, text, message):
    (tmp_path / "meta.csv").write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(InputError, match=message):
        in_the_wild.CORPUS.keys(tmp_path / "meta.csv")


def test_windows_line_ends_and_byte_order_mark(tmp_path):
    (tmp_path / "meta.csv").write_bytes(b"\xef\xbb\xbf" + META.replace("\n", "\r\n").encode())
    assert [t.id for t in in_the_wild.CORPUS.keys(tmp_path)] == ["0", "1", "10"]


def test_missing_files(tmp_path):
    with pytest.raises(InputError, match=r"holds no \.wav files; give `root`"):
        in_the_wild.CORPUS.trials(tmp_path)
    with pytest.raises(NotFound, match=r"meta.csv, .*release_in_the_wild/meta.csv"):
        in_the_wild.CORPUS.keys(tmp_path)
