"""Traits of the recordings of a corpus, measured by reading processes."""

from __future__ import annotations

import random
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from torch.utils.data import Dataset
from tqdm import tqdm

from nes2net.audio.read import load_head_and_length, stream_audio
from nes2net.corpora.trial import Trial
from nes2net.decisions.population import Traits, measure, measure_blocks
from nes2net.errors import InputError, one_line, worded
from nes2net.machine.processors import usable_processors
from nes2net.machine.progress import ProgressDisplay
from nes2net.machine.terminal import printable
from nes2net.machine.workers import Loader
from nes2net.scoring.batches import Item, plan_batches

#: Most recordings that are measured of a corpus; the p-values of so many reach down to 1 in 10,000.
MOST_MEASURED = 10_000
_BATCH, _SEED = 8, 0


def measure_file(path: str | Path, num_samples: int | None) -> Traits:
    """Measure the recording in a file, as far as a detector hears it.

    Args:
        num_samples: leading samples that it hears; None for the whole recording, of any length.

    Raises:
        InputError: if the file cannot be read.
    """
    if num_samples is None:
        return measure_blocks(stream_audio(path))
    return measure(load_head_and_length(path, num_samples)[0])


def drawn(trials: Sequence[Trial], most: int = MOST_MEASURED) -> list[Trial]:
    """Draw at most ``most`` of ``trials``, always the same ones, in their order."""
    if len(trials) <= most:
        return list(trials)
    return [trials[i] for i in sorted(random.Random(_SEED).sample(range(len(trials)), most))]


def measure_trials(
    trials: Sequence[Trial],
    num_samples: int | None,
    *,
    num_workers: int | None = None,
    keep: Callable[[Iterable[tuple[str, Traits | str]]], object] = lambda found: None,
) -> tuple[dict[str, Traits], dict[str, str]]:
    """Measure the recordings of ``trials``, by :func:`measure_file`.

    Args:
        num_samples: as for :func:`measure_file`.
        num_workers: processes that read audio; None for one on each processor.
        keep: is given every few recordings by id, each with its traits or the reason why it has none.

    Returns:
        The traits by id, in the order of ``trials``, and the reasons by id for those that cannot be
        read. A reason is also printed on standard error when it is found.

    Raises:
        InputError, Unfinished: if the reading processes fail.
    """
    workers = usable_processors() if num_workers is None else num_workers
    found: dict[str, Traits | str] = {}
    read = iter(Loader(_Measured(num_samples), plan_batches(trials, _BATCH), list, workers))
    display = ProgressDisplay[None](title="measuring", unit="recording", total=len(trials))
    with display:
        for batch in read:
            found |= dict(batch)
            keep(batch)
            for id, reason in batch:
                if isinstance(reason, str):
                    tqdm.write(printable(worded(f"left out: {id}: {reason}")), file=sys.stderr)
            display.update(len(batch))
    traits = {trial.id: one for trial in trials if isinstance(one := found[trial.id], Traits)}
    return traits, {id: one for id, one in found.items() if isinstance(one, str)}


class _Measured(Dataset):
    """Items → ids, each with its traits or the reason why it has none."""

    def __init__(self, num_samples: int | None) -> None:
        self.num_samples = num_samples

    def __getitem__(self, item: Item) -> tuple[str, Traits | str]:
        try:
            return item.id, measure_file(item.path, self.num_samples)
        except InputError as error:
            return item.id, str(error)
        except Exception as error:  # no error of a decoder on a damaged file may end the run
            return item.id, one_line(f"{item.path} could not be read ({type(error).__name__}: {error})")
