"""Export a detector as an ONNX file.

:class:`nes2net.models.onnx_detector.OnnxDetector` and any ONNX runtime can run it. The graph takes
``waveform``, B×N float32 at 16 kHz in [−1, 1], and returns ``scores`` (B,), higher for bona fide,
and ``logits`` B×n. B is free, and N, too, unless the back-end takes only one length. The metadata
describe the detector, as JSON under the key ``nes2net``; the entry ``input`` says how a recording
becomes a waveform. The graph uses only standard ONNX operators.
"""

from __future__ import annotations

import contextlib
import io
import json
import logging
import os
import re
import warnings
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from nes2net.data.audio.waveform import ASVSPOOF_SAMPLES, SAMPLE_RATE, SOXR_QUALITY
from nes2net.detector import Detector
from nes2net.lib.errors import InputError, as_input_error, check_setting, first_line
from nes2net.lib.output.sheet import Facts
from nes2net.lib.storage.files import AnyPath, check_no_device, exclusive_lock, replacing, temporary_folder, writing
from nes2net.models.backends.base import NATURE, ScoreRule
from nes2net.models.onnx_detector import EXPORT_PACKAGES, METADATA, OnnxDetector, require
from nes2net.models.provenance import Provenance
from nes2net.scoring.kernel import scoring_mode
from nes2net.scoring.score_length import samples_to_score
from nes2net.version import __version__

#: Opset (version of the ONNX operators) of the files: the lowest opset to which torch.onnx translates.
OPSET = 18
#: Largest accepted difference between the logits of onnxruntime and torch, divided by the largest logit if that is
#: above 1.
TOLERANCE = 1e-4
#: Largest accepted difference for the shortest waveform: dividing by the small standard deviation of its two similar
#: frames magnifies rounding errors.
ROUGH_TOLERANCE = 1e-2
#: Largest accepted difference for int8. This limit detects a failed quantisation, not a small loss of accuracy.
INT8_TOLERANCE = 0.1
#: A linear layer is quantised if it has at least this many inputs and outputs; int8 would not make a
#: smaller layer faster.
_MIN_FEATURES = 64
#: More bytes of weights than this go to a second file: Protobuf limits a file to 2 GiB, and the graph needs some.
MAX_FILE_BYTES = 2**31 - 2**26


#: Score rule → formula by which an ONNX file computes `scores`.
_SCORE_FORMULAS: dict[ScoreRule, str] = {
    "logit": "logits[:, -1]",
    "difference": "logits[:, -1] - logsumexp(logits[:, :-1])",
    "probability": "softmax(logits)[:, -1]",
    "cosine": "logits[:, -1]",
}


class _WithScores(nn.Module):
    def __init__(self, detector: Detector) -> None:
        super().__init__()
        self.detector = detector

    def forward(self, waveform: Tensor) -> tuple[Tensor, Tensor]:
        """Compute scores (B,) and logits B×n of ``waveform`` B×N."""
        logits = self.detector(waveform)
        return self.detector.backend.scores(logits), logits


