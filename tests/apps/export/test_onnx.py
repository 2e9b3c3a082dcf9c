"""ONNX files give the scores of the detector, describe themselves and can do no harm."""

import json
import os
import shutil
import subprocess
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile
import torch
from builders import input_error, small_parts
from builders.voices import voice
from conftest import REPOSITORY
from torch import nn

import nes2net
from nes2net import Detector
from nes2net.apps.export import onnx as onnx_engine
from nes2net.models import registry
from nes2net.models.provenance import Provenance
from nes2net.scoring.record import score_dependencies
from nes2net.scoring.score_file import read_scores

onnx = pytest.importorskip("onnx", reason="the extra 'onnx' is not installed")
pytest.importorskip("onnxscript", reason="the extra 'onnx' is not installed")
onnxruntime = pytest.importorskip("onnxruntime", reason="the extra 'onnx' is not installed")

from nes2net.apps.export.formats import export  # noqa: E402
from nes2net.apps.export.onnx import export_onnx  # noqa: E402
from nes2net.apps.export.onnx_translations import translations  # noqa: E402
from nes2net.models.frontends.sizes import SIZES  # noqa: E402
from nes2net.models.onnx_detector import OnnxDetector, device_in_use  # noqa: E402

TOLERANCE = 1e-4
#: Options that make a part small.
TRANSFORMER = {**small_parts.FRONTENDS["wav2vec2"], "encoder_embed_dim": 64, "encoder_ffn_embed_dim": 64}
TRANSFORMER |= {"encoder_layers": 1}
FRONTENDS = {
    **dict.fromkeys(("wav2vec2", "wav2vec2_small", "hubert", "wavlm"), TRANSFORMER),
    "w2v_bert2": {"encoder_layers": 1, "encoder_embed_dim": 64, "encoder_ffn_embed_dim": 64},
    "data2vec": small_parts.FRONTENDS["data2vec"],
    "audio_encoder": small_parts.FRONTENDS["audio_encoder"],
    "ast": {**small_parts.FRONTENDS["ast"], "max_length": 400},
    "whisper": {**small_parts.FRONTENDS["whisper"], "chunk_length": 4},
    "lps": {"n_fft": 256, "num_bins": 64, "normalize": True},
    "teacher_student": {"teacher": {"name": "wav2vec2_small", **TRANSFORMER}, "student": {"encoder_layers": 1}},
}
BACKENDS = {
    **small_parts.BACKENDS,
    "ensemble": {"kind": "classification", "lstm_layers": 2},
    "mamba": {"num_layers": 2, "embed_dim": 32, "final_norm": "output"},  # "published" would ignore both layers
    "mambo": {**small_parts.BACKENDS["mambo"], "topology": "mambo_2"},
    "mean_linear": {"pool": None, "utterance": "min"},
    "mpif_res2net": {**small_parts.BACKENDS["mpif_res2net"], "blocks": [2, 1, 1, 1]},
    "multires_gmlp": {"gmlp_layers": 1, "max_frames": 500},
    "nes2net_la": {"nes_ratio": [2, 2], "pool": None, "utterance": "attentive"},
    "nes2net_x": {"nes_ratio": [2, 2]},
    "sls": {"num_frames": 50},
    "spectra_aasist": {**small_parts.BACKENDS["spectra_aasist"], "max_frames": 500},
}
#: Options of the front-end of a back-end or an aggregation that the small one does not fit.
LARGER = {
    "attm_lstm": {"encoder_layers": 2},
    "multires_gmlp": {"encoder_embed_dim": 512},  # of which the utterance reads a 32nd
    "sea": {"encoder_layers": 2},
}
#: The front-end of a back-end that does not read one of wav2vec 2.0, or is exported sooner on spectra.
FRONTEND_OF = dict.fromkeys(("aasist2", "conformer", "mamba", "mambo"), "lps")
FRONTEND_OF |= {"one_class_distillation": "teacher_student", "raw_aasist_l": "waveform"}
#: Other sizes or another activation of a back-end that is exported, or parts of one; ASP + MLP is, with every front-end.
MADE_OF_THE_SAME = {"asp_mlp", "lgf", "nes2net_x_selu", "raw_aasist"}


def create(frontend: str, backend: str, aggregation: str = "last") -> Detector:
    torch.manual_seed(0)
    frontend_options = {**FRONTENDS.get(frontend, {}), **LARGER.get(backend, {}), **LARGER.get(aggregation, {})}
    config = {
        "frontend": {"name": frontend, **frontend_options},
        "aggregation": aggregation,
        "backend": {"name": backend, **BACKENDS.get(backend, {})},
    }
    detector = Detector.from_config(config).eval()
    for parameter in detector.aggregation.parameters():
        if parameter.ndim == 2 and not parameter.any():
            nn.init.normal_(parameter)  # a gate that starts at zero: libraries choose differently among equal numbers
    return detector


