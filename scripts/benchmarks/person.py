"""Claim: to decide on a claimed person, with AASIST and `ge2e`, takes at most 1.3 times AASIST's own processor time.

One judge scores recordings of 4 s (64,600 samples, a voice in FLAC) by the detector alone, and another one
also compares the voice with an enrolled person. Both run in turn (A B A B …); the ratio is of medians.
A third run scores a corpus in which each recording stands in five claims that follow each other, as
`nes2net score --person` does. Processor seconds are those of all threads. Weights are random, which changes no time.

    scripts/bench person                              # minutes
    scripts/bench person --files 1000 --rounds 3      # half an hour
    scripts/bench person --files 2 --rounds 1         # as a test; the figures mean nothing
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import torch
from _harness import first_line, median_seconds, seconds_by, versions
from scipy.signal import sawtooth

from nes2net.actions.people import ClaimScoring
from nes2net.data.audio.waveform import ASVSPOOF_SAMPLES, SAMPLE_RATE
from nes2net.data.corpora.trial import Trial
from nes2net.detector import Detector
from nes2net.models.speakers import SpeakerEncoder, create_speaker_encoder
from nes2net.models.speakers.ge2e import Ge2eNetwork
from nes2net.scoring.claimed import PersonDecider
from nes2net.scoring.corpus import ScoringSettings, judge_trials
from nes2net.scoring.judged import Failed
from nes2net.scoring.judging import Judge, JudgingSettings
from nes2net.scoring.measuring import Measurer
from nes2net.scoring.people import EnrolledRecording, PeopleStore
from nes2net.scoring.waveforms import RecordingToJudge

PERSON = "anna"
FURTHER_PEOPLE = ("bob", "carl", "dora", "eve")


def write_voices(folder: Path, count: int) -> list[Path]:
    """Write FLAC files of a voice with gliding pitch and syllables."""
    times = np.arange(ASVSPOOF_SAMPLES) / SAMPLE_RATE
    syllables = 0.55 + 0.45 * np.sin(2 * np.pi * 4 * times)
    paths = []
    for number in range(count):
        pitch = 100 + number % 100 + 20 * np.sin(2 * np.pi * 0.7 * times)
        path = folder / f"{number}.flac"
        soundfile.write(path, 0.3 * syllables * sawtooth(2 * np.pi * np.cumsum(pitch) / SAMPLE_RATE), SAMPLE_RATE)
        paths.append(path)
    return paths


def random_encoder(folder: Path) -> SpeakerEncoder:
    """Build the encoder with random weights, so that no package with weights is needed."""
    path = folder / "ge2e.pt"
    torch.save({"model_state": Ge2eNetwork().state_dict()}, path)
    return create_speaker_encoder("ge2e", checkpoint=path)


def enrolled(folder: Path, encoder: SpeakerEncoder, path: Path) -> PersonDecider:
    """Enrol people with one recording, and decide on claims of one of them."""
    store = PeopleStore(folder / "people", encoder.identity)
    facts = EnrolledRecording(
        sha256="0" * 64, seconds=4, speech=4, bandwidth=8000, date="2026-01-01", consent="none", accepted=[]
    )
    for name in (PERSON, *FURTHER_PEOPLE):
        store.add(name, [(facts, encoder.embed(path))])
    return PersonDecider(store, PERSON, encoder)


def judge_all(judge: Judge[Any], paths: Sequence[Path]) -> None:
    """Judge all recordings.

    Raises:
        RuntimeError: if a recording has no answer, or its voice was not compared.
    """
    for answer in judge.answers([RecordingToJudge.of(path) for path in paths]):
        if isinstance(answer, Failed):
            raise RuntimeError(str(answer.error))
        if judge.decider is not None and answer.to_row()["asv_score"] is None:
            raise RuntimeError(f"{answer.to_row()['reason']}")


def score_corpus(detector: Detector, decider: PersonDecider, paths: Sequence[Path], out: Path) -> None:
    """Score each recording as one of every person, and remove the scores."""
    names = (PERSON, *FURTHER_PEOPLE)
    trials = [Trial(f"{name}:{path.stem}", path) for path in paths for name in names]
    judgement = ClaimScoring(replace(decider, name=""), Measurer.of(detector, decider))
    settings = ScoringSettings(num_samples=ASVSPOOF_SAMPLES, num_workers=0, overwrite=True)
    finished = judge_trials(detector, trials, out, judgement, settings=settings)
    if finished.done != len(trials):
        raise RuntimeError(f"{finished.failures}")
    out.unlink()


def main() -> None:
    """Judge with and without the claim, and print processor times."""
    parser = argparse.ArgumentParser(description=first_line(__doc__))
    parser.add_argument("--files", type=int, default=40)
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    torch.manual_seed(0)
    print(versions())
    detector = Detector.from_config({"frontend": "waveform", "backend": "raw_aasist"}).eval()
    settings = JudgingSettings(num_samples=ASVSPOOF_SAMPLES)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        first, *paths = write_voices(folder, 1 + arguments.files)
        decider = enrolled(folder, random_encoder(folder), first)
        alone: Judge[Any] = Judge(detector, settings=settings)
        claimed: Judge[Any] = Judge(detector, decider=decider, settings=settings)
        runs = {
            "AASIST": partial(judge_all, alone, paths),
            "AASIST and ge2e": partial(judge_all, claimed, paths),
            "claims of a corpus": partial(score_corpus, detector, decider, paths, folder / "claims.tsv"),
        }
        seconds = median_seconds(runs, arguments.rounds, seconds_by(time.process_time), warm_up=1)
    for program, median in seconds.items():
        ratio = median / seconds["AASIST"]
        print(f"{program:>18}: {median / arguments.files:.3f} processor seconds a recording, {ratio:.2f}×")


if __name__ == "__main__":
    main()
