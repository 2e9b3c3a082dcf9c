"""HABLA: Latin American Spanish."""

from nes2net.data.corpora.corpus import Counts, Download
from nes2net.data.corpora.folders import FolderCorpus, Place
from nes2net.data.corpora.trial import BONAFIDE, SPOOF

_FOLDER = "FinalDataset_16khz"
_CONVERSIONS = ("CycleGAN", "Diff", "StarGAN")

CORPUS = FolderCorpus(
    title="HABLA",
    notes="""
    Tamayo Flórez et al., "HABLA: A Dataset of Latin American Spanish Accents for Voice
    Anti-spoofing", Interspeech 2023.

    Layout of the archive: <root>/FinalDataset_16khz/Real/COUNTRY/SPEAKER/*.wav, and the spoofed
    recordings in {CycleGAN,Diff,StarGAN}/COUNTRY-COUNTRY/SOURCE-TARGET, TTS/COUNTRY and
    TTS-VC/TTS-{StarGAN,Diff}/COUNTRY-COUNTRY. The folders state the labels; the file protocol.txt
    beside these folders holds the same labels and is not read. The attack is the name of the folder
    above the countries: CycleGAN, Diff, StarGAN, TTS, TTS-StarGAN or TTS-Diff. The speaker of a
    conversion is the target speaker, and the language of a bona fide trial is the country. The id
    of a trial is the path of its file below FinalDataset_16khz without suffix.

    The corpus has no parts: all trials are eval. To train on the corpus, divide it, preferably by
    speakers.
    """,
    places=(
        Place("Real/{language}/{speaker}/*", BONAFIDE),
        *(Place(f"{attack}/*/*-{{speaker}}/*", SPOOF, {"attack": attack}) for attack in _CONVERSIONS),
        Place("TTS/*/*", SPOOF, {"attack": "TTS"}),
        Place("TTS-VC/{attack}/*/*", SPOOF),
        Place("TTS-VC/{attack}/*/*/*", SPOOF),
    ),
    roots=(_FOLDER, f"Latin_America_Spanish_anti_spoofing_dataset/{_FOLDER}", "."),
    remedy=f"give `root` the folder that holds {_FOLDER}",
    counts={
        "eval": Counts(
            80816,
            22816,
            58000,
            {
                "attack": {
                    **dict.fromkeys(_CONVERSIONS, 16000),
                    **{"TTS": 5000, "TTS-Diff": 2500, "TTS-StarGAN": 2500},
                }
            },
        )
    },
    counts_from="the description of the data set",
    obtain={
        "audio": "Latin_America_Spanish_anti_spoofing_dataset.rar from https://zenodo.org/records/7370805",
        "protocol": "none; the folders of the audio are the labels",
    },
    downloads=(Download("https://zenodo.org/records/7370805", "all recordings"),),
    licence="as stated on https://zenodo.org/records/7370805",
    source="https://zenodo.org/records/7370805",
)
