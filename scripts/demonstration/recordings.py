"""Find human speech: voice prompts of Debian's packages asterisk-core-sounds, or a folder of the user's recordings."""

from __future__ import annotations

import hashlib
import re
from collections import defaultdict
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import av
import numpy as np
import soundfile
import soxr

from nes2net.lib.errors import InputError

from .channel import RATE, generator
from .codecs import decode

PROMPTS = Path("/usr/share/asterisk/sounds")
ATTRIBUTION = """\
Human speech: Asterisk core sounds, by Allison Smith (en; theivrvoice.com) and June Wallack (fr; junewallack.com),
  CC BY-SA 3.0; by Carlo Flora (it; carloflora.com), CC BY-SA 3.0; by Maxim Topal (ru; ivrvoice.ru), CC BY 3.0.
  Clips are changed (cut, filtered, coded); clips made from them fall under the same licences."""

# Prompts without speech, or with the same sounds in every language.
_NOT_SPEECH = re.compile(r"silence/|tone|beep|tt-monkeys")
_AUDIO = set(".wav .flac .mp3 .m4a .aac .ogg .opus .g722 .aiff .aif .au .wma .webm .mp4".split())
_WORDS = Path(__file__).with_name("prompts.txt")
VOICES = {
    "fr_CA_f_June": ("LA_0001", "fr", "train"),
    "it_IT_m_Carlo": ("LA_0002", "it", "train"),
    "ru_RU_f_IvrvoiceRU": ("LA_0003", "ru", "train"),
    "en_US_f_Allison": ("LA_0004", "en", "eval"),
}
MIN_SECONDS = 1.4
MAX_SECONDS = 5.9
PIECE_SECONDS = 4.5


@dataclass(frozen=True)
class Recording:
    """A stretch of human speech between ``start`` and ``stop`` seconds of a file.

    ``role`` says where it may be used: "train" (training and development), "eval", or "any" if the
    parts share speakers.
    """

    key: str
    path: Path
    speaker: str
    language: str
    role: str
    start: float
    stop: float


def read(path: Path, start: float = 0.0, stop: float | None = None) -> np.ndarray:
    """Read the samples between ``start`` and ``stop`` seconds, mono, 16 kHz, with libsndfile or otherwise FFmpeg.

    Raises:
        InputError: if neither can read the file.
    """
    try:
        with _open_sound(path) as file:
            rate = file.samplerate
            file.seek(int(start * rate))
            x = file.read(-1 if stop is None else int(stop * rate) - file.tell(), always_2d=True).mean(axis=1)
    except soundfile.LibsndfileError:
        x, rate = _decode(path)
        x = x[int(start * rate) : None if stop is None else int(stop * rate)]
    return x if rate == RATE else soxr.resample(x, rate, RATE)


def _open_sound(path: Path) -> soundfile.SoundFile:
    """Open a file with libsndfile; LibsndfileError if it cannot read the format."""
    if path.suffix.lower() == ".g722":
        raise soundfile.LibsndfileError(1)  # raw G.722 has no header; only FFmpeg reads it
    return soundfile.SoundFile(path)


@lru_cache(maxsize=1)  # the pieces of a long recording are read one after another
def _decode(path: Path) -> tuple[np.ndarray, int]:
    try:
        return decode(str(path), "g722" if path.suffix.lower() == ".g722" else None)
    except (av.FFmpegError, IndexError, ValueError) as error:
        raise InputError(f"{path}: neither libsndfile nor FFmpeg reads it ({error}); take the file away") from None


def _seconds(path: Path) -> float:
    if path.suffix.lower() == ".g722":
        return path.stat().st_size / 8000  # 64 kbit/s
    try:
        return soundfile.info(path).duration
    except soundfile.LibsndfileError:
        return len(read(path)) / RATE


def _pieces(path: Path, name: str, **fields) -> list[Recording]:
    """List the recordings in a file.

    A file of 1.4 to 5.9 s is one recording, a longer file is split into equal pieces of about 4.5
    s, a shorter file has none.
    """
    seconds = _seconds(path)
    if seconds < MIN_SECONDS:
        return []
    count = 1 if seconds <= MAX_SECONDS else int(np.ceil(seconds / PIECE_SECONDS))
    edges = np.linspace(0, seconds, count + 1)
    return [
        Recording(f"{name}-{i}", path, start=float(edges[i]), stop=float(edges[i + 1]), **fields) for i in range(count)
    ]


