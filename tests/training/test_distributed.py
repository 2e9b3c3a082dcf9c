"""Several processes on one machine's CPU compute what one process computes."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
import yaml
from builders import PATIENCE, input_error
from builders.files import read_json
from builders.runs import folder_of, same, state_of
from builders.scripts import run as run_script
from torch import nn
from torch.testing import assert_close

from nes2net.models.checkpoints.state_dict import load_state_dict
from nes2net.training import distributed
from nes2net.training.distributed import create_accelerator, plan_step, synchronise_batch_norms
from nes2net.training.run import train
from nes2net.training.run_folder import run_folder


@pytest.fixture
def group():
    """A process group with this process only."""
    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    yield
    dist.destroy_process_group()


@pytest.mark.parametrize("kind, shape", [(nn.BatchNorm1d, (5, 6)), (nn.BatchNorm2d, (3, 6, 4, 5))])
def test_synchronised_batch_norm_of_one_process_computes_the_same_as_batch_norm(group, kind, shape):
    """Outputs, gradients and buffers agree in train and eval mode."""
    plain = nn.Sequential(kind(6)).double()
    with torch.no_grad():
        plain[0].weight.uniform_(0.5, 2)
        plain[0].bias.uniform_(-1, 1)
    synced = synchronise_batch_norms(nn.Sequential(kind(6).double()), torch.device("cpu"))
    synced.load_state_dict(plain.state_dict())
    assert type(synced[0]) is not type(plain[0])
    inputs = 3 + 2 * torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    for training in (True, True, False):
        results = []
        for model in (plain, synced):
            x = inputs.clone().requires_grad_()
            y = model.train(training)(x)
            gradients = torch.autograd.grad((y**3).sum(), [x, *model.parameters()])
            results.append([y, *gradients, *model.buffers()])
        assert_close(*results, rtol=1e-10, atol=1e-10)


def test_one_process_forms_no_process_group(monkeypatch):
    monkeypatch.delenv("LOCAL_RANK", raising=False)
    create_accelerator("cpu")
    assert not dist.is_initialized()


def test_a_part_of_a_step_that_one_process_cannot_read_is_omitted_by_all_processes(monkeypatch):
    sums_of_other_rank = [False, False, False, False, 1, *(0.5, 0.0), *(8.0, 0.0), *(2, 0), *(0, 1)]
    monkeypatch.setattr(
        distributed, "sum_over_processes", lambda _, sums: [a + b for a, b in zip(sums, sums_of_other_rank)]
    )
    plan = plan_step(None, [[0.5, 8.0], [0.25, 4.0]], [3, 2], signal=0, save=False)
    assert plan == ([0], [1.0, 16.0], 5, 2, 0, False, 1)


@pytest.mark.parametrize(
    "device, rank, message",
    [
        ("cuda", "2", "process 3 of this machine has no GPU of its own, there are 2"),
        ("cuda:1", "1", "'cuda:1' cannot be the GPU of all processes"),
    ],
)
def test_a_device_that_several_processes_cannot_use_is_refused(monkeypatch, device, rank, message):
    monkeypatch.setenv("LOCAL_RANK", rank)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    with input_error(message):
        create_accelerator(device)


def test_fp16_on_a_cpu_is_refused():
    with input_error("precision=fp16` needs CUDA, not cpu: use bf16 or fp32"):
        create_accelerator("cpu", "fp16")


PROGRAM = Path(__file__).parents[1] / "builders" / "distributed_run.py"


def torchrun(folder, *recipes):
    """Train ``recipes``, each with its trouble, in two processes; returns the report of each process."""
    paths = [folder / f"{number}.yaml#{trouble}" for number, (_, trouble) in enumerate(recipes)]
    for path, (recipe, _) in zip(paths, recipes):
        Path(str(path).partition("#")[0]).write_text(yaml.safe_dump(recipe.to_dict()))
    # --standalone lets torchrun open the port: a port found free here may be taken by then.
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", PROGRAM, folder]
    process = subprocess.Popen([*command, *paths], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    try:
        _, errors = process.communicate(timeout=PATIENCE)  # ends a deadlock, whatever else the machine does
    except subprocess.TimeoutExpired:
        process.terminate()  # it ends its processes, which a kill would leave running
        process.communicate()
        raise
    assert process.returncode == 0, errors[-4000:]
    return [read_json(folder / f"rank{rank}.json") for rank in range(2)]


@pytest.fixture
def pair(recipe, small_model, tmp_path):
    """A function that builds the same recipe for one process and for two, in folders of their own.

    The model has batch normalisations, but no ReLU, whose slope jumps at 0, which batch normalisation may magnify.
    """
    smooth = {**small_model, "backend": {"name": "nes2net_x_selu", "nes_ratio": [4, 4]}}

    def make(name, **changes):
        folders = [{"output": str(tmp_path / folder), "logs": str(tmp_path / folder)} for folder in ("one", "two")]
        return [recipe(comment=name, model=smooth, **folder, **changes) for folder in folders]

    return make


@pytest.mark.slow
def test_two_processes_train_the_same_weights_and_find_the_same_measures_as_one_process(pair, corpus, tmp_path):
    """Up to rounding.

    Batches and parts are of uneven size, and one file cannot be read; one run takes the last batch
    of an epoch, which is smaller. Adam has eps = 1, so that its steps are about the learning rate
    times the gradients. The published 1e-8 divides a gradient by its own size: rounding errors of a
    gradient that is 0 become whole steps.
    """
    bad = shutil.copytree(corpus, tmp_path / "bad")
    (bad / "ASVspoof2019_LA_train" / "flac" / "LA_T_1000002.flac").write_bytes(b"no audio")
    linear = {"adam_eps": 1.0, "lr": 2e-3, "epochs": 2, "batch_size": 11}
    accumulated = {**linear, "accumulate": 2}
    incomplete = {**accumulated, "batch_size": 5, "drop_last": False}
    frozen = {**linear, "freeze_frontend": True}
    five_steps = {**linear, "epochs": 5, "keep": "all"}
    clipped = {**five_steps, "lr": 0.02, "max_grad_norm": 0.1, "accumulate": 2}
    dynamic = {"crop": "dynamic", "chunk_samples": [3000, 5000]}
    pieces = {"crop": "pieces", "min_piece": 2000}
    plain_mean = {"name": "cross_entropy", "normalize": False}
    recipes = {
        "eps 1": pair("linear", train=five_steps),
        "clipped": pair("clipped", train=clipped),
        "pieces": pair("pieces", train={**frozen, "loss": plain_mean}, data=pieces),
        "dynamic": pair("dynamic", train=incomplete, data=dynamic),
        "vectors": pair("vectors", train={**accumulated, "lr": 1e-3, "loss": "prototypes"}),
        "bad file": pair("bad", train={**linear, "epochs": 1, "batch_size": 4}, data={"root": str(bad)}),
    }
    for single, _ in recipes.values():
        train(single, "cpu")
    reports = torchrun(tmp_path, *((two, "") for _, two in recipes.values()))
    assert not any(reports[0]["ended"])
    assert not any(reports[1]["ended"])

    for name, (single, two) in recipes.items():
        states = [state_of(folder_of(recipe)) for recipe in (single, two)]
        detectors = [state["detector"] for state in states]
        difference = largest_difference(*detectors)
        of_statistics = largest_difference(
            *detectors, lambda tensors: {k: v for k, v in tensors.items() if "running" in k}
        )
        # A batch variance of the activations, about 1, sums thousands of float32 in another order.
        assert difference < 1e-6
        assert of_statistics < 1e-5
        for row, row_of_two in zip(*(state["selection"] for state in states), strict=True):
            assert row.keys() == row_of_two.keys()
            for key in row.keys() - {"seconds"}:
                assert row_of_two[key] == pytest.approx(row[key], rel=1e-5), (name, key)
    for single in (recipes["eps 1"][0], recipes["clipped"][0]):
        first = load_state_dict(folder_of(single) / "epoch_1.pth")
        assert largest_difference(first, state_of(folder_of(single))["detector"]) > 1e-3


@pytest.mark.slow
def test_only_the_first_of_two_processes_writes_files(recipe, tmp_path):
    reports = torchrun(tmp_path, (recipe(train={"epochs": 1}), ""))
    written = [[name for name in report["written"] if str(tmp_path) in name] for report in reports]
    assert any("resume.pt" in name for name in written[0])
    assert not written[1]


def error_of_two_processes(recipe, path):
    """What torchrun prints of a training in two processes that fails."""
    path.write_text(yaml.safe_dump(recipe.to_dict()))
    command = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", "-m", "nes2net", "train", path]
    ended = subprocess.run(
        [sys.executable, *command, "--device", "cpu"], capture_output=True, text=True, timeout=PATIENCE
    )
    assert ended.returncode == 1
    return ended.stderr


@pytest.mark.slow
def test_an_error_of_one_process_or_of_all_is_printed_once_and_no_other_process_prints_a_traceback(recipe, tmp_path):
    """The other process loses contact to the one that finds the run folder locked; torchrun's own traceback stays."""
    values = recipe()
    with run_folder(folder_of(values), values, True):
        of_one = error_of_two_processes(values, tmp_path / "locked.yaml")
    of_all = error_of_two_processes(recipe(data={"root": str(tmp_path / "gone")}), tmp_path / "gone.yaml")
    for error, sentence in ((of_one, "another process is training in"), (of_all, "gone not found; give")):
        (line,) = [line for line in error.splitlines() if line.startswith("nes2net: error:")]
        assert sentence in line
        assert error.count("Traceback") == 1


