"""Write a folder for the Speech Anti-Spoofing Arena, whose client then runs the detector.

It has an adapter, a Python module, and ``meta.yaml``, which describes the system. The class in the
adapter also inherits from the client's base class, so that nes2net does not need the client.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, ClassVar

import numpy as np
import torch
from pydantic import Field, ValidationError

from nes2net.apps.export.settings import Arena
from nes2net.data.audio.waveform import SAMPLE_RATE
from nes2net.detector import Detector
from nes2net.lib.computing.module_size import count_numbers
from nes2net.lib.errors import InputError, pluralise
from nes2net.lib.output.sheet import Facts, FactsDict
from nes2net.lib.parts.options import part_names
from nes2net.lib.storage.files import AnyPath, path_below, write_text, writing_folder
from nes2net.lib.storage.plain_data import StrictModel, first_problem
from nes2net.lib.storage.yaml_text import read_yaml_file, write_yaml
from nes2net.models.card import arxiv_number
from nes2net.scoring.kernel import check_takes_audio_alone, score_each
from nes2net.scoring.waveforms import WaveformReader

#: File name of the adapter.
ADAPTER = "arena_model.py"
#: File name of the description of the system.
META = "meta.yaml"
#: Name of the detector's folder.
DETECTOR = "detector"
_ARXIV = re.compile(r"\d{4}\.\d{4,5}|[a-z-]+(?:\.[A-Z]{2})?/\d{7}")
_ADAPTER_TEXT = '''\
"""A detector of nes2net as the Arena's client runs it; in this folder:

