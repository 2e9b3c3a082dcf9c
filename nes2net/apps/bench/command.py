"""`nes2net bench`: how fast this machine runs a detector, as a table to paste into an issue."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

from nes2net.actions.flags import Loading, ModelName
from nes2net.lib.errors import InputError, pluralise
from nes2net.lib.shell.commands import Count, Flag, Seconds, command_facts

_DEFAULT = "wav2vec2_Nes2Net_X"


@command_facts(
    about=f"Without --model, the weights are random, by default of {_DEFAULT}. The output is a Markdown table "
    "of medians, below the versions and the hardware. For a detector of full size, a round takes a minute or "
    "more on a CPU.",
    resumes=False,
)
def bench(
    files: Annotated[Sequence[str], Flag("FILE")] = (),
    *,
    model: ModelName | None = None,
    loading: Loading,
    seconds: Seconds = 64600 / 16000,
    batch_size: Sequence[Count] | None = None,
    rounds: Count = 3,
    workers: Count | None = None,
) -> None:
    """Measure how fast this machine runs a detector.

    Example:
        nes2net bench --model detector.pth

    Args:
        files: audio to score; generated if not given
        seconds: length of the utterances
        batch_size: batch sizes to measure (1 and 8, or 1 and 64 on a GPU)
        rounds: measured rounds, after one to warm up
        workers: threads that read audio
    """
    import numpy as np
    import soundfile

    from nes2net.apps.bench.benchmark import environment, measure, speed_table
    from nes2net.data.audio.files import expand_folders
    from nes2net.data.audio.waveform import SAMPLE_RATE
    from nes2net.detector import Detector
    from nes2net.lib.computing.devices import choose_device
    from nes2net.lib.output.terminal import print_note, say, say_aside
    from nes2net.models.quantisation import emulation_note
    from nes2net.scoring.kernel import default_batch_size

    if model:
        detector = loading.load(model)
    else:
        torch_device = choose_device(loading.device)
        say_aside("building a detector of random weights; at full size this takes a while")
        precision = "float32" if loading.dtype == "auto" else loading.dtype
        detector = Detector.from_config(loading.as_config or _DEFAULT).to(torch_device).set_precision(precision).eval()
        print_note(emulation_note(detector.precision, detector.device))
    num_samples = round(seconds * SAMPLE_RATE) if 0 < seconds < 3600 else 0
    if num_samples < detector.min_samples:
        shortest = detector.min_samples / SAMPLE_RATE
        raise InputError(
            f"--seconds must be {shortest:.4g} or more for this detector, and below 3600 (an hour), not {seconds}"
        )
    sizes = list(batch_size or [1, default_batch_size(detector.device)])
    with TemporaryDirectory() as folder:
        if files:
            paths = expand_folders(files)
        else:  # generate enough files for two batches, at least eight files
            rng = np.random.default_rng(0)
            paths = [Path(folder) / f"{number}.flac" for number in range(max(8, 2 * max(sizes)))]
            for path in paths:
                # Low-passed noise under a varying envelope is about as hard to decode as speech.
                samples = np.convolve(rng.standard_normal(num_samples + 31), np.hanning(32), "valid")
                envelope = 0.02 + 0.05 * np.abs(np.sin(np.arange(num_samples) / 4000))
                soundfile.write(path, samples / samples.std() * envelope, SAMPLE_RATE)
        measured = measure(detector, paths, num_samples, sizes, rounds, workers)
    kind = "files" if files else "generated FLAC files"
    utterances = f"{len(paths)} {kind}, utterances of {num_samples:,} samples"
    lines = [*environment(detector), f"- {utterances}, medians of {pluralise(rounds, 'round')} by turns", ""]
    say(*lines, *speed_table(measured))
