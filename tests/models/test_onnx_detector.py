"""The providers that onnxruntime is given, and the device that they mean."""

import torch
from builders import input_error

from nes2net.models.onnx_detector import device_in_use, providers

CPU = "CPUExecutionProvider"
CUDA = "CUDAExecutionProvider"


def test_onnxruntime_gets_for_a_gpu_the_provider_of_cuda_with_its_options_before_that_of_the_cpu():
    """Only for a GPU that is chosen and there. The number of the GPU, no TF32, and no search for convolution algorithms."""
    for device, number in (("auto", 0), ("cuda", 0), ("cuda:3", 3)):
        options = {"device_id": number, "use_tf32": 0, "cudnn_conv_algo_search": "HEURISTIC"}
        assert providers(device, [CUDA, CPU]) == [(CUDA, options), CPU]
    for device, available in (("auto", [CPU]), ("cpu", [CPU]), ("cpu", [CUDA, CPU])):
        assert providers(device, available) == [CPU]


def test_a_device_that_onnxruntime_lacks_is_refused():
    for device, available in (("cuda", [CPU]), ("mps", [CUDA, CPU])):
        with input_error(f"this onnxruntime has no {device}"):
            providers(device, available)


def test_the_device_of_an_onnx_detector_is_that_of_the_providers_in_use():
    assert device_in_use({CUDA: {"device_id": "1", "use_tf32": "0"}, CPU: {}}) == torch.device("cuda", 1)
    assert device_in_use({CPU: {}}) == torch.device("cpu")  # also if CUDA was wanted and could not start
