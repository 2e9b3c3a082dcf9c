"""Several processes on one machine's CPU compute what one process computes."""

import json
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
import yaml
from torch import nn

from nes2net import InputError
from nes2net.checkpoint import load_state_dict
from nes2net.training.distributed import create_accelerator, plan_step, synchronise_batch_norms
from nes2net.training.run import train


@pytest.fixture
def group():
    """A process group of this process alone."""
    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    yield
    dist.destroy_process_group()


@pytest.mark.parametrize("norm, shape", [(nn.BatchNorm1d(6), (5, 6)), (nn.BatchNorm2d(6), (3, 6, 4, 5))])
def test_synced_batch_norm_is_batch_norm(group, norm, shape):
    """Outputs, gradients and buffers, in float64 and float32, in train and in eval mode."""
    with torch.no_grad():
        norm.weight.uniform_(0.5, 2)
        norm.bias.uniform_(-1, 1)
    plain = nn.Sequential(norm).double()
    synced = synchronise_batch_norms(nn.Sequential(type(norm)(6).double()), torch.device("cpu"))
    synced.load_state_dict(plain.state_dict())
    assert type(synced[0]) is not type(plain[0])
    for training in (True, True, False):
        results = []
        for model in (plain, synced):
            x = (
                3 + 2 * torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
            ).requires_grad_()
            y = model.train(training)(x)
            gradients = torch.autograd.grad((y**3).sum(), [x, *model.parameters()])
            results.append([y, *gradients, *model.buffers()])
        torch.testing.assert_close(*results, rtol=1e-10, atol=1e-10)


def test_one_process_is_not_distributed(monkeypatch):
    monkeypatch.delenv("LOCAL_RANK", raising=False)
    accelerator = create_accelerator("cpu")
    assert accelerator.num_processes == 1 and not dist.is_initialized()
    plan = plan_step(accelerator, [0.5, 0.0, 0.25], [3, 0, 2], signal=0, save=True)
    assert plan == ([0, 2], 0.75, 5, 0, True)
    assert plan_step(accelerator, [0.5], [3], signal.SIGINT, save=False) == ([0], 0.5, 3, signal.SIGINT, False)
    assert plan_step(accelerator, [0.0], [0], signal.SIGTERM, save=False) == ([], 0, 0, signal.SIGTERM, False)


@pytest.mark.parametrize(
    "device, precision, message",
    [
        ("cpu", "fp16", "fp16 needs CUDA, not cpu: take bf16 or fp32"),
        ("cpu", "bf61", "one of fp32, bf16, fp16, not 'bf61'; did you mean 'bf16'"),
        ("cuda:99", "fp32", "device 'cuda:99' is not there"),
        ("gpu", "fp32", "unknown device 'gpu'"),
    ],
)
def test_devices_that_are_not_there(device, precision, message):
    with pytest.raises(InputError, match=message):
        create_accelerator(device, precision)


def torchrun(processes, folder, *recipes):
    """Train ``recipes`` in so many processes; what each process wrote."""
    paths = []
    for number, recipe in enumerate(recipes):
        paths.append(folder / f"{number}.yaml")
        paths[-1].write_text(yaml.safe_dump(recipe.to_dict()))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "torch.distributed.run", f"--nproc-per-node={processes}", f"--master-port={port}"]
    done = subprocess.run(
        [*command, str(Path(__file__).with_name("distributed_run.py")), str(folder), *map(str, paths)],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    return done.stdout, [json.loads((folder / f"rank{rank}.json").read_text()) for rank in range(processes)]


def state_of(recipe):
    return torch.load(Path(recipe.output) / recipe.tag / "resume.pt", weights_only=True)


@pytest.mark.slow
def test_two_processes_are_as_one(recipe, corpus, tmp_path):
    """Nes2Net-X with its batch normalisations, batches and parts of uneven size, and a file that cannot be read.

    Adam divides a gradient by its size: it does not tell a gradient from its double, and the rounding errors of a gradient that is 0 (of
    biases before a batch normalisation, which change nothing) become steps of up to the learning rate. With eps = 1 its steps are about
    the learning rate times the gradients, and weights are compared; with the published eps what is measured on the development set is.
    """
    bad = tmp_path / "bad"
    shutil.copytree(corpus, bad)
    (bad / "ASVspoof2019_LA_train" / "flac" / "LA_T_1000002.flac").write_bytes(b"no audio")

    def pair(name, **changes):
        places = [{"output": str(tmp_path / place), "logs": str(tmp_path / place)} for place in ("one", "two")]
        return [recipe(comment=name, **place, **changes) for place in places]

    five_steps = {"epochs": 5, "batch_size": 11, "keep": "all"}
    linear = {"adam_eps": 1.0, "lr": 2e-3}
    recipes = {
        "published eps": pair("adam", train={**five_steps, "lr": 1e-4}),
        "eps 1": pair("linear", train={**five_steps, **linear}),
        "clipped": pair(
            "clipped", train={**five_steps, "adam_eps": 1.0, "lr": 0.02, "max_grad_norm": 0.1, "accumulate": 2}
        ),
        "bad file": pair("bad", train={**linear, "epochs": 1, "batch_size": 4}, data={"root": str(bad)}),
    }
    for one, _ in recipes.values():
        train(one, "cpu")
    printed, written = torchrun(2, tmp_path, *(two for _, two in recipes.values()))
    assert printed.count("epoch 0 - loss") == len(recipes) and ", 2 processes" in printed
    assert printed.count("LA_T_1000002.flac was read by neither") == 1
    assert not [name for name in written[1] if str(tmp_path) in name]  # the second process writes nothing

    for name, (one, two) in recipes.items():
        states = state_of(one), state_of(two)
        difference = largest_difference(*(state["detector"] for state in states))
        print(f"{name}: largest difference of a weight {difference:.1e}")
        assert difference < (1e-6 if "published" not in name else 5 * 2 * 1e-4)
        for row, other in zip(*(state["selection"] for state in states), strict=True):
            assert row.keys() == other.keys()
            for key in row.keys() - {"seconds"}:
                assert other[key] == pytest.approx(row[key], rel=1e-5), (name, key)
    for one in (recipes["eps 1"][0], recipes["clipped"][0]):
        first = load_state_dict(Path(one.output) / one.tag / "epoch_0.pth")
        trained = [k for k in first if "running" not in k]
        assert (
            largest_difference(*({k: state[k] for k in trained} for state in (first, state_of(one)["detector"]))) > 1e-3
        )


def largest_difference(one, two):
    """Of weights and of batch statistics; what else is counted is equal."""
    assert one.keys() == two.keys()
    assert all(torch.equal(one[k], two[k]) for k in one if not one[k].is_floating_point() and "tracked" not in k)
    return max((one[k] - two[k]).abs().max().item() for k in one if one[k].is_floating_point())
