"""ASVspoof 2021, the tracks LA and DF."""

import shutil

import pytest
from builders import input_error
from builders.files import folder, write

from nes2net.data.corpora import asvspoof2021_df, asvspoof2021_la
from nes2net.data.corpora.trial import Trial
from nes2net.data.registry import corpora

TRACKS = [(asvspoof2021_la, "LA"), (asvspoof2021_df, "DF")]
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


@pytest.mark.parametrize("corpus, track", TRACKS)
@pytest.mark.parametrize(
    "protocol_folder, root",
    [
        ("database/ASVspoof_{}_cm_protocols", "DB"),
        ("database", "DB"),
        ("DB/ASVspoof2021_{}_eval", "DB"),
        ("DB/ASVspoof2021_{}_eval", "DB/ASVspoof2021_{}_eval"),
        ("DB", "DB"),
    ],
)
def test_trials_without_labels_are_listed_from_each_layout_of_a_track_of_asvspoof2021(
    tmp_path, corpus, track, protocol_folder, root
):
    write(
        tmp_path / protocol_folder.format(track) / f"ASVspoof2021.{track}.cm.eval.trl.txt",
        f"{track}_E_2\n{track}_E_1\n",
    )
    audio = folder(tmp_path / f"DB/ASVspoof2021_{track}_eval/flac")
    trials = corpus.CORPUS.trials(tmp_path / root.format(track), "eval", protocols=tmp_path / "database")
    assert trials == [Trial(f"{track}_E_{n}", audio / f"{track}_E_{n}.flac") for n in (2, 1)]


@pytest.mark.parametrize(
    "root, key_folder",
    [(".", "{}/CM"), (".", "keys/{}/CM"), (".", "CM"), (".", "keys/CM"), ("{}", "{}/CM"), ("{}/CM", "{}/CM")],
)
@pytest.mark.parametrize("corpus, track, text", [(asvspoof2021_la, "LA", KEY_LA), (asvspoof2021_df, "DF", KEY_DF)])
def test_keys_of_a_track_are_found_in_each_published_layout(tmp_path, corpus, track, text, root, key_folder):
    file = write(tmp_path / key_folder.format(track) / "trial_metadata.txt", text)
    expected = corpus.CORPUS.keys(file)
    assert len(expected) == text.count("\n")
    assert corpus.CORPUS.keys(tmp_path / root.format(track)) == expected


def test_each_column_of_the_keys_of_asvspoof2021_la_is_a_field_of_a_trial(tmp_path):
    file = write(tmp_path / "trial_metadata.txt", KEY_LA)
    bonafide, spoof, *_ = asvspoof2021_la.CORPUS.keys(file)
    phase = {"phase": "progress", "trim": "notrim"}
    assert bonafide == Trial("LA_E_1", None, "bonafide", "LA_0001", None, "none", "loc_tx", **phase)
    phase["phase"] = "eval"
    assert spoof == Trial("LA_E_2", None, "spoof", "LA_0002", "A07", "gsm", "ita_tx", **phase)


@pytest.mark.parametrize("phase", ["hidden", "hidden_track"])
@pytest.mark.parametrize("phase_of_file", ["hidden", "hidden_track"])
def test_hidden_and_hidden_track_name_one_phase_in_a_key_and_when_a_phase_is_asked_for(tmp_path, phase_of_file, phase):
    keys = KEY_LA.replace("hidden", phase_of_file)
    file = write(tmp_path / "trial_metadata.txt", keys)
    (trial,) = asvspoof2021_la.CORPUS.keys(file, phase)
    assert trial.id == "LA_E_3"
    assert trial.phase == "hidden"


def test_each_column_of_the_keys_of_asvspoof2021_df_is_a_field_of_a_trial(tmp_path):
    bonafide = {"label": "bonafide", "speaker": "LA_0001", "codec": "nocodec", "source": "asvspoof", "phase": "eval"}
    spoof = {"label": "spoof", "speaker": "TEF1", "codec": "mp3m4a", "source": "vcc2020", "phase": "progress"}
    spoof |= {"vocoder": "neural_vocoder_autoregressive", "gender": "FF", "language": "E"}
    spoof |= {"attack": "Task1-team20", "task": "Task1", "team": "team20"}
    file = write(tmp_path / "trial_metadata.txt", KEY_DF)
    first, second = asvspoof2021_df.CORPUS.keys(file)
    assert first == Trial("DF_E_1", trim="notrim", **bonafide)
    assert second == Trial("DF_E_2", trim="notrim", **spoof)


