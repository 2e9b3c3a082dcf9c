"""Folders, protocols and keys in the layouts of ASVspoof 2019 LA, 2021 LA and DF, and In-the-Wild."""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from pathlib import Path

import soundfile
from numpy.typing import NDArray

from nes2net.lib.errors import InputError
from nes2net.lib.storage.files import replacing, write_text

from .channel import RATE
from .plan import Clip
from .recordings import Recording
from .synthesis import EVALUATION_PARTS, LEARNT, METHODS

_FOLDERS = {
    "train": "ASVspoof2019_LA_train/flac",
    "dev": "ASVspoof2019_LA_dev/flac",
    "la": "ASVspoof2021_LA_eval/flac",
    "df": "ASVspoof2021_DF_eval/flac",
    "wild": "release_in_the_wild",
}
LA_PROTOCOLS = "ASVspoof_LA_cm_protocols"
DF_PROTOCOLS = "ASVspoof_DF_cm_protocols"
PART_NAMES = {
    "train": "training (2019 LA)",
    "dev": "development (2019 LA)",
    "la": "2021 LA",
    "df": "2021 DF",
    "wild": "In-the-Wild",
}


def audio_path(out: Path, clip: Clip) -> Path:
    """Return the path of a clip below ``out``."""
    suffix = ".wav" if clip.part_name == "wild" else ".flac"
    return out / _FOLDERS[clip.part_name] / f"{clip.id}{suffix}"


def write_audio(path: Path, x: NDArray) -> None:
    """Write ``x`` as 16 kHz mono PCM_16, FLAC or WAV by the suffix of ``path``."""
    with replacing(path) as temporary:
        soundfile.write(temporary, x, RATE, subtype="PCM_16", format=path.suffix[1:].upper())


def lines(rows) -> str:
    """Join rows to lines of text."""
    return "".join(f"{row}\n" for row in rows)


def _la_key(clip: Clip) -> str:
    """Write the line of a clip in the key of 2021 LA."""
    attack = "bonafide" if clip.is_human else clip.attack
    fields = (clip.source.speaker, clip.id, clip.codec, "loc_tx", attack)
    return " ".join((*fields, clip.label, "notrim", clip.phase))


def _df_key(clip: Clip) -> str:
    """Write the line of a clip in the key of 2021 DF."""
    vocoder = "bonafide" if clip.is_human else METHODS[clip.method].vocoder
    fields = (clip.source.speaker, clip.id, clip.codec, "asvspoof", clip.attack)
    return " ".join((*fields, clip.label, "notrim", clip.phase, vocoder, "-", "-", "-", "-"))


def write_learning_protocols(out: Path, clips: list[Clip]) -> None:
    """Write the protocols of the training and the development part."""
    for part_name, name in (("train", "train.trn"), ("dev", "dev.trl")):
        rows = []
        for clip in clips:
            if clip.part_name == part_name:
                rows.append(f"{clip.source.speaker} {clip.id} - {clip.attack} {clip.label}")
        for folder in (LA_PROTOCOLS, DF_PROTOCOLS):
            write_text(out / folder / f"ASVspoof2019.LA.cm.{name}.txt", lines(rows))


def write_evaluation_protocols(out: Path, clips: list[Clip]) -> None:
    """Write the protocols of the evaluation parts, the CM keys of 2021 LA and DF, and meta.csv of In-the-Wild."""
    by_part = defaultdict(list)
    for clip in clips:
        by_part[clip.part_name].append(clip)
    la = by_part["la"]
    df = by_part["df"]
    write_text(out / LA_PROTOCOLS / "ASVspoof2021.LA.cm.eval.trl.txt", lines(clip.id for clip in la))
    write_text(out / DF_PROTOCOLS / "ASVspoof2021.DF.cm.eval.trl.txt", lines(clip.id for clip in df))
    write_text(out / "keys/LA/CM/trial_metadata.txt", lines(map(_la_key, la)))
    write_text(out / "keys/DF/CM/trial_metadata.txt", lines(map(_df_key, df)))
    rows = ["file,speaker,label"]
    for clip in by_part["wild"]:
        label = "bona-fide" if clip.is_human else "spoof"
        rows.append(f"{clip.id}.wav,{clip.source.speaker},{label}")
    write_text(out / "release_in_the_wild/meta.csv", lines(rows))


def write_asv(out: Path, trials: list[tuple[str, Clip, str, float]]) -> None:
    """Write the key and the scores of the speaker verification.

    Args:
        trials: (claimed speaker, clip, "target", "nontarget" or "spoof", score) of each trial.
    """
    keys = []
    scores = []
    for speaker, clip, key, score in trials:
        model = f"{speaker}-{clip.codec}-loc_tx"
        attack = "bonafide" if clip.is_human else clip.attack
        keys.append(f"{model} {clip.id} {clip.codec} loc_tx {attack} {key} notrim {clip.phase}")
        scores.append(f"{model} {clip.id} {score:.6f}")
    write_text(out / "keys/LA/ASV/trial_metadata.txt", lines(keys))
    write_text(out / "keys/LA/ASV/ASVTorch_Kaldi/score.txt", lines(scores))