def assert_same(detector: Detector, exported: OnnxDetector) -> None:
    """Assert equal logits and scores for few frames, and for lengths and batches unlike the traced.

    The standard deviation of two or three similar frames is mostly rounding error, in torch as well.
    With so few frames the tolerance is therefore larger.
    """
    shortest = exported.min_samples
    hop = max(detector.frontend.hop_length, 200)
    onnx_scores = []
    sizes = [(1, shortest), (5, shortest)]
    if exported.max_samples != shortest:
        sizes += [(1 + i % 3, shortest + i * hop + 7 * i) for i in range(1, 12)]
        sizes.append((2, shortest + 40_001))
    generator = torch.Generator().manual_seed(0)
    for batch, samples in sizes:
        waveform = torch.rand(batch, 1, generator=generator) * torch.randn(batch, samples, generator=generator)
        few = samples < shortest + 3 * hop and exported.max_samples != shortest
        expected = assert_near(detector, exported, waveform, onnx_engine.ROUGH_TOLERANCE if few else TOLERANCE)
        scores = detector.backend.scores(exported(waveform))
        torch.testing.assert_close(exported.scores(waveform), scores, rtol=1e-6, atol=1e-7)  # a softmax rounds
        onnx_scores.append(expected[:, -1])
    assert torch.cat(onnx_scores).std() > 1e-4  # scores depend on the waveform


def assert_near(detector: Detector, exported: OnnxDetector, waveform: torch.Tensor, tolerance: float) -> torch.Tensor:
    with torch.inference_mode():
        expected = detector(waveform)
    torch.testing.assert_close(exported(waveform), expected, rtol=tolerance, atol=tolerance)
    return expected


def assert_silence_is_the_same(detector: Detector, exported: OnnxDetector) -> None:
    """The graph of a spectrum keeps the floor of the logarithm."""
    waveform = 0.1 * torch.randn(2, 12_000, generator=torch.Generator().manual_seed(0))
    waveform[1, 3000:9000] = 0
    assert_near(detector, exported, waveform, TOLERANCE)
    assert exported(torch.zeros(1, 12_000)).isfinite().all()


def test_a_frontend_that_reads_only_the_first_samples_is_exported_with_equal_logits(tmp_path, monkeypatch):
    """Also for a waveform that is silent for a while."""
    monkeypatch.setitem(FRONTENDS, "lps", {"num_samples": 4000})
    detector = create("lps", "asp_mlp")
    assert_silence_is_the_same(detector, OnnxDetector(export_onnx(detector, tmp_path / "d.onnx")))


def test_an_stft_whose_window_is_shorter_than_n_fft_is_not_translated_to_onnx():
    stft = translations()[torch.ops.aten.stft.default]
    with pytest.raises(NotImplementedError, match="it must be B×N, win_length equal to n_fft"):
        stft(SimpleNamespace(shape=(2, 800)), 512, 160, 256, None, False)


@pytest.fixture(scope="module")
def detector() -> Detector:
    detector = create("wav2vec2_small", "asp_mlp")
    data = {"corpora": [{"name": "ctrsvdd", "root": "/home"}]}
    detector.provenance = Provenance.read({"recipe": {"name": "mine", "data": data}, "epoch": 1})
    return detector


@pytest.fixture(scope="module")
def file(detector, tmp_path_factory) -> Path:
    detector.train()
    path = export_onnx(detector, tmp_path_factory.mktemp("onnx") / "new" / "folder" / "detector.onnx")
    assert detector.training  # the mode is restored
    detector.eval()
    assert [p.name for p in path.parent.iterdir()] == ["detector.onnx"]
    return path


@pytest.fixture(scope="module")
def exported(file) -> OnnxDetector:
    return OnnxDetector(file)


def test_scores_and_logits_of_an_onnx_file_equal_those_of_torch_for_any_batch_and_length(detector, exported):
    assert_same(detector, exported)


def test_too_few_samples_for_an_onnx_file_are_refused(exported):
    with input_error(f"at least {exported.min_samples} samples, got {exported.min_samples - 1}"):
        exported.scores(torch.zeros(1, exported.min_samples - 1))


