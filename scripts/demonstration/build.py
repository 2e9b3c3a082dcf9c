"""Build the corpus: prepare human speech, make every clip, write protocols and keys, check; resumes if interrupted."""

from __future__ import annotations

import argparse
import shutil
import sys
from collections import Counter
from concurrent.futures.process import BrokenProcessPool
from functools import partial
from pathlib import Path

import numpy as np
import soundfile

from nes2net.lib.errors import InputError

from . import channel, layout, verification
from . import partial as partially_spoofed
from .codecs import transmit
from .cues import summary, trivial_cue_eer
from .plan import SHORT, Clip, Sizes, Split, clips, split
from .prepared import candidates, load, prepare
from .recordings import ATTRIBUTION, Recording, debian_prompts, own_recordings
from .synthesis import LEARNT, METHODS, available_methods, read_aloud, say_what_is_missing, sentences, spoof
from .voices import PACKAGES
from .workers import Workers

VERSION = 5
#: Another seed than 0, because the detectors of the demonstration were chosen on the development part of seed 0.
SEED = 2028


def render(clip: Clip, human: np.ndarray, work: Path, seed: int) -> np.ndarray:
    """Make the samples of a trial from ``human``, the prepared speech of its source."""
    rng = channel.generator(seed, clip.part_name, clip.id)
    x = human
    if not clip.is_human:
        x = spoof(clip.method, human, rng, clip.source.language, clip.part_name, work)
        x = channel.window(transmit(0.5 * x / np.abs(x).max(), "g722"), len(human), rng)
    return transmit(transmit(channel.match(x, rng), "g722"), clip.codec)


def make(clip: Clip, out: Path, work: Path, seed: int) -> None:
    """Write the file of a trial unless it exists."""
    path = layout.audio_path(out, clip)
    if not path.is_file():
        layout.write_audio(path, render(clip, load(clip.source, work), work, seed))


def _read_aloud(job: tuple[str, str, int], work: Path, seed: int) -> None:
    method, part_name, num_sentences = job
    read_aloud(method, part_name, sentences("en", part_name)[:num_sentences], work, seed)


def _embed_enrolment(recording: Recording, work: Path, seed: int) -> np.ndarray:
    rng = channel.generator(seed, "enrolment", recording.key)
    return verification.embedding(channel.match(load(recording, work), rng))


def _embed_file(path: Path) -> np.ndarray:
    return verification.embedding(soundfile.read(path)[0])


def build(
    out: Path,
    bonafide: Path | None = None,
    jobs: int = 2,
    seed: int = 0,
    sizes: Sizes | None = None,
    learning_only: bool = False,
) -> dict[str, float]:
    """Build the corpus in ``out``, or finish it if it is incomplete.

    Args:
        bonafide: folder of the user's recordings; None for Debian's voice prompts.
        jobs: number of processes.
        learning_only: return when the training and the development part are complete.

    Returns:
        The EERs of the check of trivial cues; empty if there is no evaluation part yet.

    Raises:
        InputError: if there is too little human speech, a program fails, or ``out`` holds another corpus.
    """
    sizes = sizes or Sizes()
    recordings = own_recordings(bonafide, seed) if bonafide else debian_prompts()
    methods = available_methods()
    stamp = layout.stamp(recordings, seed, {"version": VERSION, "methods": methods, "sizes": repr(sizes)})
    if complete := layout.begin(out, stamp):
        return complete
    say_what_is_missing(methods)

    work = out / ".work"
    chosen_recordings = candidates(recordings, sizes, seed)
    workers = Workers(jobs)
    try:
        lengths = workers.map(partial(prepare, work=work, seed=seed), chosen_recordings, "human speech")
        shared = split([r for r, length in zip(chosen_recordings, lengths) if length], sizes, seed)
        planned = clips(shared, methods, sizes, seed)
        finish = partial(make, out=out, work=work, seed=seed)
        learning = [clip for clip in planned if clip.part_name in LEARNT]
        list(workers.map(finish, learning, "training and development parts"))
        layout.write_learning_protocols(out, learning)
        if learning_only:
            return {}
        number = Counter((clip.method, clip.part_name) for clip in planned if clip.method in PACKAGES)
        aloud = [(method, part_name, count + 1) for (method, part_name), count in number.items()]
        aloud.sort(key=lambda job: METHODS[job[0]].attack, reverse=True)  # the slowest first
        list(workers.map(partial(_read_aloud, work=work, seed=seed), aloud, "neural voices"))
        evaluated = [clip for clip in planned if clip.part_name not in LEARNT]
        list(workers.map(finish, evaluated, "evaluation parts"))
        layout.write_evaluation_protocols(out, planned)
        asv_note = _verify_speakers(out, work, seed, shared, planned, workers)
        eers = trivial_cue_eer(out, partial(workers.map, title="check"))
    finally:
        workers.close()
    source = "Human speech: recordings of your own." if bonafide else ATTRIBUTION
    layout.write_readme(out, planned, source, asv_note, summary(eers))
    layout.complete(out, stamp, [layout.audio_path(out, clip) for clip in planned], eers)
    shutil.rmtree(work)
    print(f"{layout.count_table(out, planned)}\n{asv_note}\n{summary(eers)}")
    return eers


