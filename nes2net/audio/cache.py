"""Decoded audio on disk: from the second epoch on an utterance is read memory-mapped instead of being decoded again."""

from __future__ import annotations

import errno
import hashlib
import os
import stat
import sys
import time
import zlib
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO
from weakref import WeakValueDictionary

import numpy as np
import torch

from nes2net.audio.read import load_audio, load_head
from nes2net.errors import InputError
from nes2net.machine.files import replacing

# Raised when :func:`load_audio` comes to give other samples of the same file: entries made before are then not found.
_DECODING = 1
_HEADER_BYTES, _CHECKSUM_BYTES = 128, 4
_TYPES = {"<i2": np.int16, "<f4": np.float32}
_FULL_SCALE = np.float32(32768)  # of 16-bit samples
# Where these are met, the next file cannot be written either.
_LASTING = (errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EPERM, errno.EROFS)
_STALE = 3600  # seconds; no file takes so long to write
# Whether nothing more is written to a folder: of each that is in use in this process.
_FULL: WeakValueDictionary[str, torch.Tensor] = WeakValueDictionary()


class AudioCache:
    """What :func:`load_audio` gives, kept in ``folder``, for any number of processes at once. The samples are the same to the last bit.

    An utterance is one ``.npy`` file: int16 where every sample is a whole number of 1/32768 (so are 16-bit files at 16 kHz of one
    channel; two bytes a sample), else float32. Its name is a digest of the recording's resolved path, size and time of modification, so
    that a file that has changed is decoded again; entries of files that are gone stay until the folder is removed. The CRC-32 of the
    samples follows them: an entry that is damaged, however, or is none at all, is made anew. Where nothing more can be written (the disk
    is full, the folder belongs to somebody else) one line says so, and what is not there yet is decoded every time; so is an entry that
    alone cannot be written. What processes that were killed left unfinished is removed an hour later.

    Raises:
        InputError: the folder cannot be made.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(
                f"cache folder {folder} cannot be made ({error.strerror}): name a folder of yours with `data.cache`"
            ) from error
        # Shared by the caches of a folder and with the processes of a DataLoader, so that one of them warns and none tries again.
        name = os.path.realpath(folder)
        self._full = _FULL.get(name)
        if self._full is None:
            _FULL[name] = self._full = torch.zeros(1, dtype=torch.uint8).share_memory_()
            _remove_unfinished(self.folder)

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
                file.write(_header("<i2" if samples.dtype == np.int16 else "<f4", len(samples)))
                file.write(samples)  # numpy's own writing does not say why it failed
                file.write(_checksum(samples))
        except OSError as error:
            # One entry alone may be somebody else's or, on Windows, being read: then it is the replacing, of two names, that is forbidden.
            # And a machine that shares the folder may be writing the same under the same process number.
            one_entry = isinstance(error, PermissionError) and error.filename2 is not None
            if one_entry or error.errno not in _LASTING:
                return
            self._full[0] = 1
            print(
                f"warning: nothing more is cached in {self.folder} ({error.strerror}); what is missing there is decoded every time",
                file=sys.stderr,
            )


def _remove_unfinished(folder: Path) -> None:
    """Temporary files of processes that were killed."""
    with suppress(OSError):  # another process may be doing the same
        for temporary in folder.glob("??/.*.npy.*.tmp"):
            if time.time() - temporary.stat().st_mtime > _STALE:
                temporary.unlink()


def _smallest(waveform: np.ndarray) -> np.ndarray:
    """``waveform`` (N,) float32 as int16 in units of 1/32768 where that gives the same bits back, else itself."""
    steps = np.rint(np.clip(waveform * _FULL_SCALE, -32768, 32767)).astype(np.int16)
    same = np.array_equal(
        (steps.astype(np.float32) / _FULL_SCALE).view(np.uint32), waveform.view(np.uint32)
    )  # of bits: −0 is not 0
    return steps if same else waveform


def _header(descr: str, length: int) -> bytes:
    """Of a ``.npy`` file with (``length``,) samples, as :func:`numpy.save` writes it."""
    text = f"{{'descr': '{descr}', 'fortran_order': False, 'shape': ({length},), }}"
    return (
        b"\x93NUMPY\x01\x00"
        + (_HEADER_BYTES - 10).to_bytes(2, "little")
        + text.ljust(_HEADER_BYTES - 11).encode()
        + b"\n"
    )


def _checksum(samples: np.ndarray) -> bytes:
    return zlib.crc32(samples).to_bytes(_CHECKSUM_BYTES, "little")


def _read(entry: Path, num_samples: int | None) -> np.ndarray | None:
    """The first ``num_samples`` of an entry as float32; None where there is none, or a damaged one."""
    try:
        if not stat.S_ISREG(os.stat(entry).st_mode):  # opening a pipe would wait for ever
            return None
        with open(entry, "rb") as file:
            samples = _mapped(file)
            file.seek(-_CHECKSUM_BYTES, os.SEEK_END)
            if samples is None or file.read() != _checksum(samples):
                return None
    except (OSError, ValueError):
        return None
    head = np.array(samples[:num_samples], np.float32)
    if samples.dtype == np.int16:
        return head / _FULL_SCALE
    return head if np.isfinite(samples).all() else None


def _mapped(file: BinaryIO) -> np.ndarray | None:
    """The samples of an entry; None where the header is not one that the cache writes, for a file of this size."""
    header, size = file.read(_HEADER_BYTES), os.fstat(file.fileno()).st_size
    for descr, dtype in _TYPES.items():
        length, rest = divmod(size - _HEADER_BYTES - _CHECKSUM_BYTES, np.dtype(dtype).itemsize)
        if length > 0 and not rest and header == _header(descr, length):
            return np.memmap(file, dtype, "r", _HEADER_BYTES, (length,))
    return None
