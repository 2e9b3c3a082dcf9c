"""The first four corpora on tiny ones in the official layouts: every accepted place, every field, and what is refused."""

from pathlib import Path

import numpy as np
import pytest

from nes2net.corpora import asvspoof2019_la, asvspoof2021_df, asvspoof2021_la, in_the_wild
from nes2net.corpora.corpus import count
from nes2net.corpora.protocol import NotFound
from nes2net.corpora.trial import Trial
from nes2net.errors import InputError

EVAL_2019 = "LA_0001 LA_E_1 - - bonafide\nLA_0002 LA_E_2 - A07 spoof\n"
KEY_LA = (
    "LA_0001 LA_E_1 none loc_tx bonafide bonafide notrim progress\n"
    "LA_0002 LA_E_2 gsm ita_tx A07 spoof notrim eval\n"
    "LA_0003 LA_E_3 opus mad_tx A19 spoof trim hidden\n"
    "LA_0003 LA_E_4 opus mad_tx bonafide bonafide trim eval\n"
)
KEY_DF = (
    "LA_0001 DF_E_1 nocodec asvspoof bonafide bonafide notrim eval bonafide - - - -\n"
    "TEF1 DF_E_2 mp3m4a vcc2020 Task1-team20 spoof notrim progress neural_vocoder_autoregressive Task1 team20 FF E\n"
)
META = 'file,speaker,label\n0.wav,"Obama, Barack",spoof\n1.wav,Alec Guinness,bona-fide\n10.wav,Ayn Rand,spoof\n'


def write(path: Path, text: str = "") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def folder(path: Path) -> Path:
    path.mkdir(parents=True, exist_ok=True)
    return path


# ASVspoof 2019 LA


@pytest.mark.parametrize("inner", [".", "LA"])
@pytest.mark.parametrize(
    "place",
    [
        "database/ASVspoof_LA_cm_protocols",
        "database/ASVspoof2019_LA_cm_protocols",
        "database/ASVspoof_DF_cm_protocols",
        "database",
    ],
)
def test_2019_trials(tmp_path, place, inner):
    write(tmp_path / place / "ASVspoof2019.LA.cm.eval.trl.txt", EVAL_2019)
    audio = folder(tmp_path / "DB" / inner / "ASVspoof2019_LA_eval" / "flac")
    trials = asvspoof2019_la.trials(tmp_path / "DB", "eval", protocols=tmp_path / "database")
    assert trials == [
        Trial("LA_E_1", audio / "LA_E_1.flac", "bonafide", "LA_0001", phase="eval"),
        Trial("LA_E_2", audio / "LA_E_2.flac", "spoof", "LA_0002", "A07", phase="eval"),
    ]
    assert [trial.target for trial in trials] == [1, 0]


@pytest.mark.parametrize("place", ["LA/ASVspoof2019_LA_cm_protocols", "ASVspoof2019_LA_cm_protocols", "."])
@pytest.mark.parametrize("split, name", [("train", "train.trn"), ("dev", "dev.trl"), ("eval", "eval.trl")])
def test_2019_protocol_under_the_root(tmp_path, place, split, name):
    write(tmp_path / place / f"ASVspoof2019.LA.cm.{name}.txt", EVAL_2019)
    folder(tmp_path / "LA" / f"ASVspoof2019_LA_{split}" / "flac")
    trials = asvspoof2019_la.trials(tmp_path, split, protocols=tmp_path / "nowhere")
    assert [trial.phase for trial in trials] == [split, split]


def test_2019_keys(tmp_path):
    train = write(tmp_path / "ASVspoof2019.LA.cm.train.trn.txt", "LA_0079 LA_T_1 - - bonafide\n")
    write(tmp_path / "LA" / "ASVspoof2019_LA_cm_protocols" / "ASVspoof2019.LA.cm.eval.trl.txt", EVAL_2019)
    assert [t.id for t in asvspoof2019_la.keys(tmp_path)] == ["LA_T_1", "LA_E_1", "LA_E_2"]
    assert [t.id for t in asvspoof2019_la.keys(tmp_path, "eval")] == ["LA_E_1", "LA_E_2"]
    assert [t.phase for t in asvspoof2019_la.keys(train)] == ["train"]
    own = write(tmp_path / "my_protocol.txt", EVAL_2019)
    assert [t.phase for t in asvspoof2019_la.keys(own, "dev")] == [None, None]
    with pytest.raises(InputError, match="no trials in phase 'dev'; the key has train"):
        asvspoof2019_la.keys(train, "dev")
    with pytest.raises(NotFound, match=r"ASVspoof2019\.LA\.cm\.dev\.trl\.txt"):
        asvspoof2019_la.keys(tmp_path, "dev")


