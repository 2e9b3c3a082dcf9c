"""ASVspoof 5, track 1."""

from nes2net.data.corpora.corpus import Counts, Download
from nes2net.data.corpora.layout import Columns, Files, ListedCorpus

_FOLDERS = (".", "ASVspoof5_protocols", "protocols")

CORPUS = ListedCorpus(
    title="ASVspoof 5",
    notes="""
    Wang et al., "ASVspoof 5: Crowdsourced speech data, deepfakes, and adversarial attacks at
    scale", 2024.

    Layout: <root>/flac_T, flac_D, flac_E_eval and one protocol per split. A line of a protocol has
    ten fields, separated by spaces despite the suffix .tsv: speaker, utterance, gender, codec,
    codec quality, codec seed, attack tag, attack label, bonafide or spoof, -. The splits have
    182,357, 140,950 and 680,774 trials.
    """,
    rows=Columns(
        "speaker, utterance, gender, codec, quality, seed, attack tag, attack, label, -",
        fields={"attack_type": "attack tag"},
        words={
            "attack": {"bonafide": None},
            "attack_type": {"bonafide": None},
            "codec": {"-": "none"},
            # Without a codec, the quality is "-" in training and development, and "0" in evaluation.
            "quality": {"0": None},
        },
    ),
    parts={
        "train": Files(("ASVspoof5.train.tsv",), ("flac_T",), _FOLDERS),
        "dev": Files(("ASVspoof5.dev.track_1.tsv",), ("flac_D",), _FOLDERS),
        "eval": Files(("ASVspoof5.eval.track_1.tsv",), ("flac_E_eval", "flac_E"), _FOLDERS),
    },
    # The numbers of bona fide and spoofed trials are from the paper's table of the database. The numbers of the codecs
    # were counted in the published protocol of the evaluation set.
    counts={
        "train": Counts(182357, 18797, 163560),
        "dev": Counts(140950, 31334, 109616),
        "eval": Counts(
            680774,
            138688,
            542086,
            {
                "codec": {
                    **{"none": 171602, "C01": 47253, "C02": 47426, "C03": 47987, "C04": 47699, "C05": 47541},
                    **{"C06": 41554, "C07": 47348, "C08": 46678, "C09": 41599, "C10": 47477, "C11": 46610},
                }
            },
        ),
    },
    licence="see LICENSE.txt beside the archives",
    source="https://arxiv.org/abs/2408.08739",
    downloads=(Download("https://zenodo.org/records/14498691", "audio and protocols"),),
    obtain={
        "audio": "the flac_*.tar archives of https://zenodo.org/records/14498691, unpacked into one folder",
        "protocol": "ASVspoof5_protocols.tar.gz from https://zenodo.org/records/14498691",
    },
    # Enrolment recordings of track 2 (D_A0123, E_A0123) lie among the recordings of track 1.
    beside=r"[DE]_A\d+",
)
