"""AASIST on features and on waveforms equals the published code, also with published weights."""

import copy

import pytest
import torch
from builders import assert_near, golden
from builders import golden_backends as gb

from nes2net import Detector
from nes2net.models.backends import raw_aasist
from nes2net.models.backends.aasist import Aasist
from nes2net.models.backends.raw_aasist import RawAasist, raw_aasist_l


def test_dropouts_of_aasist_have_the_published_places_and_probabilities():
    model = Aasist()
    drops = {name: module.p for name, module in model.named_modules() if isinstance(module, torch.nn.Dropout)}
    drop_shares = {(name.split("_")[0] if "." in name else name, share) for name, share in drops.items()}
    assert drop_shares == {("GAT", 0.2), ("HtrgGAT", 0.2), ("pool", 0.3), ("drop_way", 0.2), ("drop", 0.5)}


def test_aasist_equals_the_published_code():
    """In logits, gradients and running statistics, in eval and train mode."""
    model = Aasist()
    model.load_state_dict(gb.state_dict("aasist_w2v_main"))
    for case, x in gb.cases("aasist_w2v_main"):
        gb.check_eval(copy.deepcopy(model), case, x, atol=1e-5)
        gb.check_train(copy.deepcopy(model), case, x)


@pytest.mark.parametrize("name", [pytest.param("AASIST", marks=pytest.mark.slow), "AASIST-L"])
def test_published_weights_of_aasist_give_their_published_outputs(shared, name):
    """In the score of a waveform, and in embeddings and logits of a batch."""
    file = shared / "real" / "aasist" / f"{name}.pth"
    if not file.is_file():
        pytest.skip(f"no published weights at {file}")
    expected = golden.read("aasist_raw_published_weights_outputs")
    waveforms = expected["waveforms"]
    expected = expected[name]
    detector = Detector.from_pretrained(file, device="cpu", config=name)
    score = detector.score(waveforms[0], 16000)
    assert score == pytest.approx(expected["logits_single_first"][0, 1].item(), abs=1e-5)
    with torch.no_grad():
        hidden = detector.backend.embed(waveforms)
        assert_near(hidden, expected["last_hidden"], 1e-5)
        assert_near(detector.backend.last_layer(hidden), expected["logits"], 1e-5)
        logits = detector.double()(waveforms[:1].double())
    assert_near(logits, expected["logits_f64"][:1], gb.AGREES_F64)


@pytest.mark.slow
def test_raw_aasist_l_equals_the_published_code():
    """In logits, gradients and running statistics, all in float32."""
    file = golden.read("aasist_raw_L_random")
    case = file["cases"]["wav_2x64600"]
    waveforms = golden.read("aasist_raw_published_weights_outputs")["waveforms"]
    model = gb.without_dropout(raw_aasist_l()).eval()
    model.load_state_dict(file["state_dict"])
    logits = gb.check_gradients(model, waveforms, case["grad_norms"], rel=2e-3)
    assert_near(logits, case["output"], 1e-5)
    with torch.no_grad():
        assert_near(model.train()(waveforms), case["train_mode_output"], 1e-5)
    gb.check_statistics(model, case, rel=1e-5)


def test_feature_maps_of_raw_aasist_in_stretches_of_time_give_the_logits_of_whole_maps(monkeypatch):
    """Without gradients the CPU computes an utterance's maps in stretches; a last one may have a single pooled frame."""
    model = raw_aasist_l().eval()
    monkeypatch.setattr(raw_aasist, "_STRETCH", 30)
    for num_samples in (RawAasist.min_frames, 2600, 2609, 3001):
        waveforms = torch.randn(2, num_samples)
        with torch.no_grad():
            in_stretches = model(waveforms)
        assert_near(in_stretches, model(waveforms).detach(), 1e-5)
