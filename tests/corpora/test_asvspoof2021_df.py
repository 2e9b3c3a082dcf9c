"""ASVspoof 2021 DF: the fields of its key; the rest is in test_asvspoof2021_la.py."""

from builders.files import write

from nes2net.corpora import (
    asvspoof2021_df,
)
from nes2net.corpora.trial import Trial

KEY_DF = (
    "LA_0001 DF_E_1 nocodec asvspoof bonafide bonafide notrim eval bonafide - - - -\n"
    "TEF1 DF_E_2 mp3m4a vcc2020 Task1-team20 spoof notrim progress neural_vocoder_autoregressive Task1 team20 FF E\n"
)


def test_key_fields(tmp_path):
    bonafide, spoof = asvspoof2021_df.CORPUS.keys(write(tmp_path / "DF" / "CM" / "trial_metadata.txt", KEY_DF))
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
