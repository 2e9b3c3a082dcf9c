"""XLS-R 300M at full size, with random weights, on the CPU."""

import pytest
import torch
from builders import genuine_checkpoint

from nes2net import create_frontend
from nes2net.apps.info.identify import identify


@pytest.mark.weekly
def test_a_pretraining_file_of_full_size_is_read_back(tmp_path):
    """XLS-R 300M in fairseq's format gives the outputs of the transformers model that was written."""
    torch.manual_seed(0)
    frontend = create_frontend("xlsr_300m").eval()
    genuine_checkpoint.write(frontend, tmp_path / "xlsr2_300m.pt")
    waveform = 0.1 * torch.randn(1, 64600)
    with torch.inference_mode():
        expected = frontend.model(waveform).last_hidden_state
    pretraining = {
        k: v for k, v in frontend.state_dict().items() if k.startswith(("model.quantizer", "model.mask_emb"))
    }
    del frontend

    identity = identify(tmp_path / "xlsr2_300m.pt")
    assert identity.parameters == 317_390_592
    assert not identity.misfit
    assert {"omegaconf.dictconfig.DictConfig", "argparse.Namespace"} <= set(identity.records)
    read = create_frontend("xlsr_300m", tmp_path / "xlsr2_300m.pt").eval()
    with torch.inference_mode():
        hidden_state = read(waveform)[-1]
    assert hidden_state.shape == (1, 201, 1024)
    torch.testing.assert_close(hidden_state, expected, atol=1e-5, rtol=0)
    assert len(pretraining) == 4
    assert all(torch.equal(read.state_dict()[k], v) for k, v in pretraining.items())
