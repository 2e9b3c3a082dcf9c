"""Build of partially spoofed recordings in the layout of PartialSpoof, of the same human speech and speakers by part.

A third of the utterances is bona fide: also edited, but with human speech only (see ``splice``).
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import soundfile
from tqdm import tqdm

from nes2net.localisation import Segment, frame_labels, pool_labels, write_rttm
from nes2net.localisation.frames import RESOLUTIONS

from . import channel, layout, plan, splice, splice_cues
from .prepared import candidates, load, prepare
from .recordings import ATTRIBUTION, Recording, debian_prompts, own_recordings
from .synthesis import EVALUATION_PARTS, METHODS, available_methods
from .workers import Workers

VERSION = 1
PARTS = ("train", "dev", "eval")
_LEARNT, _UNSEEN = ("world", "griffin_lim"), ("lpc",)
_PROTOCOLS = "database/protocols/PartialSpoof_LA_cm_protocols"
_STEP = 0.01  # seconds, of a frame


@dataclass(frozen=True)
class Sizes:
    """Largest number of utterances per part, and of clips in the talk."""

    train: int = 300
    dev: int = 60
    evaluation: int = 180
    talk: int = 40


@dataclass(frozen=True)
class Utterance:
    """One utterance to make: ``method`` is that of its fake pieces, or ``splice.HUMAN`` if it has none."""

    id: str
    part: str
    method: str
    source: Recording

    @property
    def is_human(self) -> bool:
        return self.method == splice.HUMAN


@dataclass(frozen=True)
class Turn:
    """A clip of the talk, human or by ``method``."""

    number: int
    method: str
    source: Recording


@dataclass(frozen=True)
class Made:
    """The pieces of a finished utterance and its length in frames of 10 ms."""

    pieces: list[splice.Piece]
    frames: int


def audio_path(out: Path, utterance: Utterance) -> Path:
    """Return the path of an utterance below ``out``."""
    return out / f"database/{utterance.part}/con_wav/{utterance.id}.wav"


def utterances(shared: plan.Split, sizes: Sizes, seed: int) -> list[Utterance]:
    """List every utterance: a third bona fide, the others shared out among the methods of the part."""
    evaluation = [r for rank in zip(*(shared.parts[part] for part in EVALUATION_PARTS)) for r in rank]
    sources = {
        "train": shared.parts["train"][: sizes.train],
        "dev": shared.parts["dev"][: sizes.dev],
        "eval": evaluation[: sizes.evaluation],
    }
    planned = []
    for part, recordings in sources.items():
        methods = _LEARNT + (_UNSEEN if part == "eval" else ())
        rng = channel.generator(seed, "partial", part)
        for number, pick in enumerate(rng.permutation(len(recordings))):
            spoofed, letter = number % 3, part[0].upper()
            method = methods[(number // 3 * 2 + spoofed) % len(methods)] if spoofed else splice.HUMAN
            name = f"CON_{letter}_{number:07d}" if spoofed else f"LA_{letter}_{4_000_000 + number}"
            planned.append(Utterance(name, part, method, recordings[pick]))
    return planned


def make(utterance: Utterance, out: Path, work: Path, seed: int) -> Made:
    """Write the file of an utterance unless it exists, and tell its pieces."""
    human = load(utterance.source, work)
    pieces = splice.draw_pieces(
        len(human) // channel.FRAME, channel.generator(seed, "pieces", utterance.part, utterance.id)
    )
    path = audio_path(out, utterance)
    if not path.is_file():
        rng = channel.generator(seed, "partial", utterance.part, utterance.id)
        of_version = [splice.HUMAN] * (splice.VERSIONS - 1) + [utterance.method]
        versions = [
            splice.version(human, method, rng, utterance.source.language, utterance.part) for method in of_version
        ]
        layout.write_audio(path, splice.render(versions, pieces, rng))
    frames = soundfile.info(path).frames // channel.FRAME
    return Made(splice.pieces_of_render(pieces, frames), frames)


def turns(shared: plan.Split, used: Iterable[Utterance], sizes: Sizes, seed: int) -> list[Turn]:
    """List the clips of the talk: recordings of the evaluation speakers that no utterance has, in runs of 1 to 3 by turns
    human and by one method."""
    taken = {u.source for u in used}
    free = [r for rank in zip(*(shared.parts[part] for part in EVALUATION_PARTS)) for r in rank if r not in taken]
    rng = channel.generator(seed, "talk")
    listed: list[Turn] = []
    method = splice.HUMAN
    while len(listed) < min(sizes.talk, len(free)):
        for _ in range(rng.integers(1, 4)):
            listed.append(Turn(len(listed), method, free[len(listed) % len(free)]))
        method = str(rng.choice(_LEARNT + _UNSEEN)) if method == splice.HUMAN else splice.HUMAN
    return listed[: sizes.talk]


def make_turn(turn: Turn, work: Path, seed: int) -> np.ndarray:
    """Make the samples of a clip of the talk."""
    human = load(turn.source, work)
    rng = channel.generator(seed, "talk", str(turn.number))
    made = splice.version(human, turn.method, rng, turn.source.language, "eval")
    return splice.render([made], [splice.Piece(0, len(human) // channel.FRAME, 0)], rng)


def write_talk(out: Path, listed: list[Turn], clips: Iterable[np.ndarray]) -> None:
    """Glue the clips of the talk together and write ``talk.wav`` and its segments, ``talk.rttm``."""
    clips = list(clips)
    layout.write_audio(out / "talk.wav", np.concatenate(clips))
    ends = np.cumsum([len(clip) for clip in clips]) / channel.RATE
    found = [
        Segment("bonafide" if turn.method == splice.HUMAN else "spoof", float(start), float(end))
        for turn, start, end in zip(listed, [0.0, *ends], ends)
    ]
    write_rttm(out / "talk.rttm", {"talk": _joined(found)})


def _joined(listed: Iterable[Segment]) -> list[Segment]:
    """Join neighbours of one label."""
    found: list[Segment] = []
    for segment in listed:
        start = found.pop().start if found and found[-1].label == segment.label else segment.start
        found.append(Segment(segment.label, round(start, 2), round(segment.end, 2)))
    return found


def segments(utterance: Utterance, made: Made) -> list[Segment]:
    """Name the bona fide and fake segments of an utterance, from beginning to end."""
    fake = None if utterance.is_human else splice.VERSIONS - 1
    return _joined(
        Segment("spoof" if p.version == fake else "bonafide", p.start * _STEP, p.end * _STEP) for p in made.pieces
    )


def write_labels(out: Path, made: Iterable[tuple[Utterance, Made]]) -> None:
    """Write protocols, labels of all resolutions, RTTM, durations, and the pieces, cuts between human versions included."""
    made = list(made)
    for part in PARTS:
        chosen = [(u, m) for u, m in made if u.part == part]
        rows = [f"{u.source.speaker} {u.id} - {'- bonafide' if u.is_human else 'CON spoof'}" for u, _ in chosen]
        layout.write_text(out / _PROTOCOLS / f"PartialSpoof.LA.cm.{part}.trl.txt", layout.lines(rows))
        durations = {u.id: round(m.frames * _STEP, 2) for u, m in chosen}
        found = {u.id: segments(u, m) for u, m in chosen}
        fine = {name: frame_labels(of_one, 10, durations[name], last_frame="round") for name, of_one in found.items()}
        for resolution in RESOLUTIONS:
            labels = {name: pool_labels(row, resolution // 10).astype("U1") for name, row in fine.items()}
            layout.replace_file(
                out / f"database/segment_labels/{part}_seglab_{resolution / 1000:g}.npy", partial(_save_labels, labels)
            )
        folder = out / f"database/{part}/con_data"
        folder.mkdir(parents=True, exist_ok=True)
        write_rttm(folder / "rttm_2cls_0sil", found)
        spoofed = {name: [s for s in of_one if s.label == "spoof"] for name, of_one in found.items()}
        write_rttm(folder / "rttm_2cls_0sil_spoof", spoofed)
        text = "".join(f"{name} {duration:.6f}\n" for name, duration in durations.items())
        layout.write_text(folder / "reco2dur", text)
    rows = [
        f"{u.part} {u.id} {p.start * _STEP:.2f} {p.end * _STEP:.2f} {p.version} "
        + (u.method if p.version == splice.VERSIONS - 1 else splice.HUMAN)
        for u, m in made
        for p in m.pieces
    ]
    layout.write_text(out / "pieces.txt", layout.lines(rows))


def _save_labels(labels: dict[str, np.ndarray], path: Path) -> None:
    with open(path, "wb") as file:
        np.save(file, np.array(labels, dtype=object), allow_pickle=True)


def build(
    out: Path,
    bonafide: Path | None = None,
    jobs: int = 2,
    seed: int = 0,
    sizes: Sizes | None = None,
    human: plan.Sizes | None = None,
) -> dict[str, float]:
    """Build the recordings in ``out``, or finish them, and return the EERs of the trivial-cue check.

    Args:
        human: the sizes of the demonstration corpus, which shares out the human speech.

    Raises:
        InputError: if there is too little human speech, or ``out`` holds another corpus.
    """
    sizes, human = sizes or Sizes(), human or plan.Sizes()
    recordings = own_recordings(bonafide, seed) if bonafide else debian_prompts()
    available_methods()
    stamp = layout.stamp(recordings, seed, {"partial": VERSION, "sizes": f"{sizes} {human}"})
    manifest = layout.read_manifest(out)
    layout.check_folder(out, manifest, stamp)
    if manifest.get("complete") and all((out / name).is_file() for name in manifest["files"]):
        print(f"{out} is complete already")
        return manifest["trivial_cue_eer"]
    layout.write_manifest(out, {"stamp": stamp, "complete": False})

    work = out / ".work"
    chosen = candidates(recordings, human, seed)
    with tqdm(total=len(chosen), unit="clip", dynamic_ncols=True) as bar:
        workers = Workers(jobs, bar)
        try:
            lengths = workers.map(partial(prepare, work=work, seed=seed), chosen, "human speech")
            shared = plan.split([r for r, length in zip(chosen, lengths) if length], human, seed)
            planned = utterances(shared, sizes, seed)
            talk = turns(shared, planned, sizes, seed)
            bar.total += len(planned) + len(talk) + sum(u.part != "dev" for u in planned)
            made = list(workers.map(partial(make, out=out, work=work, seed=seed), planned, "partially spoofed"))
            write_labels(out, zip(planned, made))
            write_talk(out, talk, workers.map(partial(make_turn, work=work, seed=seed), talk, "talk"))
            eers = splice_cues.trivial_cue_eer(out, partial(workers.map, title="check"))
        finally:
            workers.close()
    source = "Human speech: recordings of your own." if bonafide else ATTRIBUTION
    _write_readme(out, list(zip(planned, made)), source, splice_cues.summary(eers))
    files = ["talk.wav", *(audio_path(out, u).relative_to(out).as_posix() for u in planned)]
    layout.write_manifest(out, {"stamp": stamp, "complete": True, "files": files, "trivial_cue_eer": eers})
    shutil.rmtree(work)
    print(f"{_count_table(list(zip(planned, made)))}\n{splice_cues.summary(eers)}")
    return eers


def _count_table(made: list[tuple[Utterance, Made]]) -> str:
    rows = ["| part | bona fide | partially spoofed | minutes | of them fake |", "|---|---|---|---|---|"]
    for part in PARTS:
        chosen = [(u, m) for u, m in made if u.part == part]
        human = sum(u.is_human for u, _ in chosen)
        fake = sum(s.end - s.start for u, m in chosen for s in segments(u, m) if s.label == "spoof")
        minutes = sum(m.frames for _, m in chosen) * _STEP / 60
        rows.append(f"| {part} | {human} | {len(chosen) - human} | {minutes:.1f} | {fake / 60:.1f} |")
    return "\n".join(rows)


def _write_readme(out: Path, made: list[tuple[Utterance, Made]], source: str, cues: str) -> None:
    rows = [f"- {METHODS[m].description}" + (" (evaluation only)" if m in _UNSEEN else "") for m in _LEARNT + _UNSEEN]
    text = f"""# Partially spoofed recordings of the demonstration

Human speech with pieces replaced by their own copy-synthesis, in the layout of PartialSpoof. Error rates compare with
nothing.

{source}

{_count_table(made)}

Pieces of 0.2 to 1 s, cut anywhere and cross-faded over 10 ms, come from three versions of an
utterance: two human ones, and its copy-synthesis or, in a bona fide utterance, a third human one. Each version was coded
(G.722) and dispersed by itself and brought to the spectrum and level of the human speech; the whole went through the
channel of the demonstration corpus. `pieces.txt` lists the pieces: part, utterance, start, end, version, method. {cues}

`talk.wav` is glued from whole clips of the evaluation speakers, human and copies by turns; `talk.rttm` says which is which.

{layout.lines(rows)}"""
    layout.write_text(out / "README.md", text)