def _verify_speakers(out: Path, work: Path, seed: int, shared: Split, planned: list[Clip], workers: Workers) -> str:
    enrolled = list(workers.map(partial(_embed_enrolment, work=work, seed=seed), shared.enrolment, "toy ASV"))
    enrolment = verification.by_speaker([r.speaker for r in shared.enrolment], enrolled)
    training = [clip for clip in planned if clip.part_name == "train" and clip.is_human]
    in_la = [clip for clip in planned if clip.part_name == "la"]
    paths = [layout.audio_path(out, clip) for clip in training + in_la]
    embeddings = np.array(list(workers.map(_embed_file, paths, "toy ASV")))
    background = embeddings[: len(training)]
    tests = embeddings[len(training) :]
    trials = verification.score_trials(background, enrolment, in_la, tests)
    if not trials:
        return verification.NO_NOTE
    layout.write_asv(out, trials)
    return verification.NOTE


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; return 0, 2 after an error that the user can correct, or 130 after Ctrl-C."""
    parser = argparse.ArgumentParser(prog="demonstration", description="Build the demonstration corpus.")
    parser.add_argument("--out", type=Path, required=True, help="folder of the corpus; an interrupted build continues")
    parser.add_argument(
        "--bonafide", type=Path, help="your own recordings (speakers: subfolders) instead of Debian's prompts"
    )
    forms = parser.add_mutually_exclusive_group()
    forms.add_argument("--short", action="store_true", help="the small corpus of `demo.sh` without --full")
    forms.add_argument(
        "--partial", action="store_true", help="partially spoofed recordings in the layout of PartialSpoof instead"
    )
    parser.add_argument("--learning", action="store_true", help="only the training and development parts")
    parser.add_argument("--jobs", type=int, default=2, help="processes (default 2)")
    parser.add_argument("--seed", type=int, default=SEED, help=f"another seed, another corpus (default {SEED})")
    args = parser.parse_args(arguments)
    try:
        jobs = max(args.jobs, 1)
        if args.partial:
            partially_spoofed.build(args.out, args.bonafide, jobs, args.seed)
        else:
            sizes = SHORT if args.short else Sizes()
            build(args.out, args.bonafide, jobs, args.seed, sizes, learning_only=args.learning)
    except (InputError, OSError) as error:
        print(f"demonstration: {error}", file=sys.stderr)
        return 2
    except BrokenProcessPool:
        print(
            "demonstration: a process was killed (out of memory?); the same command continues, --jobs 1 takes less",
            file=sys.stderr,
        )
        return 2
    except KeyboardInterrupt:
        print("\ninterrupted; the same command continues", file=sys.stderr)
        return 130
    return 0
