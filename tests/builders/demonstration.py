"""What the tests of the demonstration share: recordings, and the sizes of a corpus of seconds."""

from pathlib import Path

import soundfile
import soxr
from demonstration import plan, recordings
from demonstration.channel import RATE

from builders.voices import voice

SIZES = plan.Sizes(train=8, dev=8, evaluation=8, spoofs_in_training=0.25, spoofs_in_evaluation=0.125)


def folder_of_voices(folder: Path, files: int = 20, speakers: int = 4) -> Path:
    """Fill a folder with recordings of several formats and rates, in one subfolder per speaker."""
    formats = [("wav", 16000), ("flac", 22050), ("ogg", 48000)]
    for speaker in range(speakers):
        speaker_folder = folder / f"voice{speaker}"
        speaker_folder.mkdir(parents=True)
        for number in range(files):
            container, rate = formats[number % 3]
            seconds = 2.6 + 0.05 * number
            seed = 10 * speaker + number
            pitch = 100 + 30 * speaker
            x = voice(seed, seconds, pitch=pitch)
            path = speaker_folder / f"{number:02d}.{container}"
            soundfile.write(path, soxr.resample(x, RATE, rate), rate)
    return folder


def contents(out: Path) -> dict[str, bytes]:
    """The content of each file below ``out`` by its path."""
    paths = [path for path in sorted(out.rglob("*")) if path.is_file()]
    return {str(path.relative_to(out)): path.read_bytes() for path in paths}


def recording(number: int = 0) -> recordings.Recording:
    """A recording that is not there, of one of two speakers of a role."""
    is_evaluated = number < 156 * 3 + 50
    first_speaker = 3 if is_evaluated else 1
    speaker = f"LA_{first_speaker + number % 2:04d}"
    role = "eval" if is_evaluated else "train"
    return recordings.Recording(f"r{number}", Path("r.wav"), speaker, "en", role, 0.0, 3.0)