def weights(state_dict):
    """The tensors that the optimiser changes."""
    return {k: v for k, v in state_dict.items() if "running" not in k and "tracked" not in k}


def largest_difference(first, second, choose=weights):
    first = choose(first)
    second = choose(second)
    assert first.keys() == second.keys()
    return max((first[k] - second[k]).abs().max().item() for k in first)


#: Of one process: a signal in a step or in a validation, a full disk, and a file that cannot be read.
TROUBLES = ("step", "validation", "full", "lost")


@pytest.fixture
def values(recipe, model_with_dropout, tmp_path):
    """A function that builds the recipe of a run of three epochs in the folder of a name."""

    def make(name):
        train = {"epochs": 3, "accumulate": 2, "max_grad_norm": 0.1, "schedule": "cosine"}
        folders = {"output": str(tmp_path / name), "logs": str(tmp_path / name)}
        return recipe(model=model_with_dropout, augment={"algo": 4}, train=train, comment=name, **folders)

    return make


@pytest.mark.slow
def test_two_processes_end_together_with_the_reason_if_one_of_them_cannot_go_on(values, tmp_path):
    """Also if only one of them sees the run folder."""
    runs = [*((values(name), name) for name in TROUBLES), (values("step"), "elsewhere")]
    reports = torchrun(tmp_path, *runs)
    ends_of_rank_0, ends_of_rank_1 = (report["ended"] for report in reports)
    lost = ends_of_rank_0.pop(3)
    lost_elsewhere = ends_of_rank_1.pop(3)
    assert lost.startswith("Unfinished: stopped in epoch 2, step 1: its files cannot be used, here or in another")
    assert lost_elsewhere.startswith("Unfinished: stopped in epoch 2, step 1: a.flac is not there any more. Bring")
    assert [end.replace("_elsewhere", "") for end in ends_of_rank_1] == ends_of_rank_0
    stopped = "Unfinished: stopped by SIGTERM; the same command resumes from the last save"
    assert ends_of_rank_0[:2] == [stopped, stopped]
    assert ends_of_rank_0[2].startswith("Unfinished: ")
    assert "resume.pt cannot be written (No space left" in ends_of_rank_0[2]
    assert ends_of_rank_0[3].startswith("InputError: the processes do not see the same corpus, or the same run")


