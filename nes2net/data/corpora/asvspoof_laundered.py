"""ASVspoof Laundered: the evaluation set of ASVspoof 2019 LA with noise, rooms and codecs applied."""

from nes2net.data.corpora.corpus import Counts
from nes2net.data.corpora.layout import Columns, Files, ListedCorpus

_TYPES = {"Noise_Addition": 15, "Reverberation": 3, "Recompression": 6, "Resampling": 4, "Filtering": 1}
_LIST = "ASVspoofLauneredDatabase_"
_FOLDERS = (".", "ASVspoofLauneredDatabase", "ASVspoofLD")
_PROTOCOL_FOLDERS = (
    *("protocols", ".", "ASVspoofLauneredDatabase/protocols", "ASVspoofLauneredDatabase"),
    *("ASVspoofLD/protocols", "ASVspoofLD"),
)

CORPUS = ListedCorpus(
    title="ASVspoof Laundered",
    notes="""
    Ali et al., "Is Audio Spoof Detection Robust to Laundering Attacks?", IH&MMSec 2024.

    Layout: <root>/protocols/ASVspoofLauneredDatabase_TYPE.txt (spelt like this) lists the
    utterances of a type. The types are Noise_Addition, Reverberation, Recompression, Resampling and
    Filtering. A line has six fields: speaker, utterance, attack (- or A07–A19), bonafide or spoof,
    type, and setting (babble_0). The audio is in <root>/flac, as the corpus's Readme.txt says, or
    in <root>/TYPE/flac. An utterance is named after the original and the setting,
    LA_E_2834763_babble_0.

    The transmission of a trial is the type, and its codec is the setting. The paper gives a figure
    for each setting (by codec). Each of the 29 settings holds the whole evaluation set, 71,237
    trials. To evaluate only some types, give a folder with their lists as protocols. This module
    does not read the copy on the Hugging Face hub (hashim19/ASVspoofLD), which has other columns,
    in Parquet.
    """,
    rows=Columns(
        "speaker, utterance, attack, label, type, setting", fields={"transmission": "type", "codec": "setting"}
    ),
    folders_of=lambda stem: (f"{stem.removeprefix(_LIST)}/flac", "flac"),
    parts={
        "eval": Files(
            protocols=[f"{_LIST}{type}.txt" for type in _TYPES],
            folders=_PROTOCOL_FOLDERS,
            together=True,
            audio=_FOLDERS,
            holds=("flac", *(f"{type}/flac" for type in _TYPES)),
        )
    },
    # Readme.txt states 2,065,873 files, which is 29 times the trials of ASVspoof 2019 LA.
    counts={
        "eval": Counts(
            2065873,
            29 * 7355,
            29 * 63882,
            {"transmission": {type: settings * 71237 for type, settings in _TYPES.items()}},
        )
    },
    counts_from="Readme.txt and the settings that it lists",
    obtain={
        "audio": "the database linked from https://datasets.issflab.net/ASVSpoof_Laundered.html",
        "protocol": "the folder protocols beside the audio, from the same page",
    },
    licence="MIT (stated on the Hugging Face hub); the originals (ASVspoof 2019): ODC-By 1.0",
    source="https://arxiv.org/abs/2408.14712",
)