def export_onnx(detector: Detector, path: AnyPath, *, quantize: str | None = None) -> Path:
    """Write ``detector``, on the CPU in float32, as an ONNX file that computes in eval mode.

    Before the file gets its name, the logits of onnxruntime and torch are compared, on batch sizes
    and lengths other than in the export. The length is free, unless the back-end takes only one
    number of frames (SLS): it is then 64,600 samples if these give that number, otherwise the
    smallest length that does. Weights of more than 2 GB go to ``{path}.data``, which has
    to stay beside the file. The export needs memory for three to four copies of the weights, with
    ``quantize`` for five.

    Args:
        path: a name that ends in ``.onnx``.
        quantize: ``"int8"`` quantises the linear layers of the front-end by onnxruntime's own tool:
            weights to −64…64, with a scale per output; activations during the computation, to 8
            bits with one range per layer and waveform.

    Raises:
        InputError: if onnx, onnxscript or onnxruntime is missing; if ``path`` is a device or a
            pipe; if the detector is on another device or of another dtype; if torch.onnx cannot
            translate the detector; if ``quantize`` is unknown, or the front-end has no linear layers
            to quantise; or if the logits of onnxruntime and torch differ by more than
            :data:`TOLERANCE` (at the shortest length :data:`ROUGH_TOLERANCE`, in int8
            :data:`INT8_TOLERANCE`).
    """
    require(*EXPORT_PACKAGES)
    path = Path(path)
    if path.suffix != ".onnx":
        raise InputError(f"{path} has the wrong suffix: choose a name that ends in .onnx")
    check_no_device(path)
    if detector.device.type != "cpu" or detector.dtype != torch.float32:
        raise InputError(
            f"export to ONNX needs a detector on the CPU in float32, not on {detector.device} in {detector.dtype}: "
            "call detector.cpu().float() first"
        )
    check_setting("quantize", quantize, quantize in (None, "int8"), "'int8' or None")
    detector = detector.whole()
    if quantize and not _has_large_linear_layer(detector.frontend):
        raise _nothing_to_quantise_error(detector)
    shortest, longest = _accepted_lengths(detector)
    description = _metadata(detector, path, shortest, longest)
    # Write the file under a temporary name, check it, quantise and check it again if required, and rename it.
    lock = path.with_name(f".{path.name}.lock")
    is_locked = exclusive_lock(lock, f"another process is writing {path}: wait for its end, or name another file")
    with writing(path), is_locked, scoring_mode(detector), temporary_folder(path) as folder:
        unchecked = folder / path.name
        linear_layers = _write_float32(detector, description, unchecked, _traced_samples(detector, shortest, longest))
        _compare_with_torch(detector, unchecked, path)
        if quantize:
            if not linear_layers:
                raise _nothing_to_quantise_error(detector)
            _quantise_weights(unchecked, linear_layers, {**description, "quantize": quantize})
            _compare_with_torch(detector, unchecked, path)
        for file in sorted(folder.iterdir(), reverse=True):  # move the weights before the graph that refers to them
            target = path.parent / file.name
            with writing(target), replacing(target, durable=True) as temporary:
                os.replace(file, temporary)
    return path


def _metadata(detector: Detector, path: Path, shortest: int, longest: int | None) -> dict[str, Any]:
    """Describe the detector for :class:`nes2net.models.onnx_detector.OnnxDetector`; lengths in samples."""
    rule = detector.backend.score_rule
    size = sum(tensor.nbytes for tensor in (*detector.parameters(), *detector.buffers()))
    scored_samples = samples_to_score(detector.provenance).num_samples
    if shortest == longest:  # the graph accepts only this length
        scored_samples = shortest
    return {
        "nes2net": __version__,
        "torch": torch.__version__,
        "fingerprint": detector.fingerprint(),
        "input": _input_rule(detector, scored_samples, shortest),
        "sample_rate": SAMPLE_RATE,
        "resampler": f"soxr {SOXR_QUALITY}",
        "scored_samples": scored_samples,
        "padding": "repeat",
        "min_samples": shortest,
        "max_samples": longest,
        "used_samples": None if shortest == longest else detector.used_samples.most,
        "pre_emphasis": detector.pre_emphasis,
        "scores": f"scores = {_SCORE_FORMULAS[rule]}; higher means more bona fide; {NATURE[rule]}",
        "score_rule": rule,
        "quantize": None,  # set when the graph is quantised
        "config": detector.config,
        "training": _training_facts(detector.provenance),
        "external_data": f"{path.name}.data" if size > MAX_FILE_BYTES else None,
    }


def _has_large_linear_layer(frontend: nn.Module) -> bool:
    layers = [module for module in frontend.modules() if isinstance(module, nn.Linear)]
    return any(min(layer.weight.shape) >= _MIN_FEATURES for layer in layers)


def _nothing_to_quantise_error(detector: Detector) -> InputError:
    name = detector.frontend.config["name"]
    return InputError(f"the front-end '{name}' has no linear layers to quantise: remove `quantize`")


