"""ASVspoof 2019 LA."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from nes2net.data.corpora import protocol as files
from nes2net.data.corpora.corpus import AsvScores, Counts, Download
from nes2net.data.corpora.layout import Columns, Files, ListedCorpus
from nes2net.lib.storage.files import AnyPath
from nes2net.lib.storage.text_files import parse_float, read_rows

# The second name is the corpus's; the published code uses the first and the third, in its folder database/.
_PROTOCOL_FOLDERS = ("ASVspoof_LA_cm_protocols", "ASVspoof2019_LA_cm_protocols", "ASVspoof_DF_cm_protocols", ".")
COLUMNS = Columns("speaker, utterance, -, attack, label")


def asv_scores(path: AnyPath, phase: str = "eval") -> AsvScores:
    """Read the scores of the organisers' speaker-verification system.

    Args:
        path: the file of scores (each line: bona fide or attack, target/nontarget/spoof, score),
            the folder of the corpus, or a protocol or folder of protocols beside
            ``ASVspoof2019_LA_asv_scores``.
        phase: ``"dev"`` or ``"eval"``.

    Raises:
        NotFound: if there are no scores; the error lists the paths tried.
        InputError: if a line is malformed.
    """
    path = Path(path)
    name = f"ASVspoof2019.LA.asv.{phase}.gi.trl.scores.txt"
    folder = path.parent if path.is_file() else path
    score_folder = "ASVspoof2019_LA_asv_scores"
    candidates = [
        folder / name,
        folder / score_folder / name,
        folder / "LA" / score_folder / name,
        folder.parent / score_folder / name,
    ]
    if ".asv." in path.name:
        candidates.insert(0, path)
    file = files.first_file(
        candidates,
        what=f"ASV scores of ASVspoof 2019 LA {phase}",
        remedy=f"put {name} beside the protocols",
    )
    scores: dict[str, list[float]] = {"target": [], "nontarget": [], "spoof": []}
    for line, (_, key, score) in read_rows(file, 3, "attack, target/nontarget/spoof, score"):
        files.look_up_word(key, scores, "ASV key", file, line).append(parse_float(score, file, line))
    return AsvScores(*map(np.array, scores.values()))


def _files(split: str, protocol: str) -> Files:
    return Files(
        protocols=(protocol,),
        folders=_PROTOCOL_FOLDERS,
        audio=(f"ASVspoof2019_LA_{split}/flac",),
    )


CORPUS = ListedCorpus(
    title="ASVspoof 2019 LA",
    notes="""
    Wang et al., "ASVspoof 2019: A large-scale public database", Computer Speech & Language 64,
    2020.

    Layout: <root>/ASVspoof2019_LA_{train,dev,eval}/flac/ID.flac and one protocol per split with
    five fields a line: speaker, utterance, -, attack (- or A01–A19), bonafide or spoof. The splits
    have 25,380, 24,844 and 71,237 trials.
    """,
    rows=COLUMNS,
    below=(".", "LA"),
    parts={
        "train": _files("train", "ASVspoof2019.LA.cm.train.trn.txt"),
        "dev": _files("dev", "ASVspoof2019.LA.cm.dev.trl.txt"),
        "eval": _files("eval", "ASVspoof2019.LA.cm.eval.trl.txt"),
    },
    asv_scores=asv_scores,
    tdcf_version=2019,
    # These numbers were counted in the published protocols.
    counts={
        "train": Counts(25380, 2580, 22800, {"attack": {f"A{n:02}": 3800 for n in range(1, 7)}}),
        "dev": Counts(24844, 2548, 22296, {"attack": {f"A{n:02}": 3716 for n in range(1, 7)}}),
        "eval": Counts(71237, 7355, 63882, {"attack": {f"A{n:02}": 4914 for n in range(7, 20)}}),
    },
    # These numbers were counted in the published score files.
    asv_counts={"dev": (1484, 5768, 22296), "eval": (5370, 33327, 63882)},
    licence="ODC-By 1.0",
    source="https://arxiv.org/abs/1911.01601",
    downloads=(
        Download("https://datashare.ed.ac.uk/bitstream/handle/10283/3336/LA.zip", "audio, protocols and ASV scores"),
    ),
    obtain={
        "audio": "LA.zip from https://datashare.ed.ac.uk/handle/10283/3336",
        "protocol": "ASVspoof2019_LA_cm_protocols in LA.zip from https://datashare.ed.ac.uk/handle/10283/3336",
        "asv": "ASVspoof2019_LA_asv_scores in LA.zip from https://datashare.ed.ac.uk/handle/10283/3336",
    },
)