def debian_prompts() -> list[Recording]:
    """List the installed prompts: French, Italian and Russian for training, English for evaluation.

    Each language has one speaker.

    Raises:
        InputError: if a package is missing.
    """
    missing = [language for folder, (_, language, _) in VOICES.items() if not (PROMPTS / folder).is_dir()]
    if missing:
        packages = " ".join(f"asterisk-core-sounds-{language}-g722" for language in missing)
        raise InputError(f"no voice prompts in {PROMPTS}: install {packages} (Debian, Ubuntu) or give --bonafide DIR")
    prompts = []
    contents = set()
    for folder, (speaker, language, role) in VOICES.items():
        for path in sorted((PROMPTS / folder).rglob("*.g722")):
            name = path.relative_to(PROMPTS).with_suffix("").as_posix()
            content = hashlib.sha1(path.read_bytes()).digest()
            if not _NOT_SPEECH.search(str(path)) and content not in contents:
                prompts += _pieces(path, name, speaker=speaker, language=language, role=role)
            contents.add(content)
    return prompts


def spoken_words() -> list[tuple[Recording, str]]:
    """List the short prompts whose words are known: (recording, words)."""
    lines = [line.split("\t") for line in _WORDS.read_text(encoding="utf-8").splitlines() if line[0] != "#"]
    prompts_with_words = []
    for column, (folder, (speaker, language, role)) in enumerate(VOICES.items()):
        for name, *words in lines:
            path = PROMPTS / folder / f"{name}.g722"
            if words[column] != "-" and path.is_file():
                seconds = _seconds(path)
                if seconds < MIN_SECONDS:
                    key = path.relative_to(PROMPTS).with_suffix("").as_posix()
                    prompts_with_words.append(
                        (Recording(key, path, speaker, language, role, 0.0, seconds), words[column])
                    )
    return prompts_with_words


def _speaker_of(path: Path, folder: Path) -> str:
    inside = path.relative_to(folder)
    if len(inside.parts) > 1:
        return inside.parts[0]
    letters = re.match(r"[^\W\d_]+", path.stem)
    return letters[0] if letters else "unknown"


def own_recordings(folder: Path, seed: int) -> list[Recording]:
    """List the user's recordings in ``folder``.

    With three or more speakers, the evaluation speakers do not occur in training.

    Raises:
        InputError: if the folder is missing or has no audio.
    """
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder; --bonafide needs a folder of recordings of human speech")
    paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in _AUDIO)
    if not paths:
        raise InputError(f"{folder}: no audio in it; --bonafide reads {' '.join(sorted(_AUDIO))}")
    by_speaker = defaultdict(list)
    for path in paths:
        by_speaker[_speaker_of(path, folder)].append(path)
    speakers = sorted(by_speaker)
    evaluation = _evaluation_speakers({name: len(by_speaker[name]) for name in speakers}, seed)
    listed_recordings = []
    for number, name in enumerate(speakers, start=1):
        role = "any"
        if evaluation:
            role = "eval" if name in evaluation else "train"
        for path in by_speaker[name]:
            key = path.relative_to(folder).with_suffix("").as_posix() + path.suffix.replace(".", "-")
            listed_recordings += _pieces(path, key, speaker=f"LA_{number:04d}", language="en", role=role)
    return listed_recordings


def _evaluation_speakers(files: dict[str, int], seed: int) -> set[str]:
    """Choose speakers with about half of the files for evaluation, leaving at least one speaker on each side.

    With fewer than three speakers the result is empty, and the parts share speakers.
    """
    if len(files) < 3:
        return set()
    order = generator(seed, "speakers").permutation(sorted(files))
    chosen_speakers: set[str] = set()
    for name in order[:-1]:
        if sum(files[n] for n in chosen_speakers) + files[name] <= 0.55 * sum(files.values()) or not chosen_speakers:
            chosen_speakers.add(str(name))
    return chosen_speakers
