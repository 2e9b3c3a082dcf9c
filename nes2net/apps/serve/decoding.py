"""Decode uploaded files in a separate process, which can be stopped and may crash.

libsndfile and FFmpeg are native code, and decode files of unknown origin. If they crash, only this
process ends, and the server continues.
"""

from __future__ import annotations

import errno
import multiprocessing
import signal
from collections.abc import Callable
from contextlib import ExitStack
from multiprocessing.connection import Connection
from pathlib import Path

import soundfile
from numpy.typing import NDArray

from nes2net.data.audio.packed import AnyRecording
from nes2net.data.audio.read import AudioFile, NotAudio
from nes2net.data.audio.remarks import Channels
from nes2net.data.audio.waveform import SAMPLE_RATE
from nes2net.lib.errors import InputError
from nes2net.lib.output.times import readable_duration
from nes2net.lib.process.search_path import secure_multiprocessing

_CHECK_EVERY = 0.2  # seconds between two calls of `check` while the other process decodes


class NotDecoded(InputError):
    """An uploaded file cannot be used; the message does not name the file."""


class TooSlow(InputError):
    """A recording took longer than the server's time limit."""

    http_status = 504


class ChannelsOfBoth(Channels):
    """Compares the channels of a whole recording, and of its first ``num_samples`` at 16 kHz."""

    def __init__(self, num_samples: int | None) -> None:
        self.beginning = Channels(num_samples)  # first, because super() calls reset()
        super().__init__()

    def reset(self) -> None:
        super().reset()
        self.beginning.reset()

    def push(self, samples: NDArray, rate: float) -> None:
        super().push(samples, rate)
        self.beginning.push(samples, rate)


def decode(
    source: AnyRecording,
    full_wav: Path,
    player_wav: Path | None,
    *,
    longest: float,
    check: Callable[[], object],
    num_samples: int | None = None,
) -> tuple[float, ChannelsOfBoth]:
    """Decode ``source`` to 16 kHz mono in another process.

    Args:
        full_wav: file for the detector (WAV of 32-bit floats).
        player_wav: file for a player (WAV of 16-bit integers), if any.
        num_samples: leading samples that are scored; None for all.
        longest: largest accepted duration in seconds.
        check: called at once and several times a second; an exception from it ends the decoding.

    Returns:
        The duration in seconds, and the comparison of the recording's channels with each other.

    Raises:
        NotDecoded: if the file is not a recording, is damaged or is too long.
        OSError: if the disk is full, or this machine is at fault in another way.
    """
    secure_multiprocessing()
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(
        target=_decode_and_send,
        args=(source, full_wav, player_wav, longest, ChannelsOfBoth(num_samples), sender),
        daemon=True,
    )
    with receiver:
        try:
            process.start()
            sender.close()
            check()
            while not receiver.poll(_CHECK_EVERY):
                check()
            result = receiver.recv()
        except EOFError:
            raise NotDecoded("the decoder crashed on this file: send it in another format, such as WAV") from None
        finally:
            if process.pid is not None:
                process.join(0)
                process.kill()
                process.join()
    if isinstance(result, Exception):
        raise result
    return result


def _decode_and_send(
    source: AnyRecording,
    full_wav: Path,
    player_wav: Path | None,
    longest: float,
    channels: ChannelsOfBoth,
    sender: Connection,
) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C goes to the server, which ends this process
    try:
        sender.send((_write_wavs(source, full_wav, player_wav, longest, channels), channels))
    except NotAudio:  # the messages of the two libraries would not help the user
        sender.send(NotDecoded("not a recording: neither libsndfile nor FFmpeg reads it"))
    except InputError as error:
        if isinstance(error.__cause__, FileNotFoundError):  # the upload is gone from the disk
            sender.send(error.__cause__)
        else:
            sender.send(NotDecoded(error.reason))  # the user does not know the temporary name of the file
    except soundfile.LibsndfileError:  # of a file that is written; libsndfile does not tell the reason
        sender.send(OSError(errno.ENOSPC, "cannot be written"))
    except Exception as error:
        sender.send(error)


def _write_wavs(
    source: AnyRecording, full_wav: Path, player_wav: Path | None, longest: float, channels: Channels
) -> float:
    too_long = (
        f"longer than {readable_duration(longest, exact=True)}, the most that is accepted here: send a part of it"
    )
    # Refuse a long recording before it is decoded if its header states its length, and otherwise while it is decoded.
    length = 0
    with AudioFile(source) as audio, ExitStack() as files:
        if (audio.stated_length() or 0) > longest * SAMPLE_RATE:
            raise InputError(too_long)
        formats = {full_wav: "FLOAT"}
        if player_wav is not None:
            formats[player_wav] = "PCM_16"
        outputs = []
        for path, subtype in formats.items():
            outputs.append(files.enter_context(soundfile.SoundFile(path, "w", SAMPLE_RATE, 1, subtype, format="WAV")))
        for block in audio.blocks_at_16k(channels):
            length += len(block)
            if length > longest * SAMPLE_RATE:
                raise InputError(too_long)
            for output in outputs:
                output.write(block)  # soundfile clips 16-bit samples, which have no values beyond 1
    return length / SAMPLE_RATE
