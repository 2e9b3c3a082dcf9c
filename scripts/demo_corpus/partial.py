"""Build of partially spoofed recordings in the layout of PartialSpoof, of the speakers of the corpus, by part.

An utterance is a row of pieces of one human speaker: short prompts whose words are known, or what lies between the pauses of
longer ones. A third of the utterances is bona fide; in the others a synthesiser says some pieces instead (see ``splice``).
"""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
from tqdm import tqdm

from nes2net.metrics.localisation import Segment, frame_labels, pool_labels, write_rttm
from nes2net.metrics.localisation.frames import RESOLUTIONS

from . import channel, layout, plan, splice, splice_cues, synthesis
from .prepared import candidates, load, prepare
from .recordings import ATTRIBUTION, Recording, debian_prompts, own_recordings, read, spoken_words
from .voices import KOKORO_VOICES, PACKAGES
from .workers import Workers

VERSION = 3
HUMAN = "human"
#: What says the fake pieces of each part. Copies need no text; the others say words.
COPIES = ("griffin_lim", "other_griffin_lim", "other_world")
METHODS = {
    "train": ("espeak", "klatt", *COPIES),
    "dev": ("espeak", "klatt", *COPIES),
    "eval": ("piper", "hibari", "kokoro", "espeak", "griffin_lim"),
}
_PROTOCOLS = "database/protocols/PartialSpoof_LA_cm_protocols"
_STEP = 0.01  # seconds, of a frame
_PIECES = (5, 10)  # in an utterance


@dataclass(frozen=True)
class Sizes:
    """Number of utterances of each part, and of pieces in the talk."""

    train: int = 600
    dev: int = 60
    eval: int = 180
    talk: int = 100


class Source(NamedTuple):
    """Human speech for a piece: a whole prompt with its ``words``, or stretch ``number`` of a longer recording."""

    recording: Recording
    number: int = 0
    words: str = ""


class Piece(NamedTuple):
    """A piece as its human speaker says it or, instead, a voice of a method."""

    source: Source
    method: str = HUMAN
    voice: str = ""

    @property
    def speaker(self) -> str:
        """Name those who share a long-term spectrum."""
        return f"{self.method} {self.voice} {self.source.recording.speaker}"


@dataclass(frozen=True)
class Utterance:
    """One utterance to make: ``part`` is "train", "dev", "eval" or "talk"."""

    id: str
    part: str
    pieces: tuple[Piece, ...]

    @property
    def is_human(self) -> bool:
        return all(piece.method == HUMAN for piece in self.pieces)


def audio_path(out: Path, utterance: Utterance) -> Path:
    """Return the path of an utterance below ``out``."""
    return out / (f"database/{utterance.part}/con_wav/{utterance.id}.wav" if utterance.part in METHODS else "talk.wav")


