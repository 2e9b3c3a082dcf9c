"""ASVspoof 2021 LA."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from nes2net.data.corpora import protocol as files
from nes2net.data.corpora.corpus import AsvScores, Counts, Download
from nes2net.data.corpora.layout import Columns, Files, ListedCorpus
from nes2net.lib.errors import InputError
from nes2net.lib.output.sheet import Facts
from nes2net.lib.storage.files import AnyPath
from nes2net.lib.storage.text_files import parse_float, read_rows

# Word for a phase → our name of the phase. The keys say "hidden", and the published scripts say "hidden_track".
PHASES = {"progress": "progress", "eval": "eval", "hidden": "hidden", "hidden_track": "hidden"}


def shared_arguments(track: str, key: Columns) -> Facts:
    """Return the arguments of ``ListedCorpus`` that both tracks, ``"LA"`` and ``"DF"``, share."""
    folder = f"ASVspoof2021_{track}_eval"
    key_folders = (f"{track}/CM", f"keys/{track}/CM", f"{track}/keys/{track}/CM", "CM", "keys/CM", ".")
    return {
        "title": f"ASVspoof 2021 {track}",
        "rows": Columns("utterance"),
        "below": (".", track),
        "parts": {
            "eval": Files(
                protocols=(f"ASVspoof2021.{track}.cm.eval.trl.txt",),
                folders=(f"ASVspoof_{track}_cm_protocols", folder, "."),
                audio=(f"{folder}/flac", "flac"),
            )
        },
        "key": key,
        "key_files": [f"{folder}/trial_metadata.txt" for folder in key_folders],
        "phases": ("progress", "eval", "hidden"),
    }


def asv_scores(path: AnyPath, phase: str = "eval") -> AsvScores:
    """Read the scores of the organisers' speaker-verification system.

    The scores of the ASV trials of ``phase``; they lie in another file than the key, in the same
    order.

    Args:
        path: as for ``CORPUS.keys``.
        phase: ``"progress"``, ``"eval"`` or ``"hidden"``.

    Raises:
        NotFound: if one of the files is missing; the error lists the paths tried.
        InputError: if there is no such phase, if a line is malformed, or if the two files do not
            belong together.
    """
    phase = files.canonical_phase(phase)
    CORPUS.check_known_phase(phase)
    path = Path(path)
    folders = [path / "LA", path / "keys" / "LA", path / "LA" / "keys" / "LA", path, path / "keys"]
    if path.is_file():
        folders = [path.parent.parent]
    elif path.name == "CM":
        folders.append(path.parent)
    remedy = "give the key folder that holds LA/ASV"
    key_file = files.first_file(
        [folder / "ASV" / "trial_metadata.txt" for folder in folders],
        what="ASV key of ASVspoof 2021 LA",
        remedy=remedy,
    )
    score_file = files.first_file(
        [key_file.with_name("ASVTorch_Kaldi") / "score.txt", key_file.with_name("ASVtorch_kaldi") / "score.txt"],
        what="ASV scores of ASVspoof 2021 LA",
        remedy=remedy,
    )
    # Read both files: line n of the scores belongs to line n of the key.
    names = "speaker, utterance, codec, transmission, attack, target/nontarget/spoof, trim, phase"
    key_rows = list(read_rows(key_file, 8, names))
    score_rows = list(read_rows(score_file, 3, "speaker, utterance, score"))
    if len(key_rows) != len(score_rows):
        raise InputError(
            f"{score_file}: has {len(score_rows)} scores, but {key_file} has {len(key_rows)} trials; download both again"
        )
    scores: dict[str, list[float]] = {"target": [], "nontarget": [], "spoof": []}
    for (line, row), (score_line, (_, utterance, score)) in zip(key_rows, score_rows):
        # In one of the two files, an id may end in codec and transmission: LA_E_1234567-alaw-ita_tx.
        if row[1].partition("-")[0] != utterance.partition("-")[0]:
            raise InputError(
                f"{score_file}, line {score_line}: expected a score of {row[1]} (line {line} of the key), found one of {utterance}; "
                "download both files again"
            )
        values = files.look_up_word(row[5], scores, "ASV key", key_file, line)
        if files.canonical_phase(row[7]) == phase:
            values.append(parse_float(score, score_file, score_line))
    return AsvScores(*map(np.array, scores.values()))


CORPUS = ListedCorpus(
    **shared_arguments(
        "LA",
        Columns(
            "speaker, utterance, codec, transmission, attack, label, trim, phase",
            phases=PHASES,
            words={"attack": {"bonafide": None}},
        ),
    ),
    notes="""
    Liu et al., "ASVspoof 2021: Towards Spoofed and Deepfake Speech Detection in the Wild", TASLP
    31, 2023.

    Layout: <root>/ASVspoof2021_LA_eval/flac/ID.flac and a protocol of ids. The labels come in an
    archive of their own, the keys. This archive holds LA/CM/trial_metadata.txt for the
    countermeasure, and LA/ASV for the speaker-verification system of the t-DCF. The corpus has
    181,566 trials; 148,176 of them belong to the phase eval.
    """,
    asv_scores=asv_scores,
    tdcf_version=2021,
    counts={"eval": Counts(181566)},
    # From the paper.
    key_counts={
        "progress": Counts(16464, 1676, 14788),
        "eval": Counts(148176, 14816, 133360),
        "hidden": Counts(16926, 1960, 14966),
    },
    licence="ODC-By 1.0",
    source="https://arxiv.org/abs/2210.02437",
    downloads=(
        Download("https://zenodo.org/records/4837263", "audio and protocol"),
        Download(
            "https://www.asvspoof.org/asvspoof2021/LA-keys-full.tar.gz",
            "keys and ASV scores",
            digests={"md5": "037592a0515971bbd0fa3bff2bad4abc"},
        ),
    ),
    obtain={
        "audio": "https://zenodo.org/records/4837263",
        "protocol": "ASVspoof2021.LA.cm.eval.trl.txt in the archive of the audio, https://zenodo.org/records/4837263",
        "keys": "https://www.asvspoof.org/asvspoof2021/LA-keys-full.tar.gz",
        "asv": "LA/ASV of https://www.asvspoof.org/asvspoof2021/LA-keys-full.tar.gz",
    },
)