ASV_KEY = (
    "LA_0001-gsm-ita_tx LA_E_1-gsm-ita_tx gsm ita_tx bonafide target notrim eval\n"
    "LA_0001-gsm-ita_tx LA_E_2-gsm-ita_tx gsm ita_tx bonafide nontarget notrim eval\n"
    "LA_0001-gsm-ita_tx LA_E_3-gsm-ita_tx gsm ita_tx A07 spoof notrim eval\n"
    "LA_0001-gsm-ita_tx LA_E_4-gsm-ita_tx gsm ita_tx bonafide target notrim hidden\n"
)
ASV_SCORES = "LA_0001 LA_E_1 3\nLA_0001 LA_E_2 -1\nLA_0001 LA_E_3 1.5\nLA_0001 LA_E_4 2\n"


def write_asv_scores(folder, scores=ASV_SCORES, system="ASVTorch_Kaldi"):
    write(folder / "ASV/trial_metadata.txt", ASV_KEY)
    write(folder / "ASV" / system / "score.txt", scores)


@pytest.mark.parametrize(
    "root, asv_folder", [(".", "LA"), (".", "keys/LA"), (".", "keys"), (".", "."), ("LA", "LA"), ("LA/CM", "LA")]
)
@pytest.mark.parametrize("system", ["ASVTorch_Kaldi", "ASVtorch_kaldi"])
def test_asv_scores_are_found_in_each_layout(tmp_path, root, asv_folder, system):
    folder(tmp_path / "LA/CM")
    write_asv_scores(tmp_path / asv_folder, system=system)
    assert asvspoof2021_la.asv_scores(tmp_path / root)[0] == [3]


@pytest.mark.parametrize("phase, expected", [("eval", [[3], [-1], [1.5]]), ("hidden_track", [[2], [], []])])
def test_asv_scores_of_a_phase_are_divided_by_kind_of_asv_trial(tmp_path, phase, expected):
    write_asv_scores(tmp_path)
    assert [list(scores) for scores in asvspoof2021_la.asv_scores(tmp_path, phase)] == expected


@pytest.mark.parametrize(
    "scores, message",
    [
        (ASV_SCORES + "LA_0001 LA_E_5 2\n", "has 5 scores, but .* has 4 trials"),
        (ASV_SCORES.replace("E_3", "E_9"), "line 3: expected a score of LA_E_3-gsm-ita_tx .*, found one of LA_E_9"),
    ],
)
def test_asv_scores_that_do_not_match_their_key_are_refused(tmp_path, scores, message):
    write_asv_scores(tmp_path, scores)
    with input_error(message):
        asvspoof2021_la.asv_scores(tmp_path)


@pytest.mark.parametrize("database", [".", "TRACK"])
@pytest.mark.parametrize("protocol", ["ASVspoof2021_TRACK_eval", "ASVspoof_TRACK_cm_protocols"])
@pytest.mark.parametrize("track", ["LA", "DF"])
def test_trials_and_keys_are_found_in_the_folders_of_unpacked_asvspoof2021_archives(
    tmp_path, corpus, track, protocol, database
):
    """The archive of audio holds the protocol, too; a track may have its own folder in that of the corpus."""
    folder = tmp_path / "DB" / database.replace("TRACK", track)
    audio = f"ASVspoof2021_{track}_eval"
    name = f"ASVspoof2021.{track}.cm.eval.trl.txt"
    shutil.copytree(corpus / audio, folder / audio)
    target = folder / protocol.replace("TRACK", track)
    target.mkdir(exist_ok=True)
    shutil.copy(corpus / f"ASVspoof_{track}_cm_protocols" / name, target)
    shutil.copytree(corpus / "keys", folder / "keys")
    definition = corpora.get(f"asvspoof2021_{track.lower()}")
    trials = definition.trials(tmp_path / "DB")
    assert len(trials) == 12
    for trial in trials:
        assert trial.path.is_file()
    assert len(definition.keys(tmp_path / "DB", "eval")) == 12
