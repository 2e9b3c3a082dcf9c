"""Names of precisions, and products of float32 that keep the whole mantissa whatever was set before."""

import threading

import pytest
import torch
from builders import PATIENCE, input_error

from nes2net.lib.computing.devices import check_precision, float32_products, float32_settings
from nes2net.lib.errors import InputError


@pytest.fixture
def settings():
    """Restores what a test sets by hand."""
    precision = torch.get_float32_matmul_precision()
    allow_tf32 = torch.backends.cudnn.allow_tf32
    yield
    torch.set_float32_matmul_precision(precision)
    torch.backends.cudnn.allow_tf32 = allow_tf32
    if hasattr(torch.backends, "fp32_precision"):
        torch.backends.mkldnn.matmul.fp32_precision = torch.backends.mkldnn.conv.fp32_precision = "none"


@pytest.mark.parametrize("program_precision", ["medium", "high"])
def test_float32_products_overrides_the_precision_that_the_program_has_set_only_within_its_block(
    settings, program_precision
):
    """The program may have allowed products of bfloat16; its settings return also after an error in the block."""
    x = torch.randn(256, 256, generator=torch.Generator().manual_seed(0))
    exact = x @ x
    torch.set_float32_matmul_precision(program_precision)
    rounded = x @ x
    before = float32_settings()
    with input_error(), float32_products():
        assert torch.equal(x @ x, exact)
        raise InputError("enough")
    assert float32_settings() == before
    assert torch.equal(x @ x, rounded)


def test_float32_products_also_sets_the_old_precision_settings_of_pytorch(settings):
    """torch.compile reads the old settings, kernels the new ones; PyTorch raises if they contradict each other."""
    for other_precision, matmul, allow_tf32 in (
        ("float32", "highest", False),
        ("bfloat16", "highest", False),
        ("tf32", "high", True),
    ):
        with float32_products(other_precision):
            assert torch.get_float32_matmul_precision() == matmul
            assert torch.backends.cudnn.allow_tf32 == allow_tf32
            assert torch.backends.cuda.matmul.allow_tf32 == allow_tf32


def test_the_most_exact_precision_that_any_thread_within_float32_products_asks_for_applies():
    before = float32_settings()
    entered = threading.Event()
    leave = threading.Event()

    def compute() -> None:
        with float32_products("tf32"):
            entered.set()
            leave.wait(PATIENCE)

    with float32_products("float32"):
        thread = threading.Thread(target=compute)
        thread.start()
        assert entered.wait(PATIENCE)
        assert not torch.backends.cudnn.allow_tf32
    # one thread is inside
    assert torch.backends.cudnn.allow_tf32
    leave.set()
    thread.join()
    assert float32_settings() == before


def test_a_precision_that_the_device_lacks_is_refused(monkeypatch):
    """Only what PyTorch says of a GPU is replaced."""
    gpu = torch.device("cuda:0")
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: (7, 5))
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda _: "Tesla T4")
    check_precision("float16", gpu)
    for precision, device, message in (
        ("tf32", torch.device("cpu"), "precision of NVIDIA GPUs, not of cpu: use float32 or bfloat16"),
        ("int8", gpu, "int8` is for the CPU, not for cuda:0: use bfloat16"),
        ("bfloat16", gpu, "Tesla T4 .compute capability 7.5. does not compute .*: use float16"),
    ):
        with input_error(message):
            check_precision(precision, device)