def _input_rule(detector: Detector, scored_samples: int | None, shortest: int) -> str:
    steps = [f"mean of the channels, resampled to {SAMPLE_RATE} Hz by soxr {SOXR_QUALITY}, in [-1, 1]"]
    if detector.pre_emphasis:
        steps.append(f"x[n] - {detector.pre_emphasis:g} x[n-1] for n > 0")
    if scored_samples is None:
        steps.append(f"all samples; fewer than {shortest} are repeated from the beginning up to {shortest}")
    else:
        steps.append(
            f"the first {scored_samples} samples; fewer are repeated from the beginning up to {scored_samples}"
        )
    return "; ".join(steps)


def _accepted_lengths(detector: Detector) -> tuple[int, int | None]:
    """Return smallest and largest number of samples; None for no limit."""
    frontend = detector.frontend
    backend = detector.backend
    shortest = detector.min_samples
    most_frames = backend.fixed_frames or backend.max_frames
    # One frame more would need min_samples + most_frames·hop_length samples.
    # None if the back-end takes any number of frames.
    longest = most_frames and frontend.min_samples + most_frames * frontend.hop_length - 1
    if longest and backend.fixed_frames:  # one length only: the published one, if it gives this number of frames
        shortest = longest = ASVSPOOF_SAMPLES if shortest <= ASVSPOOF_SAMPLES <= longest else shortest
    return shortest, longest


def _write_float32(detector: Detector, description: Facts, path: Path, num_traced: int) -> list[str]:
    """Return the nodes to quantise: matrix products of large linear layers in the front-end."""
    from onnxscript.optimizer import fold_constants, remove_unused_nodes  # optional: the extra onnx

    from nes2net.apps.export.onnx_translations import translations  # optional, as above

    waveform = _test_noise(2, num_traced)
    with torch.inference_mode():
        detector(waveform)  # if the detector fails, raise its own error here, not wrapped by torch.onnx
    try:
        with _hide_library_output(), torch.no_grad():  # with gradients, attention would be traced as a different kernel
            has_fixed_length = description["min_samples"] == description["max_samples"]
            dynamic = {0: "batch"} if has_fixed_length else {0: "batch", 1: "samples"}
            program = torch.onnx.export(
                _WithScores(detector),
                (waveform,),
                dynamo=True,
                dynamic_shapes=(dynamic,),
                input_names=["waveform"],
                output_names=["scores", "logits"],
                opset_version=OPSET,
                optimize=False,  # optimising drops additions of constants below 1e-8, such as the floor of a logarithm
                custom_translation_table=translations(),
                verbose=False,
            )
            assert program is not None  # torch.onnx.export returns None only if it writes the file itself
            fold_constants(program.model)  # compute constants now: onnxruntime lacks some float64 operators
            remove_unused_nodes(program.model)  # onnxruntime warns of each constant that is not used after folding
    except Exception as error:  # torch.onnx and plug-in back-ends raise errors of many types
        reason = first_line(error.__cause__ or error)
        raise InputError(
            f"{path.name} was not written: torch.onnx cannot translate this detector ({reason}); use `to=pth`"
        ) from error
    linear_layers = []
    for node in program.model.graph.all_nodes():
        # Products with constants, such as the Fourier matrix of a spectrum, stay in float32.
        scopes = node.metadata_props.get("pkg.torch.onnx.name_scopes", "")  # modules around the node, outermost first
        of_layer = "'detector.frontend'" in scopes and re.search(r", 'linear\w*'\]$", scopes)
        if node.op_type == "MatMul" and of_layer:
            weight: Any = node.inputs[1]
            if weight.is_initializer() and min(weight.shape) >= _MIN_FEATURES:
                linear_layers.append(str(node.name))
        node.metadata_props.clear()  # remove file paths of this machine
        node.doc_string = None
    program.model.metadata_props[METADATA] = json.dumps(description)
    program.save(path, external_data=description["external_data"] is not None)
    return linear_layers


