"""The providers that onnxruntime is given, and the device that they mean."""

import pytest
import torch

from nes2net.checkpoints.onnx_file import device_in_use, providers
from nes2net.errors import InputError

CPU, CUDA = "CPUExecutionProvider", "CUDAExecutionProvider"


@pytest.mark.parametrize("device, number", [("auto", 0), ("cuda", 0), ("cuda:3", 3)])
def test_cuda_computes_in_whole_float32_without_a_search_for_each_length(device, number):
    options = {"device_id": number, "use_tf32": 0, "cudnn_conv_algo_search": "HEURISTIC"}
    assert providers(device, [CUDA, CPU]) == [(CUDA, options), CPU]


@pytest.mark.parametrize("device, available", [("auto", [CPU]), ("cpu", [CPU]), ("cpu", [CUDA, CPU])])
def test_the_cpu_is_taken_if_asked_for_or_alone(device, available):
    assert providers(device, available) == [CPU]


@pytest.mark.parametrize("device, available", [("cuda", [CPU]), ("mps", [CUDA, CPU])])
def test_a_device_without_a_provider_is_refused(device, available):
    with pytest.raises(InputError, match=f"this onnxruntime has no {device}"):
        providers(device, available)


def test_the_device_is_that_of_the_providers_in_use():
    assert device_in_use({CUDA: {"device_id": "1", "use_tf32": "0"}, CPU: {}}) == torch.device("cuda", 1)
    assert device_in_use({CPU: {}}) == torch.device("cpu")  # also if CUDA was wanted and could not start
