"""The demonstration for the notebooks, or a stand-in of made voices where there is none.

`bash scripts/demo.sh --full` makes the demonstration: a corpus of real speech, two trained detectors and
their scores. The stand-in has the same files. It takes half a minute, needs nothing else, and its
figures mean nothing: real voices have breath noise in it, false ones have almost none.
"""

import os
import sys
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import numpy as np
import soundfile

from nes2net.data.registry import corpora
from nes2net.detector import Detector
from nes2net.evaluation.judgements import Scores
from nes2net.scoring.corpus import ScoringSettings, judge_trials
from nes2net.training.averaging import average
from nes2net.training.recipes.reading import load_recipe
from nes2net.training.recipes.recipe import Recipe
from nes2net.training.run import train

HERE = Path(__file__).parent
#: What the notebooks write.
MADE = HERE / "made"
RATE = 16000


def demonstration() -> Path:
    """Find the demonstration: the folder `NES2NET_DEMO`, that of scripts/demo.sh --full, or a stand-in."""
    if named := os.environ.get("NES2NET_DEMO"):
        return Path(named)
    demo = HERE.parents[1] / "demo_full"
    return demo if (demo / "scores" / "whisper.DF.txt").is_file() else stand_in(MADE / "demo")


def stand_in(demo: Path) -> Path:
    """Make the corpus, two detectors and their scores, unless they are there."""
    corpus = demo / "corpus"
    if not (corpus / "keys").is_dir():
        make_corpus(corpus)
    for name, bins in (("whisper", 256), ("lfcc", 64)):  # both are spectra here
        scores = demo / "scores" / f"{name}.DF.txt"
        if scores.is_file():
            continue
        with redirect_stdout(sys.stderr), open(os.devnull, "w") as nothing, redirect_stderr(nothing):
            run = train(small_recipe(corpus, demo, bins, f"comment={name}", "train.epochs=3"))
            checkpoint = average(run, last=2).path
            scores.parent.mkdir(exist_ok=True)
            detector = Detector.from_pretrained(checkpoint, device="cpu")
            trials = corpora.get("asvspoof2021_df").trials(corpus)
            judge_trials(detector, trials, scores, Scores(), settings=ScoringSettings(num_samples=RATE, num_workers=0))
    return demo


def small_recipe(corpus: Path, out: Path, bins: int, *overrides: str) -> Recipe:
    """Reduce a packaged recipe to a spectrum of ``bins``, a small network and a second of audio."""
    return load_recipe(
        "asvspoof2019_nes2net_x",
        [
            f"data.root={corpus}",
            f"output={out / 'models'}",
            f"logs={out / 'logs'}",
            f"model.frontend={{name: lps, n_fft: 512, hop_length: 256, num_bins: {bins}, normalize: true}}",
            "model.backend.nes_ratio=[4,4]",
            "ssl_checkpoint=null",
            "augment.algo=0",
            "date=demo",
            "data.num_samples=16000",
            "data.num_workers=0",
            "train.batch_size=8",
            "train.lr=0.002",
            "train.keep=all",
            "validation.augmented=false",
            *overrides,
        ],
    )


def make_corpus(root: Path) -> None:
    """Write made voices in the folders of ASVspoof 2019 LA and 2021 DF, 32 in training and 16 in each other part."""
    rng = np.random.default_rng(0)
    parts = {
        "ASVspoof2019_LA_train": "ASVspoof_LA_cm_protocols/ASVspoof2019.LA.cm.train.trn.txt",
        "ASVspoof2019_LA_dev": "ASVspoof_LA_cm_protocols/ASVspoof2019.LA.cm.dev.trl.txt",
        "ASVspoof2021_DF_eval": "ASVspoof_DF_cm_protocols/ASVspoof2021.DF.cm.eval.trl.txt",
    }
    for folder, protocol in parts.items():
        lines, key = [], []
        for number in range(32 if folder.endswith("train") else 16):
            utterance, label = f"{folder[11:]}_{number:02d}", ("bonafide", "spoof")[number % 2]
            audio = root / folder / "flac" / f"{utterance}.flac"
            audio.parent.mkdir(parents=True, exist_ok=True)
            lowest = 150 if "2021" in folder else 90  # another speaker
            soundfile.write(audio, voice(rng, 0.02 if label == "bonafide" else 0.006, lowest), RATE)
            attack = f"A0{number // 2 % 2 + 1}"
            lines.append(utterance if "2021" in folder else f"LA_0001 {utterance} - {attack} {label}")
            if number // 2 % 4 == 3:
                attack = "A07"  # evaluation has an attack that training lacks
            key.append(f"LA_0002 {utterance} nocodec asvspoof {attack} {label} notrim eval made - - - -")
        write(root / protocol, lines)
    write(root / "keys" / "DF" / "CM" / "trial_metadata.txt", key)


def voice(rng: np.random.Generator, noise: float, lowest: float) -> np.ndarray:
    """One to three seconds of a buzzing voice with ``noise``, at a pitch of at least ``lowest`` Hz."""
    time = np.arange(int(rng.uniform(1, 3) * RATE)) / RATE
    pitch = rng.uniform(lowest, lowest + 60) * (1 + 0.05 * np.sin(2 * np.pi * rng.uniform(1, 4) * time))
    phase = 2 * np.pi * np.cumsum(pitch) / RATE
    buzz = sum(np.sin(harmonic * phase) / harmonic for harmonic in range(1, 20))
    return 0.1 * buzz + noise * rng.uniform(0.5, 1.5) * rng.standard_normal(len(time))


def write(path: Path, lines: list[str]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n")
