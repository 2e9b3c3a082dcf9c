"""Devices: what they cannot compute in is refused."""

import pytest
import torch

from nes2net import InputError
from nes2net.machine.devices import check_bfloat16


def test_bfloat16_is_not_emulated(monkeypatch):
    """PyTorch computes in it on older GPUs too, in float32 behind the scenes."""
    check_bfloat16(torch.device("cpu"))
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda _: "Tesla T4")
    for capability in ((8, 0), (9, 0)):
        monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _, found=capability: found)
        check_bfloat16(torch.device("cuda", 0))
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: (7, 5))
    with pytest.raises(
        InputError, match=r"Tesla T4 has compute capability 7\.5, but bfloat16 \(bf16\) needs 8\.0: take float16"
    ):
        check_bfloat16(torch.device("cuda", 0))
