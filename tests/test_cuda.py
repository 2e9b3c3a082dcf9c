"""What a GPU does differently: transfers, too little memory, precisions, determinism, resuming.

``pytest tests/test_cuda.py`` checks it on a machine with a GPU. Without one, the tests that mean
something on a CPU run there, and the others skip. What another test asks of the CPU is asked only
of the GPU here; a comment names that test.
"""

import copy
import os
import subprocess
import sys

import pytest
import torch
import torch.nn.functional as F
from _harness import generated_trials  # of scripts/benchmarks
from builders.runs import assert_same_run, stop
from builders.systems import samples_of, systems
from torch.testing import assert_close

from nes2net import Detector, create_frontend
from nes2net.evaluation.judgements import Scores
from nes2net.lib.computing.cuda_graph import Replayed
from nes2net.lib.computing.devices import differentiable
from nes2net.scoring.corpus import ScoringSettings, judge_trials
from nes2net.scoring.kernel import scoring_mode
from nes2net.scoring.score_file import read_scores
from nes2net.training.objective import Objective, StepPart
from nes2net.training.optimisation import create_optimizer
from nes2net.training.recipes.recipe import Recipe
from nes2net.training.recipes.train import TrainConfig
from nes2net.training.run import train
from nes2net.training.seeding import cuda_algorithms

os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # PyTorch reads it at its first product on a GPU

needs_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
#: Without a GPU, one system stands for all of those that skip.
SYSTEMS = [*systems()][: None if torch.cuda.is_available() else 1]
HALVES = [torch.bfloat16, torch.float16][: None if torch.cuda.is_available() else 1]

NUM_SAMPLES = 8000  # 30 frames
#: Of these the CPU computes what a GPU computes of all: each system alone is tested in its own room.
ON_CPU = ["back-end nes2net_x", "front-end wavlm"]
#: Systems that are trained with another loss than cross entropy.
LOSSES = {"back-end mpif_res2net": "angular_softmax"}


def build(name):
    """A system of :func:`systems` with seeded weights."""
    torch.manual_seed(0)
    return Detector.from_config(systems()[name])


def waveforms(count, samples=NUM_SAMPLES):
    return 0.1 * torch.randn(count, samples, generator=torch.Generator().manual_seed(count))


def fitting(detector, count):
    return waveforms(count, samples_of(detector, NUM_SAMPLES))


@pytest.fixture
def recordings(tmp_path):
    return generated_trials(tmp_path, 12)


def read(path):
    return dict(zip(*read_scores(path)))


@pytest.mark.parametrize(
    ("device", "name"), [*(("cpu", n) for n in ON_CPU), *(pytest.param("cuda", n, marks=needs_cuda) for n in SYSTEMS)]
)
def test_logits_and_gradients_in_float32_are_near_those_of_float64_on_the_cpu(name, device):
    exact = build(name).eval()
    detector = copy.deepcopy(exact).to(device)
    exact.double()
    x = fitting(exact, 3)
    with scoring_mode(detector), differentiable(detector.modules()):
        logits = detector(x.to(device))
        logits.square().sum().backward()
    expected = exact(x.double())
    expected.square().sum().backward()
    assert_close(logits.cpu().double(), expected, rtol=1e-3, atol=1e-4)
    pairs = [(a.grad.cpu(), b.grad) for a, b in zip(detector.parameters(), exact.parameters()) if b.grad is not None]
    norm = torch.cat([b.flatten() for _, b in pairs]).norm()
    assert torch.cat([(a - b).flatten() for a, b in pairs]).norm() < 1e-3 * norm


@needs_cuda  # on the CPU: test_every_backend.py
@pytest.mark.parametrize("name", SYSTEMS)
@pytest.mark.parametrize("precision", HALVES)
@pytest.mark.parametrize("how", ["weights", "autocast"])
def test_at_least_20_of_24_scores_of_a_detector_in_half_precision_differ(name, precision, how):
    """All logits are finite."""
    detector = build(name).eval().to("cuda", precision if how == "weights" else torch.float32)
    with torch.inference_mode(), torch.autocast("cuda", precision, enabled=how == "autocast"):
        logits = detector(fitting(detector, 24).cuda())
    assert logits.isfinite().all()
    assert len(set(detector.backend.scores(logits).tolist())) >= 20