def test_an_onnx_file_describes_its_detector_and_the_audio_that_it_takes(detector, exported):
    """The training corpora are named without their folders."""
    assert exported.description["fingerprint"] == detector.fingerprint()
    assert Detector.from_config(exported.config).config == detector.config
    assert exported.provenance.to_dict() == {"recipe": {"name": "mine", "data": {"corpora": [{"name": "ctrsvdd"}]}}}
    few = f"fewer than {detector.min_samples} are repeated from the beginning up to {detector.min_samples}"
    audio = {
        "sample_rate": 16000,
        "resampler": "soxr HQ",
        "input": f"mean of the channels, resampled to 16000 Hz by soxr HQ, in [-1, 1]; all samples; {few}",
        "min_samples": detector.min_samples,
        "max_samples": None,
        "scored_samples": None,
        "padding": "repeat",
    }
    assert exported.description.items() >= audio.items()


def test_an_onnx_graph_has_standard_operators_any_batch_size_and_length_and_the_outputs_scores_and_logits(file):
    model = onnx.load(file)
    onnx.checker.check_model(model, full_check=True)
    assert {n.domain for n in model.graph.node} <= {""}
    assert not model.functions
    sizes = {v.name: [d.dim_param for d in v.type.tensor_type.shape.dim] for v in model.graph.input}
    assert sizes == {"waveform": ["batch", "samples"]}
    assert [v.name for v in model.graph.output] == ["scores", "logits"]
    assert str(Path(nes2net.__file__).parent).encode() not in file.read_bytes()


@pytest.mark.slow
def test_an_onnx_file_whose_back_end_has_a_fixed_length_takes_only_that_number_of_samples(tmp_path):
    sls = create("wav2vec2_small", "sls")
    exported = OnnxDetector(export_onnx(sls, tmp_path / "sls.onnx"))
    assert exported.min_samples == exported.max_samples == sls.min_samples
    for samples in (sls.min_samples - 1, sls.min_samples + 1):
        with input_error(f"only {sls.min_samples} samples, got {samples}"):
            exported(torch.zeros(1, samples))


@pytest.fixture(scope="module")
def lfcc() -> Detector:
    """A detector of a spectrum whose n_fft is not a power of two."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(FRONTENDS, "lfcc", {"n_fft": 500})
        return create("lfcc", "asp_mlp")


@pytest.fixture(scope="module")
def large_file(lfcc, tmp_path_factory) -> Path:
    """Its file, with the weights beside it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(onnx_engine, "MAX_FILE_BYTES", 1000)
        return export_onnx(lfcc, tmp_path_factory.mktemp("large") / "large.onnx")


@pytest.mark.slow
def test_a_large_detector_with_its_weights_beside_the_file_scores_as_torch(lfcc, large_file):
    assert sorted(p.name for p in large_file.parent.iterdir()) == ["large.onnx", "large.onnx.data"]
    assert_same(lfcc, OnnxDetector(large_file))


@pytest.mark.slow
def test_an_onnx_spectrum_whose_n_fft_is_no_power_of_two_gives_the_logits_of_torch_also_in_silence(lfcc, large_file):
    assert_silence_is_the_same(lfcc, OnnxDetector(large_file))


@pytest.mark.slow
def test_the_fingerprint_of_an_onnx_file_changes_with_the_weights_beside_it(large_file, tmp_path):
    copy = shutil.copytree(large_file.parent, tmp_path / "copy") / "large.onnx"
    beside = copy.with_name("large.onnx.data")
    beside.write_bytes(beside.read_bytes()[:-1] + b"\x01")
    assert OnnxDetector(copy).fingerprint() != OnnxDetector(large_file).fingerprint()


def test_predict_with_an_onnx_file_prints_the_row_that_it_prints_with_the_checkpoint(detector, file, workdir, output):
    detector.save("detector.pth")
    soundfile.write("a.wav", 0.4 * voice(3, 3), 16000)
    words = "predict a.wav --json --track --window 0.5 --threshold 0 --model"
    expected, row = (json.loads(output(f"{words} {model}").out) for model in ("detector.pth", file))
    for key in ("score", "scores"):
        np.testing.assert_allclose(row.pop(key), expected.pop(key), atol=TOLERANCE)
    row["lowest"].pop("score")
    expected["lowest"].pop("score")
    assert row == expected


@pytest.mark.parametrize("length", ["8000", "full"])
def test_a_score_file_by_an_onnx_file_has_the_scores_of_the_checkpoint(detector, file, corpus, workdir, output, length):
    detector.save("detector.pth")
    score = f"score asvspoof2021_la {corpus} --samples {length} --workers 0"
    for model, out in (("detector.pth", "torch.txt"), (file, "onnx.txt")):
        output(f"{score} --model {model} --out {out}")
    ids, expected = read_scores("torch.txt")
    onnx_ids, onnx_scores = read_scores("onnx.txt")
    assert ids == onnx_ids
    assert expected.std() > 1e-4
    np.testing.assert_allclose(onnx_scores, expected, atol=TOLERANCE)


