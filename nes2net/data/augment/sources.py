"""Recordings that effects mix in: noise, room impulse responses, and other speech.

The user provides MUSAN (Snyder et al., 2015, arXiv 1510.08484, openslr.org/17) and impulse
responses, such as RIRS_NOISES (Ko et al., ICASSP 2017, openslr.org/28). A folder is listed once,
for the first effect that needs it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import NamedTuple

from nes2net.data.audio.files import recordings_below
from nes2net.data.audio.packed import AnyRecording
from nes2net.lib.errors import InputError
from nes2net.lib.storage.files import AnyPath


class Category(NamedTuple):
    """How the ASVspoof 5 recipe mixes in a category of MUSAN; ranges include both ends."""

    num_files: tuple[int, int]
    """How many files make a noise, which is their mean."""
    snr: tuple[float, float]
    """Signal-to-noise ratios to draw, in dB."""


CATEGORIES = {
    "noise": Category((1, 1), (0, 15)),
    "speech": Category((3, 8), (13, 20)),
    "music": Category((1, 1), (5, 25)),
}


class NoiseFile(NamedTuple):
    """A recording and its length in samples at 16 kHz."""

    path: Path
    num_samples: int


@dataclass(frozen=True)
class Sources:
    """Folders and files of the recordings that effects mix in; None or empty if not provided."""

    musan: AnyPath | None = None
    """Folder with ``noise``, ``speech`` and ``music`` in it or in its subfolder ``musan``."""
    rir: AnyPath | None = None
    """Folder of impulse responses, see :func:`find_impulse_responses`."""
    speech: Sequence[AnyRecording] = ()
    """Recordings of the corpus itself, from which babble is made."""

    @cached_property
    def noises(self) -> dict[str, list[NoiseFile]]:
        """The recordings of each category of MUSAN, if provided."""
        return {} if self.musan is None else find_noises(self.musan)

    @cached_property
    def impulse_responses(self) -> list[Path]:
        """The files of the impulse responses, if provided."""
        return [] if self.rir is None else find_impulse_responses(self.rir)

    def recordings(self, name: str) -> Sequence[AnyRecording]:
        """List all files of the source ``name``: ``"musan"``, ``"rir"`` or ``"speech"``.

        Raises:
            InputError: if the folder of the source cannot be used.
        """
        if name == "musan":
            return [file.path for file in chain.from_iterable(self.noises.values())]
        if name == "rir":
            return self.impulse_responses
        return self.speech


def find_noises(root: AnyPath) -> dict[str, list[NoiseFile]]:
    """Find each category of MUSAN in ``root`` or ``root/musan``, sorted by path.

    Raises:
        InputError: if the folder or a category is missing or has too few files, or if a file has no
            samples.
    """
    root = _existing_folder(root, "MUSAN", "openslr.org/17: it has noise, speech and music in it")
    if (root / "musan").is_dir():
        root = root / "musan"
    recordings = {name: recordings_below(root / name) for name in CATEGORIES}
    for name, paths in recordings.items():
        num_needed = CATEGORIES[name].num_files[1]
        if len(paths) < num_needed:
            raise InputError(
                f"MUSAN folder {root / name} has {len(paths)} audio files, but needs at least {num_needed}: unpack "
                "the whole corpus (openslr.org/17)"
            )
    return {name: [NoiseFile(path, _check_length(path)) for path in paths] for name, paths in recordings.items()}


def find_impulse_responses(root: AnyPath) -> list[Path]:
    """Find impulse responses at any depth below ``root``, sorted by path.

    Effects use the first channel. The noises of RIRS_NOISES are skipped: ``pointsource_noises``,
    and names with ``_noise_``.

    Raises:
        InputError: if the folder is missing or has no audio, or if a file has no samples.
    """
    root = _existing_folder(root, "impulse response", "for example RIRS_NOISES/simulated_rirs of openslr.org/28")
    paths = []
    for path in recordings_below(root):
        if "pointsource_noises" not in path.relative_to(root).parts and "_noise_" not in path.name:
            paths.append(path)
    if not paths:
        raise InputError(
            f"impulse response folder {root} has no audio files of impulse responses, not even in subfolders: "
            "name another folder with `augment.rir`"
        )
    for path in paths:
        _check_length(path)
    return paths


def _existing_folder(root: AnyPath, title: str, example: str) -> Path:
    root = Path(root)
    if not root.is_dir():
        raise InputError(f"{title} folder {root} not found; give the unpacked corpus ({example})")
    return root


def _check_length(path: Path) -> int:
    """Return samples at 16 kHz; raise InputError if there are none."""
    from nes2net.data.audio.read import count_samples  # imported late for a fast start-up of --help

    num_samples = count_samples(path)
    if num_samples == 0:
        raise InputError("has no samples; remove it from its folder", subject=f"audio file {path}")
    return num_samples