def test_2019_asv_scores(tmp_path):
    name = "ASVspoof2019.LA.asv.eval.gi.trl.scores.txt"
    text = "bonafide target 2.5\nbonafide nontarget -1\nA07 spoof 0.5\nbonafide target 3\n"
    protocol = write(tmp_path / "LA" / "ASVspoof2019_LA_cm_protocols" / "ASVspoof2019.LA.cm.eval.trl.txt", EVAL_2019)
    file = write(tmp_path / "LA" / "ASVspoof2019_LA_asv_scores" / name, text)
    for place in (file, file.parent, tmp_path, tmp_path / "LA", protocol, protocol.parent):
        target, nontarget, spoof = asvspoof2019_la.asv_scores(place)
        np.testing.assert_array_equal(target, [2.5, 3])
        np.testing.assert_array_equal(nontarget, [-1])
        np.testing.assert_array_equal(spoof, [0.5])
    with pytest.raises(NotFound, match=r"asv\.dev\.gi"):
        asvspoof2019_la.asv_scores(tmp_path, "dev")
    write(file, "bonafide impostor 1\n")
    with pytest.raises(
        InputError, match="line 1: unknown ASV key 'impostor'; expected one of target, nontarget, spoof"
    ):
        asvspoof2019_la.asv_scores(tmp_path)


# ASVspoof 2021 LA and DF

TRACKS = [(asvspoof2021_la, "LA"), (asvspoof2021_df, "DF")]


@pytest.mark.parametrize("corpus, track", TRACKS)
@pytest.mark.parametrize("place", ["database/ASVspoof_{}_cm_protocols", "database", "DB/ASVspoof2021_{}_eval", "DB"])
def test_2021_trials(tmp_path, corpus, track, place):
    write(tmp_path / place.format(track) / f"ASVspoof2021.{track}.cm.eval.trl.txt", f"{track}_E_2\n{track}_E_1\n")
    audio = folder(tmp_path / "DB" / f"ASVspoof2021_{track}_eval" / "flac")
    trials = corpus.trials(tmp_path / "DB", "eval", protocols=tmp_path / "database")
    assert trials == [Trial(f"{track}_E_{n}", audio / f"{track}_E_{n}.flac") for n in (2, 1)]


@pytest.mark.parametrize("corpus, track", TRACKS)
def test_2021_root_may_be_the_corpus_folder(tmp_path, corpus, track):
    root = tmp_path / f"ASVspoof2021_{track}_eval"
    audio = folder(root / "flac")
    write(root / f"ASVspoof2021.{track}.cm.eval.trl.txt", f"{track}_E_1\n")
    assert corpus.trials(root)[0].path == audio / f"{track}_E_1.flac"


@pytest.mark.parametrize(
    "given, at", [(".", "{}/CM"), (".", "keys/{}/CM"), (".", "CM"), ("{}", "{}/CM"), ("{}/CM", "{}/CM")]
)
@pytest.mark.parametrize("corpus, track, text", [(asvspoof2021_la, "LA", KEY_LA), (asvspoof2021_df, "DF", KEY_DF)])
def test_2021_key_layouts(tmp_path, corpus, track, text, given, at):
    file = write(tmp_path / at.format(track) / "trial_metadata.txt", text)
    expected = corpus.keys(file)
    assert len(expected) == text.count("\n")
    assert corpus.keys(tmp_path / given.format(track)) == expected


def test_2021_la_key_fields(tmp_path):
    file = write(tmp_path / "trial_metadata.txt", KEY_LA)
    assert asvspoof2021_la.keys(file)[:2] == [
        Trial("LA_E_1", None, "bonafide", "LA_0001", None, "none", "loc_tx", phase="progress", trim="notrim"),
        Trial("LA_E_2", None, "spoof", "LA_0002", "A07", "gsm", "ita_tx", phase="eval", trim="notrim"),
    ]
    assert [t.id for t in asvspoof2021_la.keys(file, "eval")] == ["LA_E_2", "LA_E_4"]
    for phase in ("hidden", "hidden_track"):
        assert [(t.id, t.phase) for t in asvspoof2021_la.keys(file, phase)] == [("LA_E_3", "hidden")]
    write(file, KEY_LA.replace("hidden", "hidden_track"))
    assert [t.id for t in asvspoof2021_la.keys(file, "hidden")] == ["LA_E_3"]