def test_a_score_file_of_a_checkpoint_is_not_reused_for_its_onnx_file(detector, file, corpus, workdir, output, refused):
    detector.save("detector.pth")
    score = f"score asvspoof2021_la {corpus} --samples 8000 --workers 0 --out s.txt --model"
    output(f"{score} detector.pth")
    refused(f"{score} {file}", "another run")


def test_a_detector_in_bfloat16_is_not_exported_to_onnx(tmp_path):
    with input_error(r"bfloat16: call detector\.cpu\(\)\.float\(\) first"):
        export_onnx(create("lfcc", "asp_mlp").bfloat16(), tmp_path / "d.onnx")
    assert not list(tmp_path.iterdir())


def test_an_onnx_file_with_other_scores_than_its_detector_does_not_replace_the_old_one(file, tmp_path, monkeypatch):
    def write_file_instead(_detector, _description, path, _num_traced):
        shutil.copy(file, path)

    monkeypatch.setattr(onnx_engine, "_write_float32", write_file_instead)
    (tmp_path / "d.onnx").write_text("old")
    replacement = create("wav2vec2_small", "asp_mlp")
    with torch.no_grad():
        replacement.backend.mlp[-1].bias += 2e-4
    with input_error(r"d\.onnx was not written: .* differ from torch's by 2\.0e-04"):
        export_onnx(replacement, tmp_path / "d.onnx")
    assert [(p.name, p.read_text()) for p in tmp_path.iterdir()] == [("d.onnx", "old")]


def test_records_of_runs_with_an_onnx_file_on_the_cpu_and_on_cuda_differ_only_in_the_device(file):
    exported = OnnxDetector(file)
    on_cpu = score_dependencies(exported, 8000)
    exported.computes_on = device_in_use({"CUDAExecutionProvider": {"device_id": "0"}, "CPUExecutionProvider": {}})
    on_cuda = score_dependencies(exported, 8000)
    assert {name for name in on_cpu if on_cpu[name] != on_cuda[name]} == {"device"}


@pytest.fixture(scope="module")
def int8_file(detector, tmp_path_factory) -> Path:
    path = export(detector, "onnx", tmp_path_factory.mktemp("onnx") / "int8.onnx", quantize="int8")
    assert [p.name for p in path.parent.iterdir()] == ["int8.onnx"]
    return path


def noise(batch: int, samples: int) -> torch.Tensor:
    """White noise B×N of several levels."""
    generator = torch.Generator().manual_seed(0)
    return torch.logspace(-2, 0, batch)[:, None] * torch.randn(batch, samples, generator=generator)


@pytest.mark.slow
def test_logits_of_an_int8_file_differ_by_less_than_0_02_from_those_of_float32(detector, int8_file):
    waveforms = noise(4, 16_000)
    exported = OnnxDetector(int8_file)
    with torch.inference_mode():
        difference = (exported(waveforms) - detector(waveforms)).abs().max().item()
    assert 1e-6 < difference < 0.02


@pytest.mark.slow
def test_int8_scores_of_a_recording_do_not_depend_on_the_others_in_its_batch(int8_file):
    waveforms = noise(4, 16_000)
    exported = OnnxDetector(int8_file)
    alone = torch.cat([exported.scores(waveform) for waveform in waveforms.split(1)])
    assert torch.equal(exported.scores(waveforms), alone)


@pytest.mark.slow
def test_only_an_int8_file_describes_itself_as_quantised(exported, int8_file):
    quantised = OnnxDetector(int8_file)
    assert (quantised.description["quantize"], quantised.precision) == ("int8", "int8")
    assert (exported.description["quantize"], exported.precision) == (None, "float32")


@pytest.mark.slow
def test_an_int8_file_computes_only_the_matrix_products_of_the_transformer_in_int8(int8_file):
    model = onnx.load(int8_file)
    kinds = [node.op_type for node in model.graph.node]
    assert kinds.count("MatMulInteger") == 6 * TRANSFORMER["encoder_layers"]  # four of attention, two of the rest
    assert "ConvInteger" not in kinds


@pytest.mark.slow
def test_int8_weights_have_7_bits(int8_file):
    """Two products with 8 bits of activations fit into 16 bits."""
    graph = onnx.load(int8_file).graph
    weights = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in graph.initializer}
    products = [weights[node.input[1]] for node in graph.node if node.op_type == "MatMulInteger"]
    assert 32 < max(abs(product.astype(int)).max() for product in products) <= 64


