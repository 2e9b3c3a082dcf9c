"""Build of the corpus: prepare human speech, make every clip, write protocols and keys, check; resumes if interrupted."""

from __future__ import annotations

import argparse
import hashlib
import shutil
import signal
import sys
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import soundfile
from tqdm import tqdm

from nes2net.errors import InputError

from . import channel, layout, verification
from .codecs import transmit
from .cues import summary, trivial_cue_eer
from .plan import EVALUATION_PARTS, Clip, Sizes, Split, clips, round_robin, split
from .recordings import ATTRIBUTION, Recording, debian_prompts, own_recordings, read
from .synthesis import METHODS, available_methods, spoof

VERSION = 2
_SHORTEST = int(1.2 * channel.RATE)
_LONGEST = int(5.5 * channel.RATE)
_SPARE = 1.25  # recordings prepared per clip wanted, since some are too short without their pauses


def _prepared_path(work: Path, recording: Recording) -> Path:
    return work / f"{hashlib.sha1(recording.key.encode()).hexdigest()[:16]}.npy"


def prepare(recording: Recording, work: Path, seed: int) -> int:
    """Cut a recording to a window of speech without pauses, kept in ``work``; return its samples, 0 if it is too short."""
    path = _prepared_path(work, recording)
    if not path.is_file():
        x = channel.speech_only(read(recording.path, recording.start, recording.stop))
        rng = channel.generator(seed, "window", recording.key)
        samples = min(int(len(x) * rng.uniform(0.88, 0.97)), _LONGEST)
        x = channel.window(x, samples, rng) if samples >= _SHORTEST else np.zeros(0)
        layout.replace_file(path.with_suffix(".npy"), lambda temporary: _save(temporary, x))
    return len(np.load(path, mmap_mode="r"))


def _save(path: Path, x: np.ndarray) -> None:
    with open(path, "wb") as file:
        np.save(file, x.astype(np.float32))


def render(clip: Clip, human: np.ndarray, seed: int) -> np.ndarray:
    """Make the finished samples of a trial from the prepared human speech of its source."""
    rng = channel.generator(seed, clip.part, clip.id)
    x = human
    if not clip.is_human:
        x = spoof(clip.method, human, rng, clip.source.language, clip.part)
        x = channel.window(transmit(0.5 * x / np.abs(x).max(), "g722"), len(human), rng)
    return transmit(transmit(channel.match(x, rng), "g722"), clip.codec)


def make(clip: Clip, out: Path, work: Path, seed: int) -> None:
    """Write the file of a trial unless it exists."""
    path = layout.audio_path(out, clip)
    if not path.is_file():
        human = np.load(_prepared_path(work, clip.source)).astype(np.float64)
        layout.write_audio(path, render(clip, human, seed))


def _embed_enrolment(recording: Recording, work: Path, seed: int) -> np.ndarray:
    rng = channel.generator(seed, "enrolment", recording.key)
    return verification.embedding(channel.match(np.load(_prepared_path(work, recording)).astype(np.float64), rng))


def _embed_file(path: Path) -> np.ndarray:
    return verification.embedding(soundfile.read(path)[0])


class Workers:
    """``map`` over ``jobs`` processes (1: this one); the bar counts results. Ctrl-C is heard once until ``close``."""

    def __init__(self, jobs: int, bar: tqdm) -> None:
        self._handler = signal.signal(signal.SIGINT, _interrupt_once)
        self._pool = (
            ProcessPoolExecutor(jobs, get_context("spawn"), initializer=_ignore_interrupts) if jobs > 1 else None
        )
        self._bar = bar

    def map(self, function: Callable, items: Iterable, title: str) -> Iterator:
        """Yield the results in the order of ``items``."""
        self._bar.set_description(title)
        items = list(items)
        results = self._pool.map(function, items, chunksize=4) if self._pool else map(function, items)
        for result in results:
            self._bar.update()
            yield result

    def close(self) -> None:
        """Cancel jobs that have not begun and wait for the others."""
        if self._pool:
            self._pool.shutdown(cancel_futures=True)
        signal.signal(signal.SIGINT, self._handler)


def _interrupt_once(*_) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a second Ctrl-C would interrupt the shutdown and hang at exit
    raise KeyboardInterrupt


def _ignore_interrupts() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _candidates(recordings: list[Recording], sizes: Sizes, seed: int) -> list[Recording]:
    """Choose as many recordings of each role as the corpus may need."""
    ordered = round_robin(recordings, seed)
    evaluation = len(EVALUATION_PARTS) * sizes.evaluation + 32
    wanted = {"train": sizes.train + sizes.dev, "eval": evaluation, "any": sizes.train + sizes.dev + evaluation}
    chosen = [
        r for role, count in wanted.items() for r in [r for r in ordered if r.role == role][: int(count * _SPARE)]
    ]
    return sorted(chosen, key=lambda r: (str(r.path), r.start))


