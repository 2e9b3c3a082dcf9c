"""Build partially spoofed recordings in the layout of PartialSpoof, from the speakers of the corpus.

An utterance is a row of pieces of one human speaker. A piece is a short prompt whose words are
known, or a stretch between the pauses of a longer prompt. A third of the utterances is bona fide.
In the others a synthesiser says some of the pieces (see ``splice``).
"""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from nes2net.lib.storage.files import replacing, write_text
from nes2net.metrics.localisation import Segment, frame_labels, pool_labels, write_rttm
from nes2net.metrics.localisation.frames import RESOLUTIONS

from . import channel, layout, plan, splice, splice_cues, synthesis
from .prepared import candidates, load, prepare
from .recordings import ATTRIBUTION, Recording, debian_prompts, own_recordings, read, spoken_words
from .voices import KOKORO_VOICES, PACKAGES
from .workers import Workers

VERSION = 4
HUMAN = "human"
#: Methods that resynthesise human speech, and so need no text.
COPIES = ("griffin_lim", "other_griffin_lim", "other_world")
#: Part → methods of its fake pieces; all but copies say the words of a text.
METHODS = {
    "train": ("espeak", "klatt", *COPIES),
    "dev": ("espeak", "klatt", *COPIES),
    "eval": ("piper", "hibari", "kokoro", "espeak", "griffin_lim"),
}
_PROTOCOLS = "database/protocols/PartialSpoof_LA_cm_protocols"
_STEP = 0.01  # seconds, of a frame
_PIECES = (5, 10)  # fewest and most pieces of an utterance


@dataclass(frozen=True)
class Sizes:
    """Number of utterances of each part, and of pieces in the talk: one long recording with runs of fake pieces."""

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
    """A piece as its human speaker says it, or as a voice of a method says it."""

    source: Source
    method: str = HUMAN
    voice: str = ""

    @property
    def speaker(self) -> str:
        """Name the pieces that share a long-term spectrum: same method, voice and human speaker."""
        return f"{self.method} {self.voice} {self.source.recording.speaker}"


@dataclass(frozen=True)
class Utterance:
    """One utterance to make: ``part`` is "train", "dev", "eval" or "talk"."""

    id: str
    part_name: str
    pieces: tuple[Piece, ...]

    @property
    def is_human(self) -> bool:
        """Whether no piece is fake."""
        return all(piece.method == HUMAN for piece in self.pieces)


def audio_path(out: Path, utterance: Utterance) -> Path:
    """Return the path of an utterance below ``out``."""
    return out / (
        f"database/{utterance.part_name}/con_wav/{utterance.id}.wav" if utterance.part_name in METHODS else "talk.wav"
    )


def draw_fakes(count: int, rng: np.random.Generator) -> NDArray:
    """Draw which of ``count`` pieces are fake: one or two runs, together at most half of the pieces."""
    most_fakes = count // 2
    is_fake = np.zeros(count, bool)
    for longest in (most_fakes, int(rng.integers(0, most_fakes))):
        length = int(rng.integers(1, longest + 1)) if longest else 0
        start = int(rng.integers(0, count - length + 1))
        if is_fake.sum() + length <= most_fakes:
            is_fake[start : start + length] = True
    return is_fake


def _draw_sources(sources: list[Source], count: int, with_words: bool, rng: np.random.Generator) -> list[Source]:
    """Draw up to ``count`` pieces of one speaker, either all with words or all without."""
    sources = [source for source in sources if bool(source.words) == with_words]
    speaker = rng.choice(sorted({source.recording.speaker for source in sources}))
    sources_of_speaker = [source for source in sources if source.recording.speaker == speaker]
    order = rng.permutation(len(sources_of_speaker))
    return [sources_of_speaker[i] for i in order[:count]]


def _voice(method: str, part_name: str, rng: np.random.Generator) -> str:
    """Draw a voice of a method; empty if the method has no choice of voices."""
    voices = {
        "kokoro": KOKORO_VOICES,
        "espeak": synthesis.espeak_variants(part_name),
        "klatt": synthesis.KLATT_VARIANTS,
    }
    return str(rng.choice(voices.get(method, ("",))))