@pytest.mark.slow
def test_two_processes_that_could_not_go_on_resume_to_the_end_of_an_uninterrupted_run(values, tmp_path):
    """Bit for bit."""
    troubled = ((values(name), name) for name in TROUBLES)
    torchrun(tmp_path, (values("whole"), ""), *troubled, *((values(name), "") for name in TROUBLES))
    uninterrupted = state_of(folder_of(values("whole")))
    for name in TROUBLES:
        state = state_of(folder_of(values(name)))
        assert same(state["detector"], uninterrupted["detector"]), name
        losses = [[row["loss"] for row in s["selection"]] for s in (state, uninterrupted)]
        assert losses[0] == losses[1]


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="no g++ for the simulated CUDA device")
def test_two_simulated_gpus_train_the_same_weights_and_find_the_same_development_losses_as_one(
    recipe, small_model, tmp_path
):
    """In float32 and with weights converted to bfloat16, up to rounding."""
    model = {**small_model, "backend": "mean_linear"}
    program = PROGRAM.with_name("two_devices.py")
    launchers = {"one": [], "two": ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]}
    folders = {}
    for name, launcher in launchers.items():
        recipe_files = []
        for precision in ("fp32", "bf16"):
            train_options = {"adam_eps": 1.0, "lr": 2e-3, "batch_size": 8, "accumulate": 2, "precision": precision}
            output = str(tmp_path / name)
            values = recipe(model=model, train=train_options, comment=precision, output=output, logs=output)
            recipe_file = tmp_path / f"{name}_{precision}.yaml"
            recipe_file.write_text(yaml.safe_dump(values.to_dict()))
            recipe_files.append(recipe_file)
            folders[name, precision] = folder_of(values)
        finished = run_script("simulated_cuda", "--run", sys.executable, *launcher, program, *recipe_files)
        assert finished.returncode == 0, finished.stderr[-3000:]
    for precision, tolerance in (("fp32", 1e-6), ("bf16", 1e-4)):
        single = state_of(folders["one", precision])
        double = state_of(folders["two", precision])
        assert largest_difference(single["detector"], double["detector"]) < tolerance
        for single_row, double_row in zip(single["selection"], double["selection"], strict=True):
            expected = pytest.approx(single_row["val_loss_wo_aug"], rel=100 * tolerance)
            assert double_row["val_loss_wo_aug"] == expected