def test_2021_df_key_fields(tmp_path):
    bonafide, spoof = asvspoof2021_df.keys(write(tmp_path / "DF" / "CM" / "trial_metadata.txt", KEY_DF))
    assert bonafide == Trial(
        "DF_E_1", None, "bonafide", "LA_0001", codec="nocodec", source="asvspoof", phase="eval", trim="notrim"
    )
    assert spoof == Trial(
        id="DF_E_2",
        label="spoof",
        speaker="TEF1",
        attack="Task1-team20",
        codec="mp3m4a",
        source="vcc2020",
        vocoder="neural_vocoder_autoregressive",
        phase="progress",
        trim="notrim",
        gender="FF",
        language="E",
        task="Task1",
        team="team20",
    )


ASV_KEY = (
    "LA_0001-gsm-ita_tx LA_E_1-gsm-ita_tx gsm ita_tx bonafide target notrim eval\n"
    "LA_0001-gsm-ita_tx LA_E_2-gsm-ita_tx gsm ita_tx bonafide nontarget notrim eval\n"
    "LA_0001-gsm-ita_tx LA_E_3-gsm-ita_tx gsm ita_tx A07 spoof notrim eval\n"
    "LA_0001-gsm-ita_tx LA_E_4-gsm-ita_tx gsm ita_tx bonafide target notrim hidden\n"
)
ASV_SCORES = "LA_0001 LA_E_1 3\nLA_0001 LA_E_2 -1\nLA_0001 LA_E_3 1.5\nLA_0001 LA_E_4 2\n"


@pytest.mark.parametrize("system", ["ASVTorch_Kaldi", "ASVtorch_kaldi"])
@pytest.mark.parametrize("given, at", [(".", "LA"), (".", "keys/LA"), (".", "."), ("LA", "LA"), ("LA/CM", "LA")])
def test_2021_asv_scores(tmp_path, system, given, at):
    folder(tmp_path / "LA" / "CM")
    write(tmp_path / at / "ASV" / "trial_metadata.txt", ASV_KEY)
    write(tmp_path / at / "ASV" / system / "score.txt", ASV_SCORES)
    scores = asvspoof2021_la.asv_scores(tmp_path / given, "eval")
    assert [list(values) for values in scores] == [[3], [-1], [1.5]]
    target, nontarget, spoof = asvspoof2021_la.asv_scores(tmp_path / given, "hidden_track")
    assert (list(target), nontarget.size, spoof.size) == ([2], 0, 0)


@pytest.mark.parametrize(
    "scores, message",
    [
        (ASV_SCORES + "LA_0001 LA_E_5 2\n", "5 scores for the 4 trials"),
        (
            ASV_SCORES.replace("LA_E_3", "LA_E_9"),
            r"score.txt, line 3: a score of LA_E_9, but the key says LA_E_3-gsm-ita_tx",
        ),
        (ASV_SCORES.replace("1.5", "high"), "line 3: expected a number as score, found 'high'"),
    ],
)
def test_2021_asv_scores_that_do_not_fit(tmp_path, scores, message):
    write(tmp_path / "ASV" / "trial_metadata.txt", ASV_KEY)
    write(tmp_path / "ASV" / "ASVTorch_Kaldi" / "score.txt", scores)
    with pytest.raises(InputError, match=message):
        asvspoof2021_la.asv_scores(tmp_path)


# In-the-Wild


@pytest.mark.parametrize("given", [".", "release_in_the_wild"])
def test_in_the_wild(tmp_path, given):
    audio = folder(tmp_path / "release_in_the_wild")
    for name in ("10.wav", "1.wav", "0.wav", "7.wav", "._1.wav", "notes.txt"):
        write(audio / name)
    write(audio / "meta.csv", META)
    assert in_the_wild.trials(tmp_path / given) == [
        Trial("0", audio / "0.wav", "spoof", "Obama, Barack"),
        Trial("1", audio / "1.wav", "bonafide", "Alec Guinness"),
        Trial("10", audio / "10.wav", "spoof", "Ayn Rand"),
        Trial("7", audio / "7.wav"),
    ]
    for key in (tmp_path / given, audio / "meta.csv"):
        assert [(t.id, t.label, t.path) for t in in_the_wild.keys(key, "eval")] == [
            ("0", "spoof", None),
            ("1", "bonafide", None),
            ("10", "spoof", None),
        ]


def test_in_the_wild_without_labels(tmp_path):
    write(tmp_path / "1.wav")
    assert in_the_wild.trials(tmp_path) == [Trial("1", tmp_path / "1.wav")]
    with pytest.raises(NotFound):
        in_the_wild.trials(tmp_path, protocols=tmp_path / "labels")
    write(tmp_path / "labels" / "meta.csv", META)
    assert in_the_wild.trials(tmp_path, protocols=tmp_path / "labels")[0].label == "bonafide"


