"""Corpora of a few seconds in the layouts of the real ones, of generated speech."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import soundfile

from builders import miniature_corpora
from builders.files import write
from builders.voices import voice

SAMPLE_RATE = 16000
#: Track of ASVspoof 2021 → a line of its key, without the speaker.
_KEY_LINES = {
    "LA": "{name} none loc_tx {attack} {label} notrim eval",
    "DF": "{name} nocodec asvspoof {attack} {label} notrim eval {vocoder} - - - -",
}


def generated_clips(label: str, count: int) -> list[np.ndarray]:
    """Voices of 0.9 to 2.4 s that a detector can tell apart: only bona fide ones have breath."""
    breath = 0.1 if label == "bonafide" else 0.003
    rng = np.random.default_rng(7 if label == "bonafide" else 8)
    clips = []
    for _ in range(count):
        seed = int(rng.integers(1000))
        clips.append(voice(seed, rng.uniform(0.9, 2.4), pauses=False, breath=breath))
    return clips


def make_all(root: Path) -> Path:
    """Make every corpus under ``root``, with four clips in each part; ASVspoof 5 and CtrSVDD in miniature."""
    make(root, per_class=2)
    rows = labelled_clips(2)
    for make_one in (make_2019_eval, make_partialspoof, make_generic):
        make_one(root, rows)
    for name in ("asvspoof5", "ctrsvdd"):
        miniature_corpora.make(root / name, miniature_corpora.CORPORA[name])
    return root


def make_2019_eval(root: Path, rows: list[tuple[str, np.ndarray]]):
    """The evaluation part of ASVspoof 2019 LA, with scores of speaker verification."""
    lines = []
    for number, (label, clip) in enumerate(rows):
        name = f"LA_E_{3000001 + number}"
        _write(root / "ASVspoof2019_LA_eval" / "flac" / f"{name}.flac", clip)
        lines.append(f"LA_{number % 3:04d} {name} - {'-' if label == 'bonafide' else 'A07'} {label}")
    write(root / "ASVspoof_LA_cm_protocols" / "ASVspoof2019.LA.cm.eval.trl.txt", lines)
    scores = ["bonafide target 2.0", "bonafide nontarget -1.0", "A07 spoof 0.5", "bonafide target 0.4"] * 3
    write(root / "ASVspoof2019_LA_asv_scores" / "ASVspoof2019.LA.asv.eval.gi.trl.scores.txt", scores)


def make_partialspoof(root: Path, rows: list[tuple[str, np.ndarray]]):
    """PartialSpoof in ``root/partialspoof``, with labels every 10 and 20 ms."""
    root = root / "partialspoof" / "database"
    for split in ("train", "dev", "eval"):
        lines = []
        segments = {}
        finer = {}
        for number, (label, clip) in enumerate(rows):
            name = f"{'LA' if label == 'bonafide' else 'CON'}_{split[0].upper()}_{number:07d}"
            _write(root / split / "con_wav" / f"{name}.wav", clip)
            lines.append(f"LA_{number % 3:04d} {name} - {'-' if label == 'bonafide' else 'CON'} {label}")
            labels = np.full(-(-len(clip) // 320), "1")
            labels[:3] = "1" if label == "bonafide" else "0"
            segments[name] = labels
            finer[name] = labels.repeat(2)[: -(-len(clip) // 160)]
        write(root / "protocols" / "PartialSpoof_LA_cm_protocols" / f"PartialSpoof.LA.cm.{split}.trl.txt", lines)
        (root / "segment_labels").mkdir(exist_ok=True)
        np.save(root / "segment_labels" / f"{split}_seglab_0.02.npy", segments)
        np.save(root / "segment_labels" / f"{split}_seglab_0.01.npy", finer)


def make_generic(root: Path, rows: list[tuple[str, np.ndarray]]):
    """A folder for each class in ``root/generic``, and ``root/list.csv`` with more columns."""
    lines = ["path,label,speaker,attack,room"]
    for number, (label, clip) in enumerate(rows):
        name = f"real/clip {number}.wav" if label == "bonafide" else f"fake/vocoder{number % 2}/clip{number}.wav"
        _write(root / "generic" / name, clip)
        attack = "" if label == "bonafide" else f"vocoder{number % 2}"
        lines.append(f"generic/{name},{label},speaker{number % 3},{attack},kitchen")
    write(root / "list.csv", lines)


def labelled_clips(per_class: int) -> list[tuple[str, np.ndarray]]:
    rows = [("bonafide", clip) for clip in generated_clips("bonafide", per_class)]
    return rows + [("spoof", clip) for clip in generated_clips("spoof", per_class)]


def make(root: Path, per_class: int = 6) -> Path:
    """Make train, dev, 2021 LA, 2021 DF and In-the-Wild, each of 2·``per_class`` clips, and keys."""
    rows = labelled_clips(per_class)
    protocols = root / "ASVspoof_LA_cm_protocols"
    for split, letter, suffix in (("train", "T", "trn"), ("dev", "D", "trl")):
        lines = []
        for number, (label, clip) in enumerate(rows):
            name = f"LA_{letter}_{1000001 + number}"
            _write(root / f"ASVspoof2019_LA_{split}" / "flac" / f"{name}.flac", clip)
            lines.append(f"LA_{number % 3:04d} {name} - {'-' if label == 'bonafide' else 'A01'} {label}")
        write(protocols / f"ASVspoof2019.LA.cm.{split}.{suffix}.txt", lines)
    for track, key_line in _KEY_LINES.items():
        ids = []
        key = []
        for number, (label, clip) in enumerate(rows):
            name = f"{track}_E_{1000001 + number}"
            _write(root / f"ASVspoof2021_{track}_eval" / "flac" / f"{name}.flac", clip)
            ids.append(name)
            attack = "bonafide" if label == "bonafide" else "A07"
            line = key_line.format(name=name, attack=attack, label=label, vocoder=label.replace("spoof", "unknown"))
            key.append(f"LA_{number % 3:04d} {line}")
        write(root / f"ASVspoof_{track}_cm_protocols" / f"ASVspoof2021.{track}.cm.eval.trl.txt", ids)
        write(root / "keys" / track / "CM" / "trial_metadata.txt", key)
    _asv(root / "keys" / "LA" / "ASV")
    wild = ["file,speaker,label"]
    for number, (label, clip) in enumerate(rows):
        _write(root / "release_in_the_wild" / f"{number}.wav", clip)
        wild.append(f"{number}.wav,Speaker {number % 3},{'bona-fide' if label == 'bonafide' else 'spoof'}")
    write(root / "release_in_the_wild" / "meta.csv", wild)
    return root


def _asv(folder):
    kinds = [("target", 1.0), ("nontarget", -1.0), ("spoof", 0.5)] * 5
    key = []
    scores = []
    for number, (kind, mean) in enumerate(kinds):
        name = f"LA_E_{2000001 + number}"
        attack = "A07" if kind == "spoof" else "bonafide"
        key.append(f"LA_0000 {name} none loc_tx {attack} {kind} notrim eval")
        scores.append(f"LA_0000 {name} {mean + 0.3 * np.sin(number):.4f}")
    write(folder / "trial_metadata.txt", key)
    write(folder / "ASVTorch_Kaldi" / "score.txt", scores)


def _write(path, clip):
    soundfile.write(write(path), np.clip(clip, -1, 1), SAMPLE_RATE, subtype="PCM_16")