def draw_fakes(count: int, rng: np.random.Generator) -> np.ndarray:
    """Draw which of ``count`` pieces are fake: one run or two, no more than half of all."""
    fake = np.zeros(count, bool)
    for most in (count // 2, int(rng.integers(0, count // 2))):
        length = int(rng.integers(1, most + 1)) if most else 0
        start = int(rng.integers(0, count - length + 1))
        if fake.sum() + length <= count // 2:
            fake[start : start + length] = True
    return fake


def _some(sources: list[Source], count: int, with_words: bool, rng: np.random.Generator) -> list[Source]:
    """Draw up to ``count`` pieces of one speaker, all with words or all without."""
    sources = [source for source in sources if bool(source.words) == with_words]
    speaker = rng.choice(sorted({source.recording.speaker for source in sources}))
    own = [source for source in sources if source.recording.speaker == speaker]
    return [own[i] for i in rng.permutation(len(own))[:count]]


def _voice(method: str, part: str, rng: np.random.Generator) -> str:
    voices = {"kokoro": KOKORO_VOICES, "espeak": synthesis.espeak_variants(part), "klatt": synthesis.KLATT_VARIANTS}
    return str(rng.choice(voices.get(method, ("",))))


def utterances(sources: Mapping[str, list[Source]], methods: list[str], sizes: Sizes, seed: int) -> list[Utterance]:
    """List all utterances: a third bona fide, the others shared out among the methods of the part; and the talk.

    Whether an utterance has words or stretches says nothing of its class: the bona fide ones are drawn alike.
    """
    planned = []
    for part, of_part in METHODS.items():
        rng = channel.generator(seed, "partial", part)
        of_part = [m for m in of_part if m in methods]
        for number in range(getattr(sizes, part)):
            spoofed = number % 3
            method = of_part[(number // 3 * 2 + spoofed) % len(of_part)] if spoofed else str(rng.choice(of_part))
            stretches = (method in COPIES and bool(rng.integers(2))) or not any(s.words for s in sources[part])
            said = _some(sources[part], int(rng.integers(_PIECES[0], _PIECES[1] + 1)), not stretches, rng)
            voice = _voice(method, part, rng)
            fake = draw_fakes(len(said), rng) & bool(spoofed)
            name = f"CON_{part[0].upper()}_{number:07d}" if spoofed else f"LA_{part[0].upper()}_{4_000_000 + number}"
            pieces = tuple(Piece(source, method, voice) if f else Piece(source) for source, f in zip(said, fake))
            planned.append(Utterance(name, part, pieces))
    said = _some(sources["eval"], sizes.talk, any(s.words for s in sources["eval"]), rng)
    pieces = []
    turn = 0
    while len(pieces) < len(said):  # runs of 4 to 9 pieces, human and by one method after the other by turns
        method = of_part[turn // 2 % len(of_part)] if turn % 2 else HUMAN
        voice = _voice(method, "eval", rng) if turn % 2 else ""
        pieces += [Piece(s, method, voice) for s in said[len(pieces) : len(pieces) + int(rng.integers(4, 10))]]
        turn += 1
    return [*planned, Utterance("talk", "talk", tuple(pieces))]


def _line(piece: Piece) -> str:
    """Write what a neural method reads."""
    return f"{piece.voice}\t{piece.source.words}" if piece.voice else piece.source.words


def read_aloud(method: str, planned: list[Utterance], work: Path, seed: int) -> dict[str, Path]:
    """Have a neural method read all its words, and return the file of each."""
    lines = sorted({_line(piece) for utterance in planned for piece in utterance.pieces if piece.method == method})
    return dict(zip(lines, synthesis.read_aloud(method, "words", lines, work, seed, synthesis.WORD_PACE[method])))


def count_stretches(recording: Recording, work: Path, seed: int) -> int:
    """Prepare a recording, and count its stretches."""
    return len(splice.stretches(load(recording, work))) if prepare(recording, work, seed) else 0


def say(utterance: Utterance, read_already: dict[str, Path], work: Path, seed: int) -> dict[str, np.ndarray]:
    """Keep the pieces of an utterance in ``work``, as they are said; return the sum of the spectra of each speaker."""
    rng = channel.generator(seed, "pieces", utterance.part, utterance.id)
    pitch = int(rng.integers(30, 75))
    spectra = Counter[str]()
    said = []
    for piece in utterance.pieces:
        recording, number, words = piece.source
        if piece.method in PACKAGES:
            x = channel.speech_only(synthesis.heard(read_already[_line(piece)]))
        elif piece.method in ("espeak", "klatt"):
            x = channel.speech_only(synthesis.espeak_word(words, piece.voice, recording.language, pitch, rng))
        else:
            x = channel.speech_only(read(recording.path)) if words else splice.stretches(load(recording, work))[number]
            if piece.method != HUMAN:
                x = synthesis.copy(piece.method, x, rng)
        x = splice.trimmed(x)
        spectra.update({piece.speaker: splice.power_density(x)})
        said.append(x.astype(np.float32))
    with open(work / f"{utterance.id}.npz", "wb") as file:
        np.savez(file, *said)
    return spectra


def make(utterance: Utterance, spectra: Mapping[str, np.ndarray], out: Path, work: Path, seed: int) -> list[int]:
    """Write the file of an utterance, and return the boundaries of its pieces in frames of 10 ms.

    ``spectra`` are mean spectral densities in dB; a fake piece gets that of the human speaker.
    """
    pieces = []
    for piece, x in zip(utterance.pieces, np.load(work / f"{utterance.id}.npz").values()):
        gain_db = spectra[Piece(piece.source).speaker] - spectra[piece.speaker]
        x = x.astype(np.float64)
        pieces.append(channel.equalised(x, channel.density_db(x) + gain_db))
    x, boundaries = splice.render(pieces, channel.generator(seed, "channel", utterance.part, utterance.id))
    layout.write_audio(audio_path(out, utterance), x)
    return boundaries


def segments(utterance: Utterance, boundaries: list[int]) -> list[Segment]:
    """Name the bona fide and fake segments of an utterance from beginning to end; neighbours of one label are joined."""
    found: list[Segment] = []
    for piece, start, end in zip(utterance.pieces, boundaries, boundaries[1:]):
        label = "bonafide" if piece.method == HUMAN else "spoof"
        first = found.pop().start if found and found[-1].label == label else round(start * _STEP, 2)
        found.append(Segment(label, first, round(end * _STEP, 2)))
    return found


def write_labels(out: Path, made: Iterable[tuple[Utterance, list[int]]]) -> None:
    """Write protocols, labels of all resolutions, RTTM, durations, and the pieces of every utterance."""
    made = list(made)
    for part in METHODS:
        chosen = {u.id: (u, boundaries) for u, boundaries in made if u.part == part}
        rows = [
            f"{u.pieces[0].source.recording.speaker} {u.id} - {'- bonafide' if u.is_human else 'CON spoof'}"
            for u, _ in chosen.values()
        ]
        layout.write_text(out / _PROTOCOLS / f"PartialSpoof.LA.cm.{part}.trl.txt", layout.lines(rows))
        found = {name: segments(*of_one) for name, of_one in chosen.items()}
        fine = {name: frame_labels(of_one, 10, of_one[-1].end, last_frame="round") for name, of_one in found.items()}
        for resolution in RESOLUTIONS:
            labels = {name: pool_labels(row, resolution // 10).astype("U1") for name, row in fine.items()}
            path = out / f"database/segment_labels/{part}_seglab_{resolution / 1000:g}.npy"
            layout.replace_file(path, partial(_save, np.array(labels, dtype=object)))
        folder = out / f"database/{part}/con_data"
        folder.mkdir(parents=True, exist_ok=True)
        write_rttm(folder / "rttm_2cls_0sil", found)
        spoofed = {name: [s for s in of_one if s.label == "spoof"] for name, of_one in found.items()}
        write_rttm(folder / "rttm_2cls_0sil_spoof", spoofed)
        rows = [f"{name} {of_one[-1].end:.6f}" for name, of_one in found.items()]
        layout.write_text(folder / "reco2dur", layout.lines(rows))
    rows = [
        f"{u.part} {u.id} {start} {end} {piece.method} {piece.source.recording.key} {piece.source.words}".rstrip()
        for u, boundaries in made
        for piece, start, end in zip(u.pieces, boundaries, boundaries[1:])
    ]
    layout.write_text(out / splice_cues.PIECES, layout.lines(rows))
    write_rttm(out / "talk.rttm", {u.id: segments(u, boundaries) for u, boundaries in made if u.part == "talk"})


def _save(array: np.ndarray, path: Path) -> None:
    with open(path, "wb") as file:
        np.save(file, array, allow_pickle=True)


def _sources(
    shared: plan.Split, counts: Mapping[Recording, int], words: list[tuple[Recording, str]], seed: int
) -> dict[str, list[Source]]:
    """List the pieces of each part; a fifth of the words of the training speakers is for development."""
    recordings = {"train": shared.parts["train"], "dev": shared.parts["dev"]}
    recordings["eval"] = [r for part in synthesis.EVALUATION_PARTS for r in shared.parts[part]]
    found = {part: [Source(r, i) for r in of_part for i in range(counts[r])] for part, of_part in recordings.items()}
    for rank, i in enumerate(channel.generator(seed, "words").permutation(len(words))):
        recording, text = words[i]
        part = "eval" if recording.role == "eval" else "train" if rank % 5 else "dev"
        found[part].append(Source(recording, 0, text))
    return found


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
    sizes = sizes or Sizes()
    human = human or plan.Sizes()
    recordings = own_recordings(bonafide, seed) if bonafide else debian_prompts()
    methods = list(dict.fromkeys([*([] if bonafide else synthesis.available_methods()), *COPIES]))
    stamp = layout.stamp(recordings, seed, {"partial": VERSION, "methods": methods, "sizes": f"{sizes} {human}"})
    if complete := layout.begin(out, stamp):
        return complete
    if bonafide:
        print("The words of your own recordings are not known: copies of them are the only spoofs.")
    else:
        synthesis.say_what_is_missing(methods)

    work = out / ".work"
    chosen = candidates(recordings, human, seed)
    with tqdm(total=len(chosen), unit="clip", dynamic_ncols=True) as bar:
        workers = Workers(jobs, bar)
        try:
            counted = workers.map(partial(count_stretches, work=work, seed=seed), chosen, "human speech")
            counts = {recording: count for recording, count in zip(chosen, counted) if count}
            shared = plan.split(list(counts), human, seed)
            words = [] if bonafide else spoken_words()
            planned = utterances(_sources(shared, counts, words, seed), methods, sizes, seed)
            aloud = [m for m in METHODS["eval"] if m in PACKAGES and m in methods]
            bar.total += len(aloud) + 2 * len(planned) + sizes.train + sizes.eval
            reading = partial(read_aloud, planned=planned, work=work, seed=seed)
            files = {
                line: path for of_one in workers.map(reading, aloud, "reading aloud") for line, path in of_one.items()
            }
            spectra = Counter[str]()
            for of_one in workers.map(partial(say, read_already=files, work=work, seed=seed), planned, "pieces"):
                spectra.update(of_one)
            spectra = {speaker: 10 * np.log10(total) for speaker, total in spectra.items()}
            making = partial(make, spectra=spectra, out=out, work=work, seed=seed)
            made = list(zip(planned, workers.map(making, planned, "partially spoofed")))
            write_labels(out, made)
            eers = splice_cues.trivial_cue_eer(out, partial(workers.map, title="check"))
        finally:
            workers.close()
    summary = f"{_count_table(made)}\n\n{splice_cues.summary(eers)}"
    source = "Human speech: recordings of your own." if bonafide else ATTRIBUTION
    layout.write_text(out / "README.md", f"{_README}\n{source}\n\n{summary}\n")
    layout.complete(out, stamp, [audio_path(out, u) for u in planned], eers)
    shutil.rmtree(work)
    print(summary)
    return eers


_README = """\
# Partially spoofed recordings of the demonstration

Rows of pieces in the layout of PartialSpoof; a synthesiser says some of them. Error rates compare with nothing.
`pieces.txt` lists them: part, utterance, first frame of 10 ms, last, method, prompt, words. `talk.wav` is such a row of the
evaluation speaker; `talk.rttm` says who speaks when.
"""


def _count_table(made: list[tuple[Utterance, list[int]]]) -> str:
    rows = ["| part | bona fide | partially spoofed | minutes | of them fake |", "|---|---|---|---|---|"]
    for part in METHODS:
        chosen = [(u, boundaries) for u, boundaries in made if u.part == part]
        human = sum(u.is_human for u, _ in chosen)
        fake = sum(s.end - s.start for one in chosen for s in segments(*one) if s.label == "spoof")
        minutes = sum(boundaries[-1] for _, boundaries in chosen) * _STEP / 60
        rows.append(f"| {part} | {human} | {len(chosen) - human} | {minutes:.1f} | {fake / 60:.1f} |")
    return "\n".join(rows)
