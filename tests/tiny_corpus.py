"""A corpus of a few seconds in the ASVspoof 2019, 2021 and In-the-Wild layouts, of real speech where it is there."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import soundfile

SAMPLE_RATE = 16000


def generated_clips(label: str, count: int) -> list[np.ndarray]:
    """Clips of 0.9 to 2.4 s that a detector can tell apart: vowel-like glottal pulses, with breath noise where bona fide."""
    rng = np.random.default_rng(7 if label == "bonafide" else 8)
    clips = []
    for _ in range(count):
        time = np.arange(int(rng.uniform(0.9, 2.4) * SAMPLE_RATE)) / SAMPLE_RATE
        pitch = rng.uniform(90, 220) * (1 + 0.05 * np.sin(2 * np.pi * 3 * time))
        phase = 2 * np.pi * np.cumsum(pitch) / SAMPLE_RATE
        voice = sum(np.sin(k * phase) / k for k in range(1, 20))
        noise = rng.standard_normal(len(time))
        clips.append(0.1 * voice + (0.03 if label == "bonafide" else 0.001) * noise)
    return clips


def real_clips(folder: Path, label: str, count: int) -> list[np.ndarray]:
    """The first ``count`` recordings of ``folder/metadata.csv`` with this label, as FLAC and at most 4 s."""
    from nes2net.data.audio import load_audio

    with open(folder / "metadata.csv") as file:
        rows = [row for row in csv.DictReader(file) if row["label"] == label and row["file"].endswith(".flac")]
    return [load_audio(folder / row["file"])[: 4 * SAMPLE_RATE] for row in rows[:: max(1, len(rows) // count)][:count]]


def make(root: Path, audio: Path | None = None, per_class: int = 6) -> Path:
    """Build the corpus under ``root``: 2·``per_class`` clips in train, dev, 2021 LA, 2021 DF and In-the-Wild each, and keys."""
    clips = {
        label: generated_clips(label, per_class) if audio is None else real_clips(audio, label, per_class)
        for label in ("bonafide", "spoof")
    }
    rows = [(label, clip) for label in clips for clip in clips[label]]
    protocols = root / "ASVspoof_LA_cm_protocols"
    for split, letter, suffix in (("train", "T", "trn"), ("dev", "D", "trl")):
        lines = []
        for number, (label, clip) in enumerate(rows):
            name = f"LA_{letter}_{1000001 + number}"
            _write(root / f"ASVspoof2019_LA_{split}" / "flac" / f"{name}.flac", clip)
            lines.append(f"LA_{number % 3:04d} {name} - {'-' if label == 'bonafide' else 'A01'} {label}")
        _text(protocols / f"ASVspoof2019.LA.cm.{split}.{suffix}.txt", lines)
    for track in ("LA", "DF"):
        ids, key = [], []
        for number, (label, clip) in enumerate(rows):
            name = f"{track}_E_{1000001 + number}"
            _write(root / f"ASVspoof2021_{track}_eval" / "flac" / f"{name}.flac", clip)
            ids.append(name)
            attack = "bonafide" if label == "bonafide" else "A07"
            middle = f"none loc_tx {attack}" if track == "LA" else f"nocodec asvspoof {attack}"
            end = "" if track == "LA" else " bonafide - - - -" if label == "bonafide" else " unknown - - - -"
            key.append(f"LA_{number % 3:04d} {name} {middle} {label} notrim eval{end}")
        _text(root / f"ASVspoof_{track}_cm_protocols" / f"ASVspoof2021.{track}.cm.eval.trl.txt", ids)
        _text(root / "keys" / track / "CM" / "trial_metadata.txt", key)
    _asv(root / "keys" / "LA" / "ASV")
    wild = ["file,speaker,label"]
    for number, (label, clip) in enumerate(rows):
        _write(root / "release_in_the_wild" / f"{number}.wav", clip)
        wild.append(f"{number}.wav,Speaker {number % 3},{'bona-fide' if label == 'bonafide' else 'spoof'}")
    _text(root / "release_in_the_wild" / "meta.csv", wild)
    return root


def _asv(folder: Path) -> None:
    kinds = [("target", 1.0), ("nontarget", -1.0), ("spoof", 0.5)] * 5
    key, scores = [], []
    for number, (kind, mean) in enumerate(kinds):
        name = f"LA_E_{2000001 + number}"
        attack = "A07" if kind == "spoof" else "bonafide"
        key.append(f"LA_0000 {name} none loc_tx {attack} {kind} notrim eval")
        scores.append(f"LA_0000 {name} {mean + 0.3 * np.sin(number):.4f}")
    _text(folder / "trial_metadata.txt", key)
    _text(folder / "ASVTorch_Kaldi" / "score.txt", scores)


def _write(path: Path, clip: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, np.clip(clip, -1, 1), SAMPLE_RATE, subtype="PCM_16")


def _text(path: Path, lines: list[str]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{line}\n" for line in lines))
