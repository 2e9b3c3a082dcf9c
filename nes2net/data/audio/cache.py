"""Cache decoded audio on disk, so that utterances need to be decoded only in the first epoch."""

from __future__ import annotations

import errno
import hashlib
import io
import os
import stat
import zlib
from contextlib import suppress
from pathlib import Path
from weakref import WeakValueDictionary

import numpy as np
import torch
from numpy.typing import NDArray

from nes2net.data.audio.packed import AnyRecording, not_found, status_of, whole_of
from nes2net.data.audio.read import load_audio
from nes2net.data.audio.waveform import FULL_SCALE, as_16_bits
from nes2net.lib.errors import InputError, as_input_error
from nes2net.lib.output.terminal import say_aside
from nes2net.lib.storage.files import AnyPath, make_folder, path_below, remove_leftovers, replacing

# Increase this if :func:`load_audio` gives other samples of the same file: earlier entries are then not found.
_DECODING = 2
_HEADER_BYTES = 128
_CHECKSUM_BYTES = 4
_TYPES = (np.dtype(np.int16), np.dtype(np.float32))
_MAX_SAMPLES = 1 << 24  # samples; a longer recording would take hundreds of megabytes of memory
# Folder of a cache → a tensor (1,): 1 once nothing more can be written there. Kept while an :class:`AudioCache` of
# the folder exists.
_FULL: WeakValueDictionary[str, torch.Tensor] = WeakValueDictionary()


class AudioCache:
    """A folder that stores the results of :func:`load_audio` without loss; processes may share it.

    An entry is a ``.npy`` file with the CRC-32 of its samples at the end: int16 if all samples are
    multiples of 1/32768, otherwise float32. Its name is a digest of the recording's path, part
    with audio track, size and modification time. Entries of changed or deleted recordings stay.

    A damaged entry is replaced. Recordings of more than 17 minutes are not cached. If the disk is
    full or the folder is read-only, a warning is printed and nothing more is cached. Unfinished
    files of killed processes are removed.

    Raises:
        InputError: if the folder cannot be made.
    """

    def __init__(self, folder: AnyPath) -> None:
        self.folder = Path(folder)
        with as_input_error(
            f"cache folder {folder} cannot be made", OSError, remedy="name a folder of yours with `data.cache`"
        ):
            make_folder(self.folder)
        # All caches of a folder share the flag ``full``, also in workers of a DataLoader, so that only one cache warns.
        name = os.path.realpath(folder)
        full = _FULL.get(name)
        if full is None:
            _FULL[name] = full = torch.zeros(1, dtype=torch.uint8)
            with suppress(RuntimeError):  # if shared memory is full, each process gets its own flag
                full.share_memory_()
            for subfolder in self.folder.glob("??"):
                if not subfolder.is_symlink():
                    remove_leftovers(subfolder)
        self._full = full

    def load(self, path: AnyRecording, num_samples: int | None = None) -> NDArray:
        """Return the recording, or its first ``num_samples``; cache it if all of it can be decoded.

        Raises:
            InputError: as :func:`load_audio`.
        """
        entry = self.entry(path)
        waveform = _read_entry(entry, num_samples)
        if waveform is not None:
            return waveform
        with suppress(InputError):  # the damage may come after ``num_samples``
            waveform = load_audio(path, _MAX_SAMPLES + 1)
        if waveform is None or len(waveform) > _MAX_SAMPLES:
            return load_audio(path, num_samples)
        self._write(entry, waveform)
        return waveform[:num_samples]

    def entry(self, path: AnyRecording) -> Path:
        """Return the path of the recording's entry, which need not exist.

        Raises:
            InputError: if the recording does not exist.
        """
        file = whole_of(path)
        try:
            status = status_of(file)
        except OSError as error:
            raise not_found(file) from error
        part = str(path).removeprefix(str(file))
        key = f"{_DECODING}\0{os.path.realpath(file)}\0{status}\0{part}"
        digest = hashlib.sha256(key.encode("utf-8", "surrogateescape")).hexdigest()[:40]
        return self.folder / digest[:2] / f"{digest[2:]}.npy"

    def _write(self, entry: Path, waveform: NDArray) -> None:
        """Write without raising; stop the folder's caches if later entries would fail, too."""
        if self._full[0]:
            return
        samples = as_16_bits(waveform)
        try:
            entry = path_below(self.folder, entry.parent.name) / entry.name
            with replacing(entry) as temporary, open(temporary, "wb") as file:
                file.write(_npy_header(samples.dtype, len(samples)))
                file.write(samples.data)  # NumPy's own writer would raise an error that does not state the reason
                file.write(_checksum(samples))
        except InputError:  # a link or a pipe is in the way
            return
        except OSError as error:
            # A second file name: renaming onto this entry failed, because it is another user's or, on Windows, in
            # use. Others can still be written.
            concerns_one_entry = isinstance(error, PermissionError) and error.filename2 is not None
            lasting_errors = (errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EPERM, errno.EROFS)
            if concerns_one_entry or error.errno not in lasting_errors:  # the next entry may be written
                return
            self._full[0] = 1
            say_aside(
                f"warning: nothing more is cached in {self.folder} ({error.strerror}); "
                "recordings that are not in it are decoded every time. Make room, or name another cache folder"
            )


def _npy_header(dtype: np.dtype, length: int) -> bytes:
    header = io.BytesIO()
    facts = {"descr": dtype.str, "fortran_order": False, "shape": (length,)}
    np.lib.format.write_array_header_1_0(header, facts)
    return header.getvalue()


def _checksum(samples: NDArray) -> bytes:
    return zlib.crc32(samples.data).to_bytes(_CHECKSUM_BYTES, "little")


def _read_entry(entry: Path, num_samples: int | None) -> NDArray | None:
    # Read (N,) float32, or the first ``num_samples``; None if there is no entry, or it is damaged.
    try:
        if not stat.S_ISREG(os.stat(entry).st_mode):  # opening a pipe would wait for ever
            return None
        with open(entry, "rb") as file:
            header = file.read(_HEADER_BYTES)
            size = os.fstat(file.fileno()).st_size
            for dtype in _TYPES:
                length, num_odd_bytes = divmod(size - _HEADER_BYTES - _CHECKSUM_BYTES, dtype.itemsize)
                if length > 0 and not num_odd_bytes and header == _npy_header(dtype, length):
                    break
            else:  # the cache would write another header for a file of this size
                return None
            samples = np.memmap(file, dtype, "r", _HEADER_BYTES, (length,))
            file.seek(-_CHECKSUM_BYTES, os.SEEK_END)
            if file.read() != _checksum(samples):
                return None
    except (OSError, ValueError):
        return None
    head = np.array(samples[:num_samples], np.float32)
    if samples.dtype == np.int16:
        return head / FULL_SCALE
    if not np.isfinite(samples).all():
        return None
    return head
