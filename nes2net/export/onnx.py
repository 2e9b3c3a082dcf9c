"""Export a detector as an ONNX file.

:class:`nes2net.export.onnx_detector.OnnxDetector` and any ONNX runtime can run it. The graph takes
``waveform``, B×N float32 at 16 kHz in [−1, 1]. It returns ``scores`` (B,), higher meaning more bona
fide, and ``logits`` B×n. Batch size and number of samples are free, unless the back-end reads one
length only. The metadata describe the detector, as JSON under ``nes2net``. The graph uses only
standard ONNX operators and holds up to 2 GB of weights itself.
"""

from __future__ import annotations

import contextlib
import io
import json
import logging
import os
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from nes2net import __version__
from nes2net.audio.crop import ASVSPOOF_SAMPLES
from nes2net.audio.read import SAMPLE_RATE
from nes2net.backends.base import bonafide_scores
from nes2net.checkpoints.onnx_file import METADATA, accepted_lengths, require
from nes2net.detector import Detector
from nes2net.errors import InputError, first_line
from nes2net.export.onnx_detector import OnnxDetector
from nes2net.machine.files import replacing, writing
from nes2net.scoring.kernel import scoring_mode

#: The opset that torch.onnx translates to; it only converts to later ones.
OPSET = 18
#: Largest accepted difference between the logits of onnxruntime and torch, relative to a largest
#: logit above 1.
TOLERANCE = 1e-4
#: The same for the shortest waveform, where the standard deviation of two similar frames magnifies
#: rounding.
ROUGH_TOLERANCE = 1e-2
#: Bytes of weights that one file can hold: protobuf ends at 2 GiB, of which the graph needs some.
LARGEST_FILE = 2**31 - 2**26


class _WithScores(nn.Module):
    """A detector with the two outputs of the ONNX file."""

    def __init__(self, detector: Detector) -> None:
        super().__init__()
        self.detector = detector

    def forward(self, waveform: Tensor) -> tuple[Tensor, Tensor]:
        logits = self.detector(waveform)
        return bonafide_scores(logits), logits


