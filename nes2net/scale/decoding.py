"""Recordings of a piece from their content to the waveforms that a detector gets."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import torch
from torch import Tensor

from nes2net.audio.packed import AnyRecording, RecordingBytes
from nes2net.errors import InputError, one_line
from nes2net.scale.libraries import library
from nes2net.scale.reading import fetched
from nes2net.scale.sources import is_url
from nes2net.scoring.waveforms import Recording, WaveformReader

_FETCHED_AT_ONCE = 16  # URLs; a store answers each after some 50 ms


def decoded(table: Any, reader: WaveformReader) -> Any:
    """Replace the columns ``content`` and ``suffix`` of a piece by ``waveform``, ``num_samples`` and ``error``.

    A waveform is bytes of float32 samples, 16 kHz, or null if the ``error`` says why there is none.
    The number of samples is that of the whole recording.
    """
    arrow = library("pyarrow")
    found = [_read(reader, recording) for recording in _recordings(table)]
    waveforms = [one.waveform.tobytes() if isinstance(one, Recording) else None for one in found]
    return (
        table.drop_columns(["content", "suffix"])
        .append_column("waveform", arrow.array(waveforms, arrow.large_binary()))
        .append_column(
            "num_samples",
            arrow.array([one.num_samples if isinstance(one, Recording) else None for one in found], arrow.int64()),
        )
        .append_column("error", arrow.array([one if isinstance(one, str) else None for one in found], arrow.string()))
    )


def waveforms_of(table: Any) -> list[Tensor | str]:
    """What :func:`decoded` put into ``table``: waveforms (N,) float32, or errors."""
    pairs = zip(table.column("waveform"), table.column("error"))
    return [
        torch.frombuffer(bytearray(waveform.as_buffer()), dtype=torch.float32) if waveform.is_valid else error.as_py()
        for waveform, error in pairs
    ]


def _recordings(table: Any) -> list[AnyRecording | InputError]:
    """The recordings; instead of one that could not be fetched, the error."""
    rows = list(zip(*(table.column(name).to_pylist() for name in ("address", "content", "suffix"))))
    with ThreadPoolExecutor(_FETCHED_AT_ONCE, thread_name_prefix="nes2net-fetch") as pool:
        return list(pool.map(lambda row: _recording(*row), rows))


def _recording(address: str, content: bytes | None, suffix: str) -> AnyRecording | InputError:
    if content is not None:
        return RecordingBytes(address, content, suffix)
    try:
        return fetched(address) if is_url(address) else address
    except InputError as error:
        return error


def _read(reader: WaveformReader, recording: AnyRecording | InputError) -> Recording | str:
    """The waveform, or the reason why there is none."""
    if isinstance(recording, InputError):
        return str(recording)
    try:
        return reader.read(recording)
    except InputError as error:
        return str(error)
    except Exception as error:  # a decoder can raise anything on a damaged file
        return one_line(f"{recording} could not be read ({type(error).__name__}: {error})")