def _quantise_weights(path: Path, node_names: list[str], description: Facts) -> None:
    """Quantise weights to int8, with 7 bits (``reduce_range``).

    Without VNNI, pairs of products are summed in int16; 8 bits could overflow without an error.
    """
    import onnx  # optional: the extra onnx
    from onnxruntime.quantization import QuantType, quantize_dynamic  # optional, as above

    model = onnx.load(path)
    model.graph.ClearField("value_info")  # remove the shapes, which are wrong after Gemm becomes MatMul
    weights = {node.input[1] for node in model.graph.node if node.name in node_names}
    size = 0
    for tensor in model.graph.initializer:
        size += tensor.ByteSize() // (4 if tensor.name in weights else 1)
    external_file = f"{path.name}.data" if size > MAX_FILE_BYTES else None
    (entry,) = (entry for entry in model.metadata_props if entry.key == METADATA)
    entry.value = json.dumps({**description, "external_data": external_file})
    path.with_name(f"{path.name}.data").unlink(missing_ok=True)
    problem = f"{path.name} was not written: onnxruntime cannot quantise this detector"
    with as_input_error(problem, Exception), _hide_library_output():  # onnxruntime raises exceptions of many types
        quantize_dynamic(
            model,
            path,
            op_types_to_quantize=["MatMul"],
            nodes_to_quantize=node_names,
            per_channel=True,
            reduce_range=True,
            weight_type=QuantType.QInt8,
            use_external_data_format=external_file is not None,
        )


def _traced_samples(detector: Detector, shortest: int, longest: int | None) -> int:
    """Choose the length to trace: several frames after every pooling, because torch.export takes a size of 1 as constant."""
    if shortest == longest:
        return shortest
    frames = max(32, 8 * detector.backend.min_frames)
    return detector.frontend.min_samples + (frames - 1) * detector.frontend.hop_length


@contextlib.contextmanager
def _hide_library_output() -> Iterator[None]:
    level = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(level)


def _compare_with_torch(detector: Detector, unchecked: Path, path: Path) -> None:
    """Raise InputError if logits of noise differ by more than accepted.

    ``path`` is the later name of the file ``unchecked``, for messages.
    """
    exported = OnnxDetector(unchecked, device="cpu")
    traced = _traced_samples(detector, exported.min_samples, exported.max_samples)
    if exported.min_samples == exported.max_samples:
        sizes = [(1, traced, TOLERANCE), (3, traced, TOLERANCE)]
    else:
        sizes = [
            (3, exported.min_samples, ROUGH_TOLERANCE),
            (1, traced + 37, TOLERANCE),  # not a multiple of the hop
            (4, 2 * traced + 1, TOLERANCE),
        ]
    remedy = "try another version of torch, onnxscript or onnxruntime"
    if exported.precision == "int8":  # skip the shortest waveform, because it magnifies rounding errors
        sizes = [(batch, samples, INT8_TOLERANCE) for batch, samples, _ in sizes[-2:]]
        remedy = "this detector needs float32, so remove `quantize`"
    for batch, samples, tolerance in sizes:
        waveform = _test_noise(batch, samples)
        with torch.inference_mode():
            expected = detector(waveform)
        difference = (exported(waveform) - expected).abs().max().item()
        largest = expected.abs().max().item()
        if not difference <= tolerance * max(1.0, largest):
            raise InputError(
                f"{path} was not written: for {batch} × {samples} samples onnxruntime's logits differ from torch's "
                f"by {difference:.1e}, more than {tolerance:.0e}: {remedy}"
            )


def _test_noise(batch: int, samples: int) -> Tensor:
    """White noise B×N; half of the last row is silent, to test the floor of a logarithm."""
    waveform = 0.1 * torch.randn(batch, samples, generator=torch.Generator().manual_seed(samples))
    waveform[-1, samples // 2 :] = 0
    return waveform


def _training_facts(provenance: Provenance) -> Facts:
    """Describe the training; a published model is only its start, because the file's weights cannot be verified."""
    training = provenance.only_training_data(folders=False)
    if training.published_model:
        starts = (Provenance(training.published_model), *training.started_from)
        training = replace(training.without_weights(), started_from=starts)
    return training.to_dict()