def count_table(out: Path, clips: list[Clip]) -> str:
    """Write a Markdown table with the number and the minutes of clips of each part and class."""
    seconds = defaultdict(list)
    for clip in clips:
        duration = soundfile.info(audio_path(out, clip)).duration
        seconds[clip.part_name, clip.is_human].append(duration)
    rows = ["| part | human | minutes | spoofed | minutes |", "|---|---|---|---|---|"]
    for part_name, name in PART_NAMES.items():
        cells = []
        for is_human in (True, False):
            durations = seconds[part_name, is_human]
            cells.append(f"{len(durations)} | {sum(durations) / 60:.1f}")
        rows.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(rows)


def write_readme(out: Path, clips: list[Clip], source: str, asv: str, cues: str) -> None:
    """Write the README.md of the corpus.

    Args:
        source: where the human speech comes from.
        asv: the note about the toy speaker verification.
        cues: the summary of the check of trivial cues.
    """
    used_methods = {clip.method for clip in clips}
    learnt_methods = {clip.method for clip in clips if clip.part_name in LEARNT}
    rows = []
    for name, method in METHODS.items():
        if name in used_methods:
            occurrence = "all parts" if name in learnt_methods else "evaluation only"
            rows.append(f"| {method.attack} | {method.description} | {occurrence} |")
    evaluation = "occur in training too" if _speakers_overlap(clips) else "do not occur in training or development"
    text = f"""# Demonstration corpus

Real human speech and made spoofs in the layout of ASVspoof 2019 LA (training, development), ASVspoof 2021 LA and DF and
In-the-Wild (evaluation). It shows that a detector learns and that every program runs; its error rates compare with nothing.

{source}

{count_table(out, clips)}

Evaluation speakers {evaluation}. Both classes went through the same channel (spectrum, noise, crest factor,
level, pauses, ends, G.722) and share the same distribution of codecs. {cues}

| attack | method | where |
|---|---|---|
{lines(rows)}
2021 LA: every trial was really coded and decoded by the codec of its key, but over no line: the transmission is `loc_tx`
throughout, and there is no `pstn`. 2021 DF: bit rates are this corpus's own, and "ogg" is Opus in Ogg. In-the-Wild: an
unnamed mixture of the same codecs. In the DF key the vocoder class of text-to-speech programs is `unknown`.

{asv}
"""
    write_text(out / "README.md", text)


def _speakers_overlap(clips: list[Clip]) -> bool:
    tested = {clip.source.speaker for clip in clips if clip.part_name in EVALUATION_PARTS}
    learnt = {clip.source.speaker for clip in clips if clip.part_name in LEARNT}
    return bool(tested & learnt)


def _read_manifest(out: Path) -> dict:
    """Read the manifest of a corpus, complete or not; empty if there is none."""
    path = out / "manifest.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}


def _write_manifest(out: Path, manifest: dict) -> None:
    write_text(out / "manifest.json", json.dumps(manifest, indent=1, sort_keys=True) + "\n")


def stamp(recordings: list[Recording], seed: int, settings: dict) -> dict:
    """Describe what a corpus is made of, to recognise it: ``settings``, the seed, and a digest of the human speech."""
    rows = []
    for r in recordings:
        rows.append(f"{r.key} {r.path.stat().st_size} {r.speaker} {r.role} {r.start:.3f} {r.stop:.3f}")
    digest = hashlib.sha1("\n".join(rows).encode()).hexdigest()
    return {**settings, "seed": seed, "human speech": digest}


def begin(out: Path, stamp: dict) -> dict[str, float] | None:
    """Begin or continue a corpus in ``out``.

    Args:
        stamp: what the corpus is made of; see :func:`stamp`.

    Returns:
        The EERs of the check if the corpus is complete, otherwise None.

    Raises:
        InputError: if ``out`` holds something else.
    """
    manifest = _read_manifest(out)
    if not manifest and out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise InputError(f"{out} exists and is not a demonstration corpus; give another --out")
    different = [name for name in stamp if manifest and manifest["stamp"].get(name) != stamp[name]]
    if different:
        raise InputError(f"{out} holds a corpus with another {', '.join(different)}; delete it or give another --out")
    if manifest.get("complete") and all((out / name).is_file() for name in manifest["files"]):
        print(f"{out} is complete already")
        return manifest["trivial_cue_eer"]
    _write_manifest(out, {"stamp": stamp, "complete": False})
    return None


def complete(out: Path, stamp: dict, paths: list[Path], eers: dict[str, float]) -> None:
    """Mark the corpus as complete; ``paths`` are its audio files, ``eers`` the result of its check."""
    files = [path.relative_to(out).as_posix() for path in paths]
    _write_manifest(out, {"stamp": stamp, "complete": True, "files": files, "trivial_cue_eer": eers})