def utterances(sources: Mapping[str, list[Source]], methods: list[str], sizes: Sizes, seed: int) -> list[Utterance]:
    """Plan all utterances of all parts, and the talk.

    A third is bona fide; the others are shared out among the methods of the part. Whether an
    utterance consists of words or of stretches does not show its class, because bona fide
    utterances are drawn in the same way.

    Args:
        sources: part → human speech for its pieces.
        methods: methods that can run here.
    """
    planned = []
    for part_name, part_methods in METHODS.items():
        rng = channel.generator(seed, "partial", part_name)
        usable_methods = [method for method in part_methods if method in methods]
        for number in range(getattr(sizes, part_name)):
            planned.append(_draw_utterance(part_name, number, sources[part_name], usable_methods, rng))
    return [*planned, _draw_talk(sources["eval"], usable_methods, sizes.talk, rng)]


def _draw_utterance(
    part_name: str, number: int, sources: list[Source], methods: list[str], rng: np.random.Generator
) -> Utterance:
    """Draw the utterance ``number`` of a part."""
    spoofed = number % 3
    if spoofed:
        method = methods[(number // 3 * 2 + spoofed) % len(methods)]
        name = f"CON_{part_name[0].upper()}_{number:07d}"
    else:
        method = str(rng.choice(methods))
        name = f"LA_{part_name[0].upper()}_{4_000_000 + number}"
    is_copied = method in COPIES and bool(rng.integers(2))
    with_words = not is_copied and any(source.words for source in sources)
    count = int(rng.integers(_PIECES[0], _PIECES[1] + 1))
    drawn_sources = _draw_sources(sources, count, with_words, rng)
    voice = _voice(method, part_name, rng)
    fakes = draw_fakes(len(drawn_sources), rng) & bool(spoofed)
    pieces = []
    for source, is_fake in zip(drawn_sources, fakes):
        pieces.append(Piece(source, method, voice) if is_fake else Piece(source))
    return Utterance(name, part_name, tuple(pieces))


def _draw_talk(sources: list[Source], methods: list[str], count: int, rng: np.random.Generator) -> Utterance:
    """Draw the talk: turns of 4 to 9 pieces: human, a method, human, the next method, …"""
    with_words = any(source.words for source in sources)
    drawn_sources = _draw_sources(sources, count, with_words, rng)
    pieces: list[Piece] = []
    turn = 0
    while len(pieces) < len(drawn_sources):
        method = methods[turn // 2 % len(methods)] if turn % 2 else HUMAN
        voice = _voice(method, "eval", rng) if turn % 2 else ""
        end = len(pieces) + int(rng.integers(4, 10))
        pieces += [Piece(source, method, voice) for source in drawn_sources[len(pieces) : end]]
        turn += 1
    return Utterance("talk", "talk", tuple(pieces))


def _line(piece: Piece) -> str:
    return f"{piece.voice}\t{piece.source.words}" if piece.voice else piece.source.words


def read_aloud(method: str, planned: list[Utterance], work: Path, seed: int) -> dict[str, Path]:
    """Have a neural method read all its lines, and return line → file."""
    lines = set()
    for utterance in planned:
        lines |= {_line(piece) for piece in utterance.pieces if piece.method == method}
    pace = synthesis.WORD_PACE[method]
    files = synthesis.read_aloud(method, "words", sorted(lines), work, seed, pace)
    return dict(zip(sorted(lines), files))


def count_stretches(recording: Recording, work: Path, seed: int) -> int:
    """Prepare a recording, and return the number of its stretches."""
    return len(splice.stretches(load(recording, work))) if prepare(recording, work, seed) else 0


def say(utterance: Utterance, read_already: dict[str, Path], work: Path, seed: int) -> dict[str, NDArray]:
    """Make the pieces of an utterance, and store them in ``work``.

    Args:
        read_already: line → file, of the neural methods.

    Returns:
        Speaker → sum of the spectral densities of its pieces.
    """
    rng = channel.generator(seed, "pieces", utterance.part_name, utterance.id)
    pitch = int(rng.integers(30, 75))
    spectra: Any = Counter()
    waveforms = []
    for piece in utterance.pieces:
        recording, number, words = piece.source
        if piece.method in PACKAGES:
            x = channel.speech_only(synthesis.read_speech(read_already[_line(piece)]))
        elif piece.method in ("espeak", "klatt"):
            x = channel.speech_only(synthesis.espeak_word(words, piece.voice, recording.language, pitch, rng))
        elif words:
            x = channel.speech_only(read(recording.path))
        else:
            x = splice.stretches(load(recording, work))[number]
        if piece.method in COPIES:
            x = synthesis.copy(piece.method, x, rng)
        x = splice.trimmed(x)
        spectra.update({piece.speaker: splice.power_density(x)})
        waveforms.append(x.astype(np.float32))
    with open(work / f"{utterance.id}.npz", "wb") as file:
        np.savez(file, *waveforms)
    return spectra


def make(utterance: Utterance, spectra: Mapping[str, NDArray], out: Path, work: Path, seed: int) -> list[int]:
    """Join the pieces of an utterance, write its file, and return the boundaries of the pieces in frames of 10 ms.

    Args:
        spectra: speaker → mean spectral density in dB. A fake piece gets the density of the human speaker.
    """
    pieces = []
    for piece, x in zip(utterance.pieces, np.load(work / f"{utterance.id}.npz").values()):
        gain_db = spectra[Piece(piece.source).speaker] - spectra[piece.speaker]
        x = x.astype(np.float64)
        pieces.append(channel.equalised(x, channel.density_db(x) + gain_db))
    x, boundaries = splice.render(pieces, channel.generator(seed, "channel", utterance.part_name, utterance.id))
    layout.write_audio(audio_path(out, utterance), x)
    return boundaries


class Labelled(NamedTuple):
    """An utterance, and the boundaries of its pieces in frames of 10 ms."""

    utterance: Utterance
    boundaries: list[int]

    def pieces(self) -> Iterator[tuple[Piece, int, int]]:
        """Yield each piece with its first and last frame."""
        return zip(self.utterance.pieces, self.boundaries, self.boundaries[1:])

    def segments(self) -> list[Segment]:
        """List the bona fide and the fake segments; neighbours with the same label are joined."""
        joined: list[Segment] = []
        for piece, start, end in self.pieces():
            label = "bonafide" if piece.method == HUMAN else "spoof"
            first = round(start * _STEP, 2)
            if joined and joined[-1].label == label:
                first = joined.pop().start
            joined.append(Segment(label, first, round(end * _STEP, 2)))
        return joined


def write_labels(out: Path, labelled: list[Labelled]) -> None:
    """Write protocols, labels of all resolutions, RTTM, durations, and the list of all pieces."""
    for part_name in METHODS:
        _write_part(out, part_name, [example for example in labelled if example.utterance.part_name == part_name])
    rows = []
    for example in labelled:
        utterance = example.utterance
        for piece, start, end in example.pieces():
            key = f"{piece.source.recording.key} {piece.source.words}".rstrip()
            rows.append(f"{utterance.part_name} {utterance.id} {start} {end} {piece.method} {key}")
    write_text(out / splice_cues.PIECES, layout.lines(rows))
    talks = {example.utterance.id: example.segments() for example in labelled if example.utterance.part_name == "talk"}
    write_rttm(out / "talk.rttm", talks)


def _write_part(out: Path, part_name: str, labelled: list[Labelled]) -> None:
    rows = []
    segments = {}
    for example in labelled:
        utterance = example.utterance
        key = "- bonafide" if utterance.is_human else "CON spoof"
        rows.append(f"{utterance.pieces[0].source.recording.speaker} {utterance.id} - {key}")
        segments[utterance.id] = example.segments()
    write_text(out / _PROTOCOLS / f"PartialSpoof.LA.cm.{part_name}.trl.txt", layout.lines(rows))
    frames = {}
    fakes = {}
    durations = []
    for name, row in segments.items():
        frames[name] = frame_labels(row, 10, row[-1].end, last_frame="round")
        fakes[name] = [segment for segment in row if segment.label == "spoof"]
        durations.append(f"{name} {row[-1].end:.6f}")
    for resolution in RESOLUTIONS:
        labels = {name: pool_labels(row, resolution // 10).astype("U1") for name, row in frames.items()}
        path = out / f"database/segment_labels/{part_name}_seglab_{resolution / 1000:g}.npy"
        with replacing(path) as temporary, open(temporary, "wb") as file:
            np.save(file, np.array(labels, dtype=object), allow_pickle=True)
    folder = out / f"database/{part_name}/con_data"
    folder.mkdir(parents=True, exist_ok=True)
    write_rttm(folder / "rttm_2cls_0sil", segments)
    write_rttm(folder / "rttm_2cls_0sil_spoof", fakes)
    write_text(folder / "reco2dur", layout.lines(durations))


def _sources(
    shared: plan.Split, counts: Mapping[Recording, int], words: list[tuple[Recording, str]], seed: int
) -> dict[str, list[Source]]:
    """List the human speech for the pieces of each part.

    A fifth of the words of the training speakers is for development.

    Args:
        counts: recording → number of its stretches.
        words: prompts with their words.
    """
    recordings = {"train": shared.recordings_by_part["train"], "dev": shared.recordings_by_part["dev"]}
    recordings["eval"] = [r for name in synthesis.EVALUATION_PARTS for r in shared.recordings_by_part[name]]
    sources: dict[str, list[Source]] = {}
    for part_name, part_recordings in recordings.items():
        sources[part_name] = []
        for recording in part_recordings:
            sources[part_name] += [Source(recording, number) for number in range(counts[recording])]
    for rank, i in enumerate(channel.generator(seed, "words").permutation(len(words))):
        recording, text = words[i]
        part_name = "train" if rank % 5 else "dev"
        if recording.role == "eval":
            part_name = "eval"
        sources[part_name].append(Source(recording, 0, text))
    return sources


def build(
    out: Path,
    bonafide: Path | None = None,
    jobs: int = 2,
    seed: int = 0,
    sizes: Sizes | None = None,
    human: plan.Sizes | None = None,
) -> dict[str, float]:
    """Build the recordings in ``out``, or finish them if they are incomplete.

    Args:
        bonafide: folder of the user's recordings; None for Debian's voice prompts.
        jobs: number of processes.
        sizes: numbers of recordings of each part; None for the usual numbers.
        human: sizes of the parts of the demonstration corpus, among which the human speech is
            divided; None for the usual sizes.

    Returns:
        The EERs of the check of trivial cues.

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
    chosen_recordings = candidates(recordings, human, seed)
    workers = Workers(jobs)
    try:
        counted = workers.map(partial(count_stretches, work=work, seed=seed), chosen_recordings, "human speech")
        counts = {recording: count for recording, count in zip(chosen_recordings, counted) if count}
        shared = plan.split(list(counts), human, seed)
        words = [] if bonafide else spoken_words()
        planned = utterances(_sources(shared, counts, words, seed), methods, sizes, seed)
        aloud = [m for m in METHODS["eval"] if m in PACKAGES and m in methods]
        reading = partial(read_aloud, planned=planned, work=work, seed=seed)
        files: dict[str, Path] = {}
        for files_of_method in workers.map(reading, aloud, "reading aloud"):
            files |= files_of_method
        sums: Any = Counter()
        saying = partial(say, read_already=files, work=work, seed=seed)
        for spectra_of_utterance in workers.map(saying, planned, "pieces"):
            sums.update(spectra_of_utterance)
        spectra = {speaker: 10 * np.log10(total) for speaker, total in sums.items()}
        making = partial(make, spectra=spectra, out=out, work=work, seed=seed)
        labelled = list(map(Labelled, planned, workers.map(making, planned, "partially spoofed")))
        write_labels(out, labelled)
        eers = splice_cues.trivial_cue_eer(out, partial(workers.map, title="check"))
    finally:
        workers.close()
    summary = f"{_count_table(labelled)}\n\n{splice_cues.summary(eers)}"
    source = "Human speech: recordings of your own." if bonafide else ATTRIBUTION
    write_text(out / "README.md", f"{_README}\n{source}\n\n{summary}\n")
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


def _count_table(labelled: list[Labelled]) -> str:
    rows = ["| part | bona fide | partially spoofed | minutes | of them fake |", "|---|---|---|---|---|"]
    for part_name in METHODS:
        labelled_of_part = [example for example in labelled if example.utterance.part_name == part_name]
        num_human = sum(example.utterance.is_human for example in labelled_of_part)
        num_frames = sum(example.boundaries[-1] for example in labelled_of_part)
        fake_seconds = 0.0
        for example in labelled_of_part:
            fake_seconds += sum(
                segment.end - segment.start for segment in example.segments() if segment.label == "spoof"
            )
        counts = f"{num_human} | {len(labelled_of_part) - num_human}"
        rows.append(f"| {part_name} | {counts} | {num_frames * _STEP / 60:.1f} | {fake_seconds / 60:.1f} |")
    return "\n".join(rows)