@needs_cuda  # on the CPU: test_spectrum.py
@pytest.mark.parametrize("precision", HALVES)
@pytest.mark.parametrize("name", ["lps", "lfcc"])
def test_autocast_does_not_change_spectra(name, precision):
    """Of a sine of full scale, and of near silence."""
    x = torch.cat([torch.sin(0.4 * torch.arange(32000)), torch.full((16000,), 1e-5)])[None].cuda()
    frontend = create_frontend(name)
    with torch.autocast("cuda", precision):
        (hidden_state,) = frontend(x)
    assert torch.equal(hidden_state, frontend(x)[0])


@pytest.mark.parametrize(
    ("device", "dtype", "num_samples"),
    [
        ("cpu", torch.bfloat16, NUM_SAMPLES),
        *(
            pytest.param("cuda", dtype, num_samples, marks=needs_cuda)
            for dtype in (torch.float32, torch.bfloat16, torch.float16)
            for num_samples in (NUM_SAMPLES, None)
        ),
    ],
)  # on the CPU in float32: test_corpus.py
def test_scores_of_a_corpus_in_each_precision_are_near_those_of_float32_on_the_cpu(
    detector, recordings, tmp_path, device, dtype, num_samples
):
    """On the device, workers read the recordings in batches."""
    on_cpu = ScoringSettings(num_samples=num_samples, num_workers=0)
    judge_trials(copy.deepcopy(detector), recordings, tmp_path / "cpu.txt", Scores(), settings=on_cpu)
    on_device = ScoringSettings(num_samples=num_samples, num_workers=2, batch_size=5)
    out = tmp_path / "found.txt"
    result = judge_trials(detector.to(device, dtype), recordings, out, Scores(), settings=on_device)
    assert not result.failures
    expected = read(tmp_path / "cpu.txt")
    scores = read(out)
    assert list(scores) == list(expected)
    assert scores == pytest.approx(expected, abs=1e-4 if dtype == torch.float32 else 0.1)


def rounds_products():
    """Whether the GPU rounds the factors of a float32 product to the ten bits of TF32."""
    x = torch.full((256, 256), 1 + 2.0**-12, device="cuda")
    return not torch.equal(x @ torch.eye(256, device="cuda"), x)


def rounds_convolutions():
    x = torch.full((8, 64, 32, 32), 1 + 2.0**-12, device="cuda")
    return not torch.equal(F.conv2d(x, torch.eye(64, device="cuda")[:, :, None, None]), x)


@needs_cuda
def test_tf32_is_off_only_while_scoring(detector):
    """A process that chose TF32 has it before and afterwards."""
    if torch.cuda.get_device_capability() < (8, 0):
        pytest.skip("this GPU has no TF32")
    detector.cuda()
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("high")
    try:
        assert rounds_products()
        with scoring_mode(detector), scoring_mode(detector):
            assert not rounds_products()
            assert not rounds_convolutions()
            # torch.compile reads the old switch, which raises if it disagrees with the new ones.
            assert not torch.backends.cuda.matmul.allow_tf32
        assert rounds_products()
        assert torch.get_float32_matmul_precision() == "high"
    finally:
        torch.set_float32_matmul_precision(before)


@pytest.mark.parametrize(
    ("device", "precision", "name"),
    [
        *(("cpu", "bf16", name) for name in ON_CPU),
        *(pytest.param("cuda", p, name, marks=needs_cuda) for p in ("fp32", "bf16") for name in SYSTEMS),
    ],
)  # on the CPU in fp32: test_every_backend.py
def test_a_training_step_is_deterministic(name, device, precision):
    """Two runs have bit-identical loss and weights, and every operation has a deterministic algorithm."""
    targets = torch.tensor([0, 1, 1, 0], device=device)
    settings = TrainConfig(loss=LOSSES.get(name, "cross_entropy"))
    states = []
    for _ in range(2):
        detector = build(name).to(device)
        x = fitting(detector, 4).to(device)
        part = StepPart(x, targets, iteration=0)
        objective = Objective(detector, Recipe(train=settings))
        optimizer = create_optimizer(detector.parameters(), settings)
        objective.begin_training(1)
        with cuda_algorithms(deterministic=True):  # operations that have no deterministic algorithm raise
            with torch.autocast(device, torch.bfloat16, enabled=precision == "bf16"):
                numerator = objective(part)
            numerator.backward()
            optimizer.step()
        states.append([numerator.detach(), *detector.state_dict().values()])
    assert all(torch.equal(a, b) for a, b in zip(*states))


