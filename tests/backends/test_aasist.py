"""AASIST on features and on waveforms equals the published code, also with published weights."""

import hashlib

import numpy as np
import pytest
import torch
from builders import golden
from builders import golden_backends as gb
from builders.pinned import check_pinned

from nes2net.backends.aasist import Aasist, GraphPool
from nes2net.backends.raw_aasist import RawAasist, raw_aasist, raw_aasist_l, sinc_filters
from nes2net.errors import InputError

RAW = {"AASIST": raw_aasist, "AASIST-L": raw_aasist_l}


def published():
    model = Aasist()
    model.load_state_dict(gb.state_dict("aasist_w2v_main"))
    return model


@pytest.mark.parametrize("name", RAW)
def test_state_dict_has_published_names_and_shapes(name):
    assert gb.shapes(RAW[name]()) == gb.manifest(f"clovaai_{name}")


def test_eval_equals_published_code():
    for case, x in gb.cases("aasist_w2v_main"):
        gb.check_eval(published(), case, x, atol=1e-5)


def test_training_equals_published_code():
    for case, x in gb.cases("aasist_w2v_main"):
        gb.check_train(published(), case, x)


def test_raw_aasist_equals_pinned_numbers():
    check_pinned("raw_aasist")


@pytest.mark.parametrize("name", [pytest.param("AASIST", marks=pytest.mark.slow), "AASIST-L"])
def test_published_weights_give_their_outputs(shared, name):
    file = shared / "real" / "aasist" / f"{name}.pth"
    if not file.is_file():
        pytest.skip(f"no published weights at {file}")
    expected = golden.read("aasist_raw_published_weights_outputs")
    waveforms, expected = expected["waveforms"], expected[name]
    assert hashlib.sha256(file.read_bytes()).hexdigest() == expected["weights_sha256"]
    model = RAW[name]().eval()
    model.load_state_dict(torch.load(file, weights_only=True, map_location="cpu"))
    with torch.no_grad():
        hidden = model.embed(waveforms)
        torch.testing.assert_close(hidden, expected["last_hidden"], rtol=0, atol=1e-5)
        torch.testing.assert_close(model.out_layer(hidden), expected["logits"], rtol=0, atol=1e-5)
        logits = model.double()(waveforms[:1].double())
    torch.testing.assert_close(logits, expected["logits_f64"][:1], rtol=0, atol=gb.AGREES_F64)


@pytest.mark.slow
def test_raw_aasist_l_equals_published_code():
    """Its numbers are float32, the gradients too."""
    file = golden.read("aasist_raw_L_random")
    case = file["cases"]["wav_2x64600"]
    waveforms = golden.read("aasist_raw_published_weights_outputs")["waveforms"]
    model = gb.without_dropout(raw_aasist_l()).eval()
    model.load_state_dict(file["state_dict"])
    logits = gb.check_gradients(model, waveforms, case["grad_norms"], rtol=2e-3)
    torch.testing.assert_close(logits, case["output"], rtol=0, atol=1e-5)
    with torch.no_grad():
        torch.testing.assert_close(model.train()(waveforms), case["train_mode_output"], rtol=0, atol=1e-5)
    for key, expected in case["bn_after_train_abs_sums"].items():
        assert model.state_dict()[key].abs().sum().item() == pytest.approx(expected, rel=1e-5), key


def test_dropouts_are_the_published():
    """In attention, in the pool's scores, after each branch and before the last layer."""
    drops = {name: part.p for name, part in published().named_modules() if isinstance(part, torch.nn.Dropout)}
    found = {(name.split("_")[0] if "." in name else name, share) for name, share in drops.items()}
    assert found == {("GAT", 0.2), ("HtrgGAT", 0.2), ("pool", 0.3), ("drop_way", 0.2), ("drop", 0.5)}


def test_discarded_normalisation_moves_its_statistics_but_has_no_part_in_the_output():
    torch.manual_seed(0)
    model = gb.without_dropout(Aasist(feature_dim=16)).train()
    features = torch.randn(2, 12, 16)
    before = model(features)
    discarded = model.encoder[1][0].bn1
    assert discarded.running_mean.abs().sum() > 0
    torch.nn.init.constant_(discarded.weight, 7.0)
    torch.testing.assert_close(model(features), before)


@pytest.mark.parametrize(
    ("nodes", "ratio", "kept"), [(1, 0.5, 1), (2, 0.5, 1), (5, 0.5, 2), (9, 0.5, 4), (9, 0.7, 6), (90, 0.7, 62)]
)
def test_graph_pool_keeps_the_best_nodes_in_descending_order(nodes, ratio, kept):
    pool = GraphPool(ratio, 3).eval()
    torch.nn.init.zeros_(pool.proj.bias)
    torch.nn.init.constant_(pool.proj.weight, 0.01)
    order = torch.randperm(nodes)
    x = order[None, :, None].float().expand(1, nodes, 3)
    best = torch.arange(nodes - 1, nodes - 1 - kept, -1).float()
    expected = best * torch.sigmoid(0.03 * best)
    torch.testing.assert_close(pool(x)[0, :, 0], expected)


def test_filters_are_band_passes_that_tile_the_band():
    """A filter passes most in the middle of its band (mel scale); all together pass everything."""
    filters = sinc_filters(70, 129, 16000)[:, 0].double().numpy()
    edges = 700 * (10 ** (np.linspace(0, 2595 * np.log10(1 + 8000 / 700), 71) / 2595) - 1)
    response = np.abs(np.fft.rfft(filters, 16000))  # one bin a hertz
    wide = np.flatnonzero(np.diff(edges) > 16000 / 129)  # bands that 129 taps can resolve
    middles = ((edges[:-1] + edges[1:]) / 2).round().astype(int)
    assert len(wide) > 10
    assert (response[:, middles[wide]].argmax(axis=0) == wide).all()
    passed = np.abs(np.fft.rfft(filters.sum(axis=0), 16000))[200:7800]
    np.testing.assert_allclose(passed, 1, atol=0.02)


def test_filters_are_not_in_the_state_dict():
    assert not any("filter" in key for key in raw_aasist().state_dict())


@pytest.mark.parametrize("shape", [(2, RawAasist.min_frames - 1), (4000,), (1, 4000, 2)])
def test_waveforms_that_do_not_fit_are_named(shape):
    with pytest.raises(InputError, match="at least 2315 samples, got"):
        raw_aasist_l()(torch.zeros(shape))


def test_shortest_waveform_gives_a_score():
    logits = raw_aasist_l().eval()(torch.randn(2, RawAasist.min_frames))
    assert logits.shape == (2, 2) and logits.isfinite().all()


def test_waveform_as_the_only_channel_of_a_feature_map():
    model = raw_aasist_l().eval()
    waveform = torch.randn(2, 4000)
    with torch.no_grad():
        assert torch.equal(model(waveform), model(waveform.unsqueeze(2)))
