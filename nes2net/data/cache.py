"""Decoded audio on disk: from the second epoch on an utterance is read memory-mapped instead of being decoded again."""

from __future__ import annotations

import hashlib
import os
import sys
import zlib
from pathlib import Path

import numpy as np
import torch

from nes2net.atomic import replacing
from nes2net.data.audio import load_audio, load_head
from nes2net.errors import InputError

# Raised when :func:`load_audio` comes to give other samples of the same file: entries made before are then not found.
_DECODING = 1
_CHECKSUM_BYTES = 4
_FULL_SCALE = np.float32(32768)  # of 16-bit samples


class AudioCache:
    """What :func:`load_audio` gives, kept in ``folder``, for any number of processes at once. The samples are the same to the last bit.

    An utterance is one ``.npy`` file: int16 where every sample is a whole number of 1/32768 (so are 16-bit files at 16 kHz of one
    channel; two bytes a sample), else float32. Its name is a digest of the recording's resolved path, size and time of modification, so
    that a file that has changed is decoded again; entries of files that are gone stay until the folder is removed. The CRC-32 of the
    samples follows them: an entry that is damaged, however, is made anew. Where nothing more can be written (the disk is full, the folder
    belongs to somebody else) one line says so, and what is not there yet is decoded every time.

    Raises:
        InputError: the folder cannot be made.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(
                f"cache folder {folder} cannot be made ({error.strerror}): name a folder of yours with data.cache (--cache)"
            ) from error
        # Shared with the processes of a DataLoader, so that one of them warns and none tries again.
        self._full = torch.zeros(1, dtype=torch.uint8).share_memory_()

    def load(self, path: str | Path, num_samples: int | None = None) -> np.ndarray:
        """``load_audio(path)``, or ``load_head(path, num_samples)``; raises what they raise."""
        entry = self.entry(path)
        waveform = _read(entry, num_samples)
        if waveform is not None:
            return waveform
        try:
            waveform = load_audio(path)
        except InputError:
            if num_samples is None:
                raise
            return load_head(path, num_samples)  # it may be damaged after the head
        self._write(entry, waveform)
        return waveform[:num_samples]

    def entry(self, path: str | Path) -> Path:
        """Where the samples of ``path`` are kept. :class:`InputError` if there is no such recording."""
        try:
            status = os.stat(path)
        except OSError as error:
            raise InputError(f"audio file {path} not found") from error
        key = f"{_DECODING}\0{os.path.realpath(path)}\0{status.st_size}\0{status.st_mtime_ns}"
        digest = hashlib.sha256(key.encode("utf-8", "surrogateescape")).hexdigest()[:40]
        return self.folder / digest[:2] / f"{digest[2:]}.npy"

    def _write(self, entry: Path, waveform: np.ndarray) -> None:
        if self._full[0]:
            return
        samples = _smallest(waveform)
        try:
            with replacing(entry) as temporary, open(temporary, "wb") as file:
                np.save(file, samples)
                file.write(_checksum(samples))
        except (
            FileNotFoundError
        ):  # another machine that shares the folder was writing the same under the same process number
            return
        except OSError as error:
            self._full[0] = 1
            print(
                f"warning: nothing more is cached in {self.folder} ({error.strerror}); what is missing there is decoded every time",
                file=sys.stderr,
            )


def _smallest(waveform: np.ndarray) -> np.ndarray:
    """``waveform`` (N,) float32 as int16 in units of 1/32768 where that gives the same bits back, else itself."""
    steps = np.rint(np.clip(waveform * _FULL_SCALE, -32768, 32767)).astype(np.int16)
    same = np.array_equal(
        (steps.astype(np.float32) / _FULL_SCALE).view(np.uint32), waveform.view(np.uint32)
    )  # of bits: −0 is not 0
    return steps if same else waveform


def _checksum(samples: np.ndarray) -> bytes:
    return zlib.crc32(samples).to_bytes(_CHECKSUM_BYTES, "little")


def _read(entry: Path, num_samples: int | None) -> np.ndarray | None:
    """The first ``num_samples`` of an entry as float32; None where there is none, or a damaged one."""
    try:
        samples = np.load(entry, mmap_mode="r", allow_pickle=False)
        with open(entry, "rb") as file:
            file.seek(-_CHECKSUM_BYTES, os.SEEK_END)
            checksum = file.read()
    except (OSError, ValueError, EOFError):
        return None
    if samples.ndim != 1 or samples.dtype not in (np.int16, np.float32) or checksum != _checksum(samples):
        return None
    if samples.dtype == np.float32:
        return np.array(samples[:num_samples])
    return np.asarray(samples[:num_samples], np.float32) / _FULL_SCALE