def export_onnx(detector: Detector, path: str | Path, *, num_samples: int | None = None) -> Path:
    """Write ``detector``, on the CPU in float32, as an ONNX file in eval mode.

    Before the file appears, the logits of onnxruntime are compared with those of torch, on batches
    and lengths other than the traced ones. Weights above 2 GB go to ``{path}.data``, which has to
    stay beside the file. Besides the detector, the export needs memory for three to four copies of
    the weights.

    Args:
        path: a name that ends in ``.onnx``.
        num_samples: the only length that the file accepts; None leaves the length free. A back-end
            that reads one number of frames (SLS) always fixes the length: at 64,600 samples if they
            give these frames, as in the published recipes, and otherwise at the shortest.

    Raises:
        InputError: if onnx, onnxscript or onnxruntime is missing; if the detector is on another
            device or of another dtype; if ``num_samples`` does not fit; if torch.onnx cannot
            translate the detector; or if the logits differ by more than :data:`TOLERANCE`, or
            :data:`ROUGH_TOLERANCE` at the shortest length.
    """
    require("onnx", "onnxscript", "onnxruntime")
    path = Path(path)
    if path.suffix != ".onnx":
        raise InputError(f"{path} has the wrong suffix: the name of an ONNX file ends in .onnx")
    if detector.device.type != "cpu" or detector.dtype != torch.float32:
        raise InputError(
            f"export to ONNX needs a detector on the CPU in float32, not on {detector.device} in {detector.dtype}: "
            "call detector.cpu().float() first"
        )
    shortest, longest = _lengths(detector, num_samples)
    description = {
        "nes2net": __version__,
        "torch": torch.__version__,
        "config": detector.config,
        "fingerprint": detector.fingerprint(),
        "sample_rate": SAMPLE_RATE,
        "min_samples": shortest,
        "max_samples": longest,
        "scores": "scores = logits[:, -1]; higher means more bona fide; no probability",
        "external_data": f"{path.name}.data" if _num_bytes(detector) > LARGEST_FILE else None,
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    with (
        scoring_mode(detector),
        tempfile.TemporaryDirectory(prefix=f".{path.name}.", dir=path.parent) as folder,
    ):
        unchecked = Path(folder) / path.name
        _write(detector, description, unchecked)
        _check(detector, unchecked, path)
        for file in sorted(Path(folder).iterdir(), reverse=True):  # weights first, then the graph that names them
            target = path.parent / file.name
            with writing(target), replacing(target) as temporary:
                os.replace(file, temporary)
    return path


def _lengths(detector: Detector, num_samples: int | None) -> tuple[int, int | None]:
    """Samples of the shortest and of the longest waveform.

    The longest is None without a limit, and equal to the shortest if time is fixed.
    """
    frontend, backend = detector.frontend, detector.backend
    shortest = detector.min_samples
    most_frames = backend.fixed_frames or backend.max_frames
    longest = most_frames and frontend.min_samples + most_frames * frontend.hop_length - 1
    if num_samples is None and longest and backend.fixed_frames:
        num_samples = ASVSPOOF_SAMPLES if shortest <= ASVSPOOF_SAMPLES <= longest else shortest
    if num_samples is None:
        return shortest, longest
    if num_samples < shortest or (longest and num_samples > longest):
        limit = accepted_lengths(shortest, longest)
        raise InputError(f"this detector takes {limit} samples, so it cannot be exported for {num_samples}")
    return num_samples, num_samples


def _num_bytes(detector: Detector) -> int:
    return sum(t.numel() * t.element_size() for t in (*detector.parameters(), *detector.buffers()))


def _write(detector: Detector, description: dict[str, Any], path: Path) -> None:
    from onnxscript.optimizer import fold_constants  # optional: the extra nes2net[onnx]

    from nes2net.export.onnx_translations import translations  # optional, as above

    waveform = _noise(2, _traced_samples(detector, description))
    with torch.inference_mode():
        detector(waveform)  # an error of the detector itself shows before torch.onnx wraps it
    try:
        with _quiet(), torch.no_grad():  # with gradients, attention would be traced as another kernel
            program = torch.onnx.export(
                _WithScores(detector),
                (waveform,),
                dynamo=True,
                dynamic_shapes=({0: "batch"} if _is_fixed(description) else {0: "batch", 1: "samples"},),
                input_names=["waveform"],
                output_names=["scores", "logits"],
                opset_version=OPSET,
                optimize=False,  # it drops additions of constants below 1e-8, such as the floor of a logarithm
                custom_translation_table=translations(),
                verbose=False,
            )
            assert program is not None  # torch returns None only if it is given a file
            fold_constants(program.model)  # onnxruntime lacks some operators in float64, which constants are made of
    except Exception as error:  # torch.onnx raises many types, and back-ends may come from elsewhere
        reason = first_line(error.__cause__ or error)
        raise InputError(
            f"{path.name} was not written: torch.onnx cannot translate this detector ({reason})"
        ) from error
    for node in program.model.graph.all_nodes():  # remove the source paths of this machine
        node.metadata_props.clear()
        node.doc_string = None
    program.model.metadata_props[METADATA] = json.dumps(description)
    program.save(path, external_data=description["external_data"] is not None)


def _is_fixed(description: dict[str, Any]) -> bool:
    return description["min_samples"] == description["max_samples"]


def _traced_samples(detector: Detector, description: dict[str, Any]) -> int:
    """A length that leaves several frames after every pooling.

    torch.export would take a size of one for a constant.
    """
    if _is_fixed(description):
        return description["min_samples"]
    frames = max(32, 8 * detector.backend.min_frames)
    return detector.frontend.min_samples + (frames - 1) * detector.frontend.hop_length


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Silence the exporter's progress remarks and warnings."""
    level = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(level)


def _check(detector: Detector, unchecked: Path, path: Path) -> None:
    exported = OnnxDetector(unchecked, device="cpu")
    traced = _traced_samples(detector, exported.description)
    if _is_fixed(exported.description):
        sizes = [(1, traced, TOLERANCE), (3, traced, TOLERANCE)]
    else:
        sizes = [
            (3, exported.min_samples, ROUGH_TOLERANCE),
            (1, traced + 37, TOLERANCE),
            (4, 2 * traced + 1, TOLERANCE),
        ]
    for batch, samples, tolerance in sizes:
        waveform = _noise(batch, samples)
        with torch.inference_mode():
            expected = detector(waveform)
        difference = (exported(waveform) - expected).abs().max().item()
        if not difference <= tolerance * max(1.0, expected.abs().max().item()):
            raise InputError(
                f"{path} was not written: for {batch} × {samples} samples onnxruntime's logits differ from torch's "
                f"by {difference:.1e}, more than {tolerance:.0e}: try another version of torch, onnxscript or onnxruntime"
            )


def _noise(batch: int, samples: int) -> Tensor:
    """White noise B×N; half of the last row is silent, to test the floor of a logarithm."""
    waveform = 0.1 * torch.randn(batch, samples, generator=torch.Generator().manual_seed(samples))
    waveform[-1, samples // 2 :] = 0
    return waveform