def build(
    out: Path, bonafide: Path | None = None, jobs: int = 2, seed: int = 0, sizes: Sizes | None = None
) -> dict[str, float]:
    """Build the corpus in ``out``, or finish it if it is incomplete, and return the EERs of the trivial-cue check.

    Raises:
        InputError: if there is too little human speech, a program fails, or ``out`` holds another corpus.
    """
    sizes = sizes or Sizes()
    recordings = own_recordings(bonafide, seed) if bonafide else debian_prompts()
    methods = available_methods()
    stamp = _stamp(recordings, methods, sizes, seed)
    manifest = layout.read_manifest(out)
    _check_folder(out, manifest, stamp)
    if manifest.get("complete") and all((out / name).is_file() for name in manifest["files"]):
        print(f"{out} is complete already")
        return manifest["trivial_cue_eer"]
    layout.write_manifest(out, {"stamp": stamp, "complete": False})
    _say_what_is_used(bonafide, methods)

    work = out / ".work"
    candidates = _candidates(recordings, sizes, seed)
    with tqdm(total=len(candidates), unit="clip", dynamic_ncols=True) as bar:
        workers = Workers(jobs, bar)
        try:
            lengths = workers.map(partial(prepare, work=work, seed=seed), candidates, "human speech")
            shared = split([r for r, length in zip(candidates, lengths) if length], sizes, seed)
            planned = clips(shared, methods, sizes, seed)
            in_la = [clip for clip in planned if clip.part == "la"]
            bar.total += 2 * len(planned) + len(shared.enrolment) + len(shared.parts["train"]) + len(in_la)
            for _ in workers.map(partial(make, out=out, work=work, seed=seed), planned, "clips"):
                pass
            layout.write_protocols(out, planned)
            asv_note = _verify_speakers(out, work, seed, shared, planned, workers)
            eers = trivial_cue_eer(out, partial(workers.map, title="check"))
        finally:
            workers.close()
    source = "Human speech: recordings of your own." if bonafide else ATTRIBUTION
    layout.write_readme(out, planned, source, asv_note, summary(eers))
    files = [layout.audio_path(out, clip).relative_to(out).as_posix() for clip in planned]
    layout.write_manifest(out, {"stamp": stamp, "complete": True, "files": files, "trivial_cue_eer": eers})
    shutil.rmtree(work)
    print(f"{layout.count_table(out, planned)}\n{asv_note}\n{summary(eers)}")
    return eers


def _verify_speakers(out: Path, work: Path, seed: int, shared: Split, planned: list[Clip], workers: Workers) -> str:
    """Write the trials and scores of the toy ASV and return the note about them."""
    enrolled = list(workers.map(partial(_embed_enrolment, work=work, seed=seed), shared.enrolment, "toy ASV"))
    enrolment = verification.by_speaker([r.speaker for r in shared.enrolment], enrolled)
    training = [clip for clip in planned if clip.part == "train" and clip.is_human]
    in_la = [clip for clip in planned if clip.part == "la"]
    paths = [layout.audio_path(out, clip) for clip in training + in_la]
    embeddings = np.array(list(workers.map(_embed_file, paths, "toy ASV")))
    background, tests = embeddings[: len(training)], embeddings[len(training) :]
    trials = verification.score_trials(background, enrolment, in_la, tests)
    if not trials:
        return verification.NO_NOTE
    layout.write_asv(out, trials)
    return verification.NOTE


def _stamp(recordings: list[Recording], methods: list[str], sizes: Sizes, seed: int) -> dict:
    digest = hashlib.sha1("\n".join(layout.recording_digest_fields(recordings)).encode()).hexdigest()
    return {"version": VERSION, "seed": seed, "methods": methods, "sizes": repr(sizes), "human speech": digest}


def _check_folder(out: Path, manifest: dict, stamp: dict) -> None:
    if not manifest and out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise InputError(f"{out} exists and is not a demonstration corpus; give another --out")
    different = [name for name in stamp if manifest and manifest["stamp"].get(name) != stamp[name]]
    if different:
        raise InputError(f"{out} holds a corpus with another {', '.join(different)}; delete it or give another --out")


def _say_what_is_used(bonafide: Path | None, methods: list[str]) -> None:
    print("Human speech: your own recordings in " + str(bonafide) if bonafide else ATTRIBUTION)
    absent = [METHODS[name].description.partition(",")[0] for name in METHODS if name not in methods]
    if absent:
        print(f"Not installed: {', '.join(sorted(set(absent)))}; the spoofs are made without.")


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; return 0, 2 for an error that the user can mend, or 130 after Ctrl-C."""
    parser = argparse.ArgumentParser(prog="demo_corpus", description="Build the demonstration corpus.")
    parser.add_argument("--out", type=Path, required=True, help="folder of the corpus; an interrupted build continues")
    parser.add_argument(
        "--bonafide", type=Path, help="your own recordings (speakers: subfolders) instead of Debian's prompts"
    )
    parser.add_argument("--jobs", type=int, default=2, help="processes (default 2)")
    parser.add_argument("--seed", type=int, default=0, help="another seed, another corpus (default 0)")
    given = parser.parse_args(arguments)
    try:
        build(given.out, given.bonafide, max(given.jobs, 1), given.seed)
    except (InputError, OSError) as error:
        print(f"demo_corpus: {error}", file=sys.stderr)
        return 2
    except BrokenProcessPool:
        print(
            "demo_corpus: a process was killed (out of memory?); the same command continues, --jobs 1 takes less",
            file=sys.stderr,
        )
        return 2
    except KeyboardInterrupt:
        print("\ninterrupted; the same command continues", file=sys.stderr)
        return 130
    return 0