@pytest.mark.parametrize(
    "text, message",
    [
        ("name,label\n0.wav,spoof\n", r"meta.csv, line 1: expected the columns file,speaker,label, found 'name,label'"),
        ("", "line 1: expected the columns"),
        ("file,speaker,label\n0.wav,spoof\n", r"line 2: expected 3 fields \(file, speaker, label\), found 2"),
        ("file,speaker,label\n0.wav,A,real\n", "line 2: unknown label 'real'; expected one of bona-fide, spoof"),
        ("file,speaker,label\n../0.wav,A,spoof\n", "line 2: '../0.wav' is no utterance id"),
        ("file,speaker,label\n0.wav,A,spoof\n0.wav,A,spoof\n", "1 utterances stand in it more than once: 0"),
        ("file,speaker,label\n", "holds no trials"),
    ],
)
def test_malformed_meta(tmp_path, text, message):
    with pytest.raises(InputError, match=message):
        in_the_wild.keys(write(tmp_path / "meta.csv", text))


# What all refuse


def test_missing_protocol_names_every_path_and_the_setting(tmp_path):
    (tmp_path / "DB").mkdir()
    with pytest.raises(NotFound) as error:
        asvspoof2019_la.trials(tmp_path / "DB", "dev", protocols=tmp_path / "database")
    message = str(error.value)
    for inner in ("ASVspoof_LA_cm_protocols", "ASVspoof2019_LA_cm_protocols", "ASVspoof_DF_cm_protocols", "."):
        for place in ("database", "DB"):
            assert str(tmp_path / place / inner / "ASVspoof2019.LA.cm.dev.trl.txt") in message
    assert "give `protocols` the folder" in message
    assert "\n" not in message


@pytest.mark.parametrize(
    "corpus, protocol, tried",
    [
        (
            asvspoof2019_la,
            "ASVspoof2019.LA.cm.eval.trl.txt",
            ["ASVspoof2019_LA_eval/flac", "LA/ASVspoof2019_LA_eval/flac"],
        ),
        (asvspoof2021_la, "ASVspoof2021.LA.cm.eval.trl.txt", ["ASVspoof2021_LA_eval/flac", "flac"]),
        (asvspoof2021_df, "ASVspoof2021.DF.cm.eval.trl.txt", ["ASVspoof2021_DF_eval/flac", "flac"]),
    ],
)
def test_missing_audio_names_every_path_and_the_setting(tmp_path, corpus, protocol, tried):
    write(tmp_path / protocol, EVAL_2019 if corpus is asvspoof2019_la else "X_1\n")
    with pytest.raises(NotFound) as error:
        corpus.trials(tmp_path, "eval")
    for path in tried:
        assert str(tmp_path / path) in str(error.value)
    assert "give `root` the folder" in str(error.value)


def test_missing_in_the_wild(tmp_path):
    with pytest.raises(NotFound, match=r"no-such/release_in_the_wild, .*no-such; give `root`"):
        in_the_wild.trials(tmp_path / "no-such")
    with pytest.raises(InputError, match=r"holds no \.wav files; give `root`"):
        in_the_wild.trials(tmp_path)
    with pytest.raises(NotFound, match=r"meta.csv, .*release_in_the_wild/meta.csv"):
        in_the_wild.keys(tmp_path)


@pytest.mark.parametrize("corpus, track", TRACKS)
def test_missing_key_names_every_path(tmp_path, corpus, track):
    with pytest.raises(NotFound) as error:
        corpus.keys(tmp_path / "keys")
    for path in (f"{track}/CM", f"keys/{track}/CM", "CM", "."):
        assert str(tmp_path / "keys" / path / "trial_metadata.txt") in str(error.value)


@pytest.mark.parametrize("corpus", [asvspoof2019_la, asvspoof2021_la, asvspoof2021_df, in_the_wild])
def test_unknown_split_and_phase(tmp_path, corpus):
    assert "eval" in corpus.CORPUS.splits
    with pytest.raises(InputError, match="has no split 'test'"):
        corpus.trials(tmp_path, "test")
    with pytest.raises(InputError, match=r"has no (split|phase) 'test'"):
        corpus.keys(tmp_path, "test")


