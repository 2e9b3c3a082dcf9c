"""`nes2net info`: every name is described, with the figures of its paper."""

import pytest
import torch
from torch import nn

from nes2net import Detector, InputError
from nes2net.cli.main import main
from nes2net.inspect import info


@pytest.mark.parametrize("name", info.names())
def test_every_name_is_described(name, capsys):
    assert main(["info", name]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["part", "name", "parameters", "multiply-adds", "/", "s"]
    assert all(part.parameters >= 0 and part.multiply_adds >= 0 for part in info.describe(name))


def test_the_papers_cost_and_size():
    """0.167 GFLOP on 200 frames, 512,039 parameters; XLS-R 149 GFLOP on 64,600 samples (2504.05657)."""
    (backend,) = info.describe("nes2net_x")
    assert backend.parameters == 512_039
    assert "0.167 GFLOP on 200 frames" in backend.notes[0]
    frontend, aggregation, _ = info.describe("wav2vec2_Nes2Net_X")
    assert 2 * frontend.multiply_adds * 64600 / 16000 == pytest.approx(149e9, rel=0.01)
    assert (aggregation.parameters, aggregation.multiply_adds) == (0, 0)


def test_multiply_adds_of_known_layers():
    convolution = nn.Conv1d(4, 6, 3)
    assert info.count_flops(convolution, torch.zeros(2, 4, 10)) == 2 * 2 * 6 * 8 * 4 * 3


def test_a_checkpoint_is_described(small_model, tmp_path, capsys):
    Detector.from_config(small_model).save(tmp_path / "detector.pth")
    assert main(["info", str(tmp_path / "detector.pth")]) == 0
    out = capsys.readouterr().out
    assert "wav2vec2" in out and "nes2net_x" in out and "total" in out


def test_unknown_names(capsys):
    with pytest.raises(InputError, match="did you mean 'nes2net_x'"):
        info.describe("nes2netx")
    assert main(["info"]) == 0
    assert "wav2vec2_Nes2Net_X" in capsys.readouterr().out.split()


def test_a_published_min_tdcf_is_shown(capsys):
    assert main(["info", "mpif_res2net"]) == 0
    assert "EER 3.29 %, min t-DCF 0.2557 [arXiv 2306.15389]" in capsys.readouterr().out
    assert main(["reproduce"]) == 0
    assert "3.29 %, min t-DCF 0.2557 [arXiv 2306.15389]" in capsys.readouterr().out