@pytest.mark.slow
def test_a_detector_whose_int8_scores_differ_too_much_is_not_written(tmp_path, monkeypatch):
    monkeypatch.setattr(onnx_engine, "INT8_TOLERANCE", 0.0)
    with input_error("this detector needs float32, so remove `quantize`"):
        export(create("wav2vec2_small", "asp_mlp"), "onnx", tmp_path / "d.onnx", quantize="int8")
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_an_int8_file_is_computed_on_the_cpu_only(int8_file):
    with input_error("quantised to int8, which computes on the CPU only: use `device=cpu`"):
        OnnxDetector(int8_file, device="cuda")


@pytest.mark.weekly
@pytest.mark.parametrize("name", sorted(set(registry.backends.names()) - MADE_OF_THE_SAME))
def test_every_backend_is_exported_to_onnx_with_equal_scores(name, tmp_path):
    """Of back-ends that are made of the same parts, one is exported."""
    detector = create(FRONTEND_OF.get(name, "wav2vec2_small"), name)
    assert_same(detector, OnnxDetector(export_onnx(detector, tmp_path / "d.onnx")))


#: Exported with the back-ends, or by the fast tests.
EXPORTED = {"waveform", "wav2vec2_small", "teacher_student", "lps", "lfcc", "last"}
OTHER_FRONTENDS = {SIZES[name].frontend if name in SIZES else name for name in registry.frontends.names()} - EXPORTED


@pytest.mark.weekly
@pytest.mark.parametrize("name", [*sorted(OTHER_FRONTENDS), *sorted({*registry.aggregations.names()} - EXPORTED)])
def test_every_front_end_and_aggregation_is_exported_to_onnx_with_equal_scores(name, tmp_path):
    """Here those that are not exported with the back-ends or by the fast tests."""
    frontend, aggregation = (name, "last") if name in OTHER_FRONTENDS else ("wav2vec2_small", name)
    detector = create(frontend, "asp_mlp", aggregation)
    assert_same(detector, OnnxDetector(export_onnx(detector, tmp_path / "d.onnx")))


def headers() -> Path | None:
    """The folder of ONNX Runtime's C++ API: $ONNXRUNTIME_INCLUDE, or that of Debian's libonnxruntime-dev."""
    folders = (os.environ.get("ONNXRUNTIME_INCLUDE", ""), "/usr/include/onnxruntime")
    return next((Path(name) for name in folders if name and Path(name, "onnxruntime_cxx_api.h").is_file()), None)


@pytest.mark.weekly
@pytest.mark.skipif(shutil.which("g++") is None, reason="no g++ for docs/examples/score.cpp")
@pytest.mark.skipif(headers() is None, reason="no headers of ONNX Runtime: set ONNXRUNTIME_INCLUDE")
def test_the_cpp_program_of_the_manual_scores_as_torch(tmp_path, monkeypatch):
    """One detector has pre-emphasis and a fixed length, the other scores whole utterances."""
    (library,) = Path(onnxruntime.__file__).parent.glob("capi/libonnxruntime.so.*")
    (tmp_path / "libonnxruntime.so.1").symlink_to(library)  # the name by which the program asks for it
    compile_it = ["g++", "-std=c++17", "-Wall", "-Wextra", "-Werror", REPOSITORY / "docs" / "examples" / "score.cpp"]
    libraries = ["-isystem", headers(), tmp_path / "libonnxruntime.so.1", f"-Wl,-rpath,{tmp_path}"]
    subprocess.run([*compile_it, *libraries, "-o", tmp_path / "score"], check=True)
    monkeypatch.setenv("LD_LIBRARY_PATH", str(tmp_path))

    monkeypatch.setitem(FRONTENDS, "wav2vec2", {**TRANSFORMER, "pre_emphasis": 0.97})
    emphasised = create("wav2vec2", "asp_mlp")
    utterance_detector = create("lps", "asp_mlp")
    emphasised.provenance = Provenance.read({"recipe": {"data": {"num_samples": 16_000}}})
    for name, detector in (("emphasised", emphasised), ("whole", utterance_detector)):
        path = export_onnx(detector, tmp_path / f"{name}.onnx")
        for num_samples in (100, 9000, 40_000):
            samples = (0.1 * np.random.default_rng(num_samples).standard_normal(num_samples)).astype(np.float32)
            done = subprocess.run([tmp_path / "score", path], input=samples.tobytes(), capture_output=True, check=True)
            assert float(done.stdout) == pytest.approx(detector.score(samples, 16_000), abs=TOLERANCE)