@pytest.mark.parametrize(
    "text, message",
    [
        (
            "LA_1 LA_E_1 - - bonafide\nLA_1 LA_E_2 - bonafide\n",
            r"trl.txt, line 2: expected 5 fields \(speaker, .*\), found 4: 'LA_1",
        ),
        ("LA_1 LA_E_1 - - bona-fide\n", "line 1: unknown label 'bona-fide'; expected one of bonafide, spoof"),
        ("LA_1 ../../etc/passwd - - spoof\n", r"line 1: '\.\./\.\./etc/passwd' is no utterance id"),
        ("LA_1 /etc/passwd - - spoof\n", "is no utterance id"),
        ("LA_1 a\\b - - spoof\n", "is no utterance id"),
        ("LA_1 LA_E_1 - - bonafide\nLA_1 LA_E_1 - - bonafide\n", "1 utterances stand in it more than once: LA_E_1"),
        ("\n\n", "holds no trials"),
    ],
)
def test_malformed_protocol(tmp_path, text, message):
    write(tmp_path / "ASVspoof2019.LA.cm.eval.trl.txt", text)
    folder(tmp_path / "ASVspoof2019_LA_eval" / "flac")
    with pytest.raises(InputError, match=message):
        asvspoof2019_la.trials(tmp_path, "eval")
    with pytest.raises(InputError, match=message):
        asvspoof2019_la.keys(tmp_path, "eval")


@pytest.mark.parametrize(
    "corpus, text, message",
    [
        (asvspoof2021_la, KEY_DF, r"line 1: expected 8 fields .*, found 13"),
        (asvspoof2021_df, KEY_LA, r"line 1: expected 13 fields .*, found 8"),
        (
            asvspoof2021_la,
            KEY_LA.replace("opus mad_tx A19 spoof", "opus mad_tx A19 fake"),
            "line 3: unknown label 'fake'",
        ),
        (asvspoof2021_la, KEY_LA.replace("progress", "final"), "line 1: unknown phase 'final'"),
        (asvspoof2021_la, KEY_LA + KEY_LA, r"4 utterances stand in it more than once: LA_E_1, LA_E_2, LA_E_3, LA_E_4"),
    ],
)
def test_malformed_key(tmp_path, corpus, text, message):
    with pytest.raises(InputError, match=message):
        corpus.keys(write(tmp_path / "trial_metadata.txt", text))


def test_a_protocol_of_ids_has_one_field(tmp_path):
    write(tmp_path / "ASVspoof2021.LA.cm.eval.trl.txt", "LA_E_1\nLA_E_2 spoof\n")
    folder(tmp_path / "flac")
    with pytest.raises(InputError, match=r"line 2: expected 1 field \(utterance\), found 2"):
        asvspoof2021_la.trials(tmp_path)


def test_not_a_text_file(tmp_path):
    (tmp_path / "trial_metadata.txt").write_bytes(b"\x1f\x8b\x08\x00\xff\xfe")
    with pytest.raises(InputError, match=r"not a text file \(byte 1 is not UTF-8\)"):
        asvspoof2021_la.keys(tmp_path / "trial_metadata.txt")


def test_windows_line_ends_and_byte_order_mark(tmp_path):
    (tmp_path / "meta.csv").write_bytes(b"\xef\xbb\xbf" + META.replace("\n", "\r\n").encode())
    assert [t.id for t in in_the_wild.keys(tmp_path)] == ["0", "1", "10"]


def test_real_protocols(shared, tmp_path):
    import lzma

    source = shared / "real" / "scores"
    for split, name, size in (("train", "train.trn", 25380), ("dev", "dev.trl", 24844), ("eval", "eval.trl", 71237)):
        file = f"ASVspoof2019.LA.cm.{name}.txt"
        write(tmp_path / file, lzma.open(source / "asvspoof2019_la" / f"{file}.xz", "rt").read())
        folder(tmp_path / f"ASVspoof2019_LA_{split}" / "flac")
        trials = asvspoof2019_la.trials(tmp_path, split)
        assert len(trials) == size
        assert count(trials).differences(asvspoof2019_la.CORPUS.counts[split]) == []
    assert len(asvspoof2019_la.keys(tmp_path)) == 25380 + 24844 + 71237
    file = "ASVspoof2021.LA.cm.eval.trl.txt"
    write(tmp_path / file, lzma.open(source / "asvspoof2021_la_ids" / f"{file}.xz", "rt").read())
    folder(tmp_path / "ASVspoof2021_LA_eval" / "flac")
    assert (
        len(asvspoof2021_la.trials(tmp_path))
        == 181566
        == sum(c.trials for c in asvspoof2021_la.CORPUS.key_counts.values())
    )
