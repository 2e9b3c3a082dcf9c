"""XLS-R 300M at full size, with random weights, on the CPU."""

from types import SimpleNamespace

import pytest
import torch
from builders import genuine_checkpoint

from nes2net import create_frontend
from nes2net.apps.info.identify import identify


@pytest.fixture(scope="module")
def fairseq_file(tmp_path_factory):
    """A file of XLS-R 300M in fairseq's format, a waveform, its hidden state, and the parts only for pre-training."""
    torch.manual_seed(0)
    frontend = create_frontend("xlsr_300m").eval()
    path = tmp_path_factory.mktemp("fairseq") / "xlsr2_300m.pt"
    genuine_checkpoint.write(frontend, path)
    waveform = 0.1 * torch.randn(1, 64600)
    with torch.inference_mode():
        expected = frontend.model(waveform).last_hidden_state
    pretraining = {
        k: v for k, v in frontend.state_dict().items() if k.startswith(("model.quantizer", "model.mask_emb"))
    }
    return SimpleNamespace(path=path, waveform=waveform, hidden_state=expected, pretraining=pretraining)


@pytest.mark.weekly
def test_a_fairseq_file_of_full_size_is_identified_with_its_number_of_parameters_and_pickled_classes(fairseq_file):
    identity = identify(fairseq_file.path)
    assert identity.parameters == 317_390_592
    assert {"omegaconf.dictconfig.DictConfig", "argparse.Namespace"} <= set(identity.records)


@pytest.mark.weekly
def test_a_fairseq_file_of_full_size_gives_the_outputs_of_the_model_that_was_written(fairseq_file):
    """The transformers model with the same weights; quantizer and mask embedding of pre-training are there, too."""
    frontend = create_frontend("xlsr_300m", fairseq_file.path).eval()
    with torch.inference_mode():
        hidden_state = frontend(fairseq_file.waveform)[-1]
    torch.testing.assert_close(hidden_state, fairseq_file.hidden_state, atol=1e-5, rtol=0)
    state_dict = frontend.state_dict()
    assert len(fairseq_file.pretraining) == 4
    assert all(torch.equal(state_dict[k], v) for k, v in fairseq_file.pretraining.items())