@pytest.mark.parametrize(
    ("device", "precision", "checkpointing"),
    [
        ("cpu", "bf16", True),
        *(pytest.param("cuda", p, c, marks=needs_cuda) for p in ("fp32", "bf16", "fp16") for c in (False, True)),
    ],
)  # on the CPU in fp32: test_resume.py
def test_a_stopped_training_resumes_to_the_result_of_an_uninterrupted_one(
    recipe, model_with_dropout, tmp_path, device, precision, checkpointing
):
    """Bit for bit, after SIGTERM in the middle of a step."""
    options = {"epochs": 2, "precision": precision, "activation_checkpointing": checkpointing}

    def run(name):
        return recipe(model=model_with_dropout, train=options, output=str(tmp_path / name), logs=str(tmp_path / name))

    uninterrupted = train(run("whole"), device)
    torn = stop(run("torn"), 1, 1, device)
    assert train(run("torn"), device) == torn
    assert_same_run(torn, uninterrupted)


# What tests/lib/computing/test_cuda_graph.py asks of the CPU is only that nothing is recorded there.
@needs_cuda
@pytest.mark.parametrize("name", ["back-end nes2net_x", "back-end aasist", "front-end wavlm"])
def test_a_cuda_graph_gives_the_scores_of_the_function_that_it_records(name):
    detector = build(name).eval().cuda()
    x = waveforms(4).cuda()
    y = waveforms(5)[1:].cuda()
    with scoring_mode(detector), torch.inference_mode():
        expected = detector.scores(x), detector.scores(y)
        replayed = Replayed(detector.scores, max_shapes=1)
        for _ in range(2):
            outputs = replayed(x), replayed(y)  # both, before either is looked at
            for a, b in zip(outputs, expected):
                assert_close(a, b, rtol=1e-5, atol=1e-6)
        assert len(replayed._recorded) == 1


@needs_cuda
def test_inputs_of_more_shapes_than_max_shapes_are_computed_without_a_cuda_graph():
    detector = build("back-end nes2net_x").eval().cuda()
    fewer = waveforms(3).cuda()
    with scoring_mode(detector), torch.inference_mode():
        replayed = Replayed(detector.scores, max_shapes=1)
        replayed(waveforms(4).cuda())
        assert_close(replayed(fewer), detector.scores(fewer), rtol=1e-5, atol=1e-6)
        assert len(replayed._recorded) == 1


@needs_cuda
def test_a_function_that_waits_for_the_gpu_is_computed_without_a_cuda_graph():
    """A warning says so, and the default stream is the current one again.

    In a process of its own: after a failed recording, PyTorch's allocator believes that one is under way.
    """
    code = (
        "import torch; from nes2net.lib.computing.cuda_graph import Replayed\n"
        "replayed, x = Replayed(lambda x: x * x.sum().item()), torch.ones(2, device='cuda')\n"
        "with torch.inference_mode(): print(replayed(x).tolist(), replayed(2 * x).tolist())\n"
        "assert torch.cuda.current_stream() == torch.cuda.default_stream()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[2.0, 2.0] [8.0, 8.0]"
    assert "computing without CUDA graphs, because none can be recorded (" in done.stderr


@needs_cuda
@pytest.mark.slow
def test_a_compiled_detector_scores_like_an_uncompiled_one_also_after_a_move_to_the_cpu_and_back(
    detector, recordings, tmp_path
):
    """The move drops its CUDA graph, which is recorded again."""
    detector = detector.cuda()
    options = {"num_samples": 16000, "num_workers": 0, "batch_size": 5}
    judge_trials(detector, recordings, tmp_path / "plain.txt", Scores(), settings=ScoringSettings(**options))
    for name in ("compiled.txt", "moved.txt"):
        judge_trials(detector, recordings, tmp_path / name, Scores(), settings=ScoringSettings(compile=True, **options))
        assert read(tmp_path / name) == pytest.approx(read(tmp_path / "plain.txt"), abs=1e-4)
        assert detector._replayed._recorded
        detector.cpu().cuda()
        assert not detector._replayed._recorded