speech-spoof-bench run --model-module arena_model:Model --datasets SpeechAntiSpoofingBenchmarks/InTheWild
"""

from pathlib import Path

from nes2net.apps.export.arena import ArenaModel
from speech_spoof_bench.model import AntiSpoofingModel

HERE = Path(__file__).resolve().parent


class Model(ArenaModel, AntiSpoofingModel):
    name = {name!r}
    batch_size = {batch_size}
    checkpoint = {checkpoint}
    num_samples = {num_samples}  # leading samples of a recording that are scored; None: all
    precision = {precision!r}
'''
_META_COMMENT = (
    "# Before you submit, fill in what is null; `nes2net export FOLDER --to arena --check` says what is left.\n"
)


class ArenaModel:
    """A detector for the Arena's client, with the scores of `nes2net score`.

    The adapter sets the class variables in a subclass.
    """

    # The Arena's client reads the public variables, and calls the public methods, by these names.
    name: ClassVar[str] = "unnamed"
    expected_sample_rate: ClassVar[int] = SAMPLE_RATE
    """Hz, to which the client resamples recordings."""
    batch_size: ClassVar[int] = 16
    """Most recordings that the client gives at once."""
    checkpoint: ClassVar[AnyPath] = ""
    num_samples: ClassVar[int | None] = None
    """Leading samples to score, repeated if short; None for whole recordings."""
    precision: ClassVar[str] = "auto"
    device: ClassVar[str] = "auto"

    _detector: Detector | None = None

    def load(self) -> None:
        """Load the detector.

        Raises:
            InputError: as :meth:`nes2net.Detector.from_pretrained`, or if the detector needs scores
                of other systems.
        """
        detector = Detector.from_pretrained(self.checkpoint, self.device, self.precision)
        check_takes_audio_alone(detector)
        self._detector = detector

    def score_batch(self, audios: Sequence[np.ndarray], srs: Sequence[int]) -> list[float]:
        """Score recordings; higher means more bona fide.

        Only recordings of equal length share a batch, which changes a score by at most 1e-6.

        Args:
            audios: floats in [−1, 1], (N,) or (channels, N); channels are averaged. The client
                gives float32 at 16 kHz; other rates are resampled.
            srs: sample rates in Hz.

        Raises:
            InputError: if the detector is not loaded, or a recording cannot be scored. The client then
                repeats the call with single recordings, and omits those that fail.
        """
        detector = self._detector
        if detector is None:
            raise InputError("the detector is not loaded: call load() before score_batch()")
        if len(audios) != len(srs):
            raise InputError(
                f"{pluralise(audios, 'recording')} with {pluralise(srs, 'sample rate')}: give one rate for each"
            )
        reader = WaveformReader.of(detector, self.num_samples)
        return score_each(detector, [reader.read_audio(samples, rate).waveform for samples, rate in zip(audios, srs)])

    def unload(self) -> None:
        self._detector = None
        if torch.cuda.is_available():
            torch.cuda.empty_cache()


_Text = Annotated[str, Field(min_length=1)]
_Address = Annotated[str, Field(pattern=r"^https?://[^\s/]+\S*$")]


class _Paper(StrictModel):
    arxiv_id: Annotated[str, Field(pattern=rf"^(?:{_ARXIV.pattern})$")]
    url: _Address
    bibtex: _Text


class _System(StrictModel):
    name: _Text
    slug: Annotated[str, Field(pattern="^[a-z0-9][a-z0-9-]*$")]
    description: _Text
    code: _Address
    checkpoint: _Address
    params_millions: Annotated[float, Field(gt=0)] | None = None
    paper: _Paper | None = None


class _Meta(StrictModel):
    """The content of ``meta.yaml``; the Arena requires the keys that have no default."""

    system: _System
    notes: str | None = None


def write_arena(
    detector: Detector, folder: Path, arena: Arena, num_samples: int | None, hub_name: str | None
) -> FactsDict:
    """Write the adapter, ``meta.yaml`` and the detector to ``folder``.

    Args:
        num_samples: see :attr:`ArenaModel.num_samples`.
        hub_name: where the adapter loads the detector; None to write it to the folder.

    Returns:
        The section ``system`` of :data:`META`, None for values to fill in (:func:`lacking`).

    Raises:
        InputError: if the Arena does not accept an argument, the detector cannot score audio alone,
            or a file cannot be written.
    """
    check_takes_audio_alone(detector)
    detector.check_score()
    WaveformReader.of(detector, num_samples)  # checks the number
    frontend, aggregation, backend = part_names(detector.config)
    published = detector.provenance.published
    name = arena.name or (published[0] if published else detector.provenance.name) or f"{frontend} + {backend}"
    slug = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")
    if not name.isprintable() or not slug:
        raise InputError(f"the Arena requires a `name` of one line with a letter a-z or a digit, not {name!r}")
    on_hub = None if hub_name is None else f"https://huggingface.co/{hub_name}"
    scored_part = "whole recordings" if num_samples is None else f"the first {num_samples:,} samples of a recording"
    system: FactsDict = {
        "name": name,
        "slug": slug,
        "description": f"Front-end {frontend}, aggregation {aggregation}, back-end {backend}; scores {scored_part} at "
        f"{SAMPLE_RATE:,} Hz, by nes2net.",
        "code": None,
        "checkpoint": on_hub,
        "params_millions": round(count_numbers(detector.parameters()) / 1e6, 4),
    }
    number = arena.arxiv or arxiv_number(detector.config, detector.provenance) or "none"
    if number != "none":
        url = f"https://arxiv.org/abs/{number}"
        key = re.sub(r"\W", "_", number)
        bibtex = f"@misc{{arxiv_{key}, archivePrefix = {{arXiv}}, eprint = {{{number}}}, url = {{{url}}}}}"
        system["paper"] = {"arxiv_id": number, "url": url, "bibtex": bibtex}
    _validate_meta({"system": system | dict.fromkeys(lacking(system), "https://to.fill/in")}, "the arguments")
    checkpoint_code = f'HERE / "{DETECTOR}"' if hub_name is None else repr(hub_name)
    adapter = _ADAPTER_TEXT.format(
        name=name,
        batch_size=arena.batch_size,
        checkpoint=checkpoint_code,
        num_samples=num_samples,
        precision=arena.dtype,
    )
    with writing_folder(folder):
        if hub_name is None:
            detector.whole().save(path_below(folder, DETECTOR))
        write_text(folder / ADAPTER, adapter)
        write_text(folder / META, _META_COMMENT + write_yaml({"system": system}))
    return system


def check_meta(folder: Path) -> None:
    """Check that ``meta.yaml`` in ``folder`` has every value that the Arena requires.

    Raises:
        InputError: if the file is missing or malformed, or a value is missing or not accepted.
    """
    path = folder / META
    if not path.is_file():
        raise InputError(f"{path} not found: name a folder that `nes2net export CHECKPOINT --to arena --out DIR` wrote")
    content = read_yaml_file(path, None, str(path))
    system = content.get("system") if isinstance(content, dict) else None
    if isinstance(system, dict) and (missing_keys := lacking(system)):
        raise InputError(f"{path}: fill in {', '.join(f'system.{key}' for key in missing_keys)}")
    _validate_meta(content, str(path))


def lacking(system: Facts) -> list[str]:
    """Return the keys of the section ``system`` of :data:`META` that the Arena requires and that are empty."""
    return [key for key, field in _System.model_fields.items() if field.is_required() and not system.get(key)]


def _validate_meta(content: object, source: str) -> None:
    try:
        _Meta.model_validate(content)
    except ValidationError as error:
        raise InputError(f"{source}: the Arena does not accept this system; correct {first_problem(error)}") from error
