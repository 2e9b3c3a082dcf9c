"""ASVspoof 5, track 1.

Wang et al., "ASVspoof 5: Crowdsourced speech data, deepfakes, and adversarial attacks at scale",
2024.

Layout: ``<root>/flac_T``, ``flac_D``, ``flac_E_eval`` and one protocol per split. Its ten fields a
line are separated by spaces, although it is called ``.tsv``: speaker, utterance, gender, codec,
codec quality, codec seed, attack tag, attack label, ``bonafide`` or ``spoof``, ``-``.
182,357 / 140,950 / 680,774 trials.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from nes2net.corpora import protocol as files
from nes2net.corpora.corpus import Corpus, Counts
from nes2net.corpora.trial import Trial

_PROTOCOLS = {
    "train": ("ASVspoof5.train.tsv",),
    "dev": ("ASVspoof5.dev.track_1.tsv",),
    "eval": ("ASVspoof5.eval.track_1.tsv",),
}
_PROTOCOL_FOLDERS = (".", "ASVspoof5_protocols", "protocols")
_AUDIO = {"train": ("flac_T",), "dev": ("flac_D",), "eval": ("flac_E_eval", "flac_E")}
_FIELDS = "speaker, utterance, gender, codec, quality, seed, attack tag, attack, label, -"


def trials(root: str | Path, split: str, *, protocols: str | Path | None = None) -> list[Trial]:
    """The labelled trials of ``split`` in the order of the protocol, with the paths of their audio.

    No audio file is touched.

    Args:
        root: The folder that holds ``flac_T``, ``flac_D``, ``flac_E_eval``.
        split: ``"train"``, ``"dev"`` or ``"eval"``.
        protocols: The folder of the protocols, if it is not ``root`` or ``ASVspoof5_protocols`` in
            it.

    Raises:
        InputError: if the split is unknown, a folder or the protocol is missing, or a line of the
            protocol is malformed.
    """
    return CORPUS.read_split(root, split, protocols)


def keys(path: str | Path, phase: str | None = None) -> list[Trial]:
    """The labelled trials without audio, for evaluation.

    Args:
        path: A protocol file, or the folder of the corpus or of its protocols.
        phase: ``"train"``, ``"dev"`` or ``"eval"``; None for all of which there is a protocol.

    Raises:
        InputError: if the phase is unknown, no protocol is there (the message names every path
            tried), or a line is malformed.
    """
    return files.keys_of_splits(path, phase, CORPUS.title, _PROTOCOLS, find_protocol, read_protocol)


def find_protocol(root: str | Path, split: str, protocols: str | Path | None = None) -> Path:
    """The protocol of ``split``, or :class:`~nes2net.corpora.protocol.NotFound`."""
    split = files.known_split(split, CORPUS.splits, CORPUS.title)
    return files.first_protocol(root, protocols, _PROTOCOL_FOLDERS, _PROTOCOLS[split], f"ASVspoof 5 {split}")


def find_audio(root: str | Path, split: str) -> Path:
    """The folder with the audio of ``split``, or :class:`~nes2net.corpora.protocol.NotFound`."""
    split = files.known_split(split, CORPUS.splits, CORPUS.title)
    return files.first_folder(
        [Path(root) / name for name in _AUDIO[split]],
        what=f"audio of ASVspoof 5 {split}",
        remedy=f"give the folder that holds {_AUDIO[split][0]}",
    )


def read_protocol(path: Path, split: str | None, audio: Path | None = None) -> list[Trial]:
    """The trials of a protocol. :class:`InputError` names the file and line that is malformed."""
    return files.checked_trials(_read_lines(path, split, audio), path)


def _read_lines(path: Path, split: str | None, audio: Path | None) -> Iterator[Trial]:
    for line, row in files.read_rows(path, 10, _FIELDS):
        speaker, utterance, gender, codec, quality, seed, attack_type, attack, label, _ = row
        yield Trial(
            id=files.checked_id(utterance, path, line),
            path=files.audio_path(audio, utterance),
            label=files.checked_word(label, files.ASVSPOOF_LABELS, "label", path, line),
            speaker=files.or_none(speaker),
            attack=files.or_none(attack, "bonafide"),
            codec=files.or_none(codec) or "none",
            phase=split,
            gender=files.or_none(gender),
            # Without a codec it is "-" in training and development, "0" in evaluation.
            quality=files.or_none(quality, "0"),
            seed=files.or_none(seed),
            attack_type=files.or_none(attack_type, "bonafide"),
        )


CORPUS = Corpus(
    title="ASVspoof 5",
    trials=trials,
    keys=keys,
    find_protocol=find_protocol,
    find_audio=find_audio,
    read_protocol=read_protocol,
    # Classes as in the paper's table of the database; codecs as counted in the published protocol
    # of the evaluation set.
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
    obtain={
        "audio": "the flac_*.tar archives of https://zenodo.org/records/14498691, unpacked into one folder",
        "protocol": "ASVspoof5_protocols.tar.gz from https://zenodo.org/records/14498691",
    },
    # Enrolment recordings of track 2 (D_A0123, E_A0123) lie among those of track 1.
    beside=r"[DE]_A\d+",
)
