"""Explanations of a detector that hears a tone, whose place and band are known."""

import matplotlib
import numpy as np
import pytest
import torch
from builders import hears_a_tone, input_error

from nes2net import Detector
from nes2net.apps.explanation.explain import How, explain
from nes2net.apps.explanation.occlusion import occlude
from nes2net.apps.explanation.picture import draw
from nes2net.apps.explanation.relevance import Relevance
from nes2net.apps.explanation.settings import TITLES
from nes2net.apps.explanation.subject import Removable

SHORT = hears_a_tone.recording(0.1, seconds=0.5)


def explained(detector, samples, num_samples="auto", **options):
    return explain(detector, samples, 16000, How(**options), num_samples=num_samples)


def explained_tone(method, **options):
    return explained(hears_a_tone.detector(), hears_a_tone.recording(0.4, seed=99), method=method, **options)


@pytest.fixture(scope="module", params=TITLES)
def method(request):
    return request.param


@pytest.fixture(scope="module")
def explanation(method):
    return explained_tone(method)


def test_the_relevance_of_a_tone_that_a_detector_takes_for_spoof_is_negative(explanation):
    assert explanation.relevance.stretches()[0].relevance < 0
    assert explanation.relevance.strongest_bands()[0].relevance < 0


def test_stretches_omit_bins_below_a_quarter_of_the_largest_relevance():
    values = np.array([4.0, 0.9, -2.0])
    relevance = Relevance(np.arange(4), np.arange(2), values, values[:1], values[None], additive=True)
    assert relevance.stretches() == [(0, 1, 4), (2, 3, -2)]


def test_the_relevance_is_at_the_time_and_in_the_band_of_the_tone(explanation):
    (stretch, *_), (band, *_) = explanation.relevance.stretches(), explanation.relevance.strongest_bands()
    assert stretch[:2] == pytest.approx((0.4, 0.6), abs=0.11)
    assert band[:2] == (3000, 3500)
    bands, bins = np.unravel_index(np.argsort(explanation.relevance.cells, axis=None)[:2], (16, 10))
    assert {*bands} <= {6, 7}
    assert {*bins} <= {4, 5}


def test_the_checks_find_that_relevant_parts_change_the_score_more_than_random_ones(explanation):
    """A check removes the most relevant tenth, and random tenths."""
    assert explanation.checks
    for check in explanation.checks:
        assert check.ratio > 1.5
        assert check.share_smaller >= 0.75


def test_the_checks_compare_with_random_tenths_whose_removal_changes_the_score(explanation):
    for check in explanation.checks:
        assert max(check.random_changes) > 0.01 * check.change


def test_the_relevance_over_time_does_not_depend_on_the_batch_size(explanation, method):
    again = explained_tone(method, batch_size=3)
    np.testing.assert_allclose(again.relevance.over_time, explanation.relevance.over_time, atol=1e-4)


def small_transformer(aggregation="last"):
    torch.manual_seed(0)
    options = {"encoder_layers": 1, "encoder_embed_dim": 32, "encoder_ffn_embed_dim": 32, "encoder_attention_heads": 4}
    frontend = {"name": "wav2vec2_small", **options, "conv_feature_layers": [[16, 16, 8], [16, 4, 4], [16, 4, 4]]}
    config = {"frontend": frontend, "aggregation": aggregation, "backend": "asp_mlp"}
    return Detector.from_config(config).eval()


@pytest.fixture
def transformer():
    return small_transformer()


def test_relevance_by_integrated_gradients_adds_up_over_its_cells_and_to_the_difference_to_the_baseline(transformer):
    """The baseline stands for a recording of which all parts are removed; what is left is told as unexplained."""
    explanation = explained(transformer, SHORT, method="integrated_gradients", steps=16, draws=1)
    relevance = explanation.relevance
    np.testing.assert_allclose(relevance.over_time, relevance.cells.sum(0), rtol=1e-9)
    np.testing.assert_allclose(relevance.over_bands, relevance.cells.sum(1), rtol=1e-9)
    total = relevance.cells.sum()
    assert total == pytest.approx(explanation.difference, rel=0.02, abs=1e-4)
    assert abs(explanation.difference) > 1e-3  # there was something to add up
    assert explanation.unexplained == pytest.approx(explanation.difference - total)


def test_the_explained_part_has_the_given_start_and_duration_and_the_tone_at_its_time_in_the_recording():
    part = explained_tone("occlusion", start=0.3, duration=0.5, draws=1)
    assert (part.start, part.duration) == pytest.approx((0.3, 0.5), abs=0.02)
    assert part.relevance.times[[0, -1]] == pytest.approx([0.3, 0.8], abs=0.02)
    assert part.relevance.stretches()[0][:2] == pytest.approx((0.4, 0.6), abs=0.11)


def test_a_short_recording_that_is_repeated_for_its_score_is_explained_once():
    detector = hears_a_tone.detector()
    samples = hears_a_tone.recording(0.4, seed=99)
    repeated = explained(detector, samples, num_samples=24000, draws=1)
    assert repeated.score == pytest.approx(detector.score(samples, 16000, num_samples=24000), abs=1e-5)
    assert repeated.duration == 1


@pytest.mark.parametrize("shape", [(16, 8), (14, 13)])
def test_small_blocks_of_equal_effect_differ_at_most_twofold_in_relevance_also_at_the_edges(shape):
    """Here each removed cell lowers the score by the same amount, so no small block is skipped."""

    skipped = []

    class Additive:
        progress = skipped.append

        def changes(self, grid, masks, score):
            return masks.sum((1, 2)).astype(float)

    class Grid:
        def __init__(self):
            self.shape, self.times, self.bands = shape, np.arange(shape[1]), np.arange(shape[0])

    cells = occlude(Additive(), Grid(), 0.0).cells
    assert skipped == [0]
    assert cells.min() >= cells.max() / 2


def test_removing_the_cells_of_a_band_removes_the_power_of_that_band_not_of_those_above():
    """A cell is one band during one time bin; here those of all times are removed."""
    waveform = torch.from_numpy(hears_a_tone.recording(0.4))
    removable = Removable(waveform)
    cells = np.zeros((2, 16, 10), bool)
    cells[1, 6] = True  # 3,000 to 3,500 Hz
    complete, without = removable.without(cells)
    torch.testing.assert_close(complete, waveform, rtol=0, atol=1e-6)
    before, after = (np.abs(np.fft.rfft(signal)) ** 2 for signal in (waveform, without))  # of 1 Hz each
    assert after[3000:3500].sum() < 0.05 * before[3000:3500].sum()
    assert after[3600:].sum() == pytest.approx(before[3600:].sum(), rel=0.01)


def test_settings_by_which_a_recording_cannot_be_explained_are_refused_with_a_reason():
    detector = hears_a_tone.detector()
    samples = hears_a_tone.recording()
    for message, options in {
        "there is no `method` 'oclusion'; did you mean 'occlusion'": {"method": "oclusion"},
        "the recording ends at 1.00 s": {"start": 2},
        "too short for two bins": {"duration": 0.1},
        "`num_bands` must be from 2 to 128, not 1": {"num_bands": 1},
        "`draws` must be from 1 to 10000, not 0": {"draws": 0},
        "`steps` must be from 2 to 10000, not 1": {"steps": 1, "method": "integrated_gradients"},
    }.items():
        with input_error(message):
            explained(detector, samples, **options)


def test_at_most_30_s_are_explained_at_once():
    with input_error("longer than 30 s.*`start` and `duration`"):
        explained(hears_a_tone.detector(), np.tile(hears_a_tone.recording(), 31))


def test_recurrent_layers_compute_without_cudnn_only_for_their_gradients(monkeypatch):
    """cuDNN computes gradients in training mode only."""
    forward = torch.nn.LSTM.forward

    def ruled(self, x, state=None):
        if torch.is_grad_enabled() and x.requires_grad and torch.backends.cudnn.enabled:
            raise RuntimeError("cudnn RNN backward can only be called in training mode")
        return forward(self, x, state)

    detector = Detector.from_config({"frontend": "lps", "backend": {"name": "llgf", "hidden_dim": 16}}).eval()
    lstm = next(module for module in detector.modules() if isinstance(module, torch.nn.LSTM))
    lstm.dropout = 0.5  # has no effect in eval mode
    options = {"method": "integrated_gradients", "steps": 2, "draws": 1}
    plain = explained(detector, SHORT, **options)
    monkeypatch.setattr(torch.nn.LSTM, "forward", ruled)
    explanation = explained(detector, SHORT, **options)
    np.testing.assert_array_equal(explanation.relevance.cells, plain.relevance.cells)
    assert not lstm.training
    assert torch.backends.cudnn.enabled


def test_a_detector_in_int8_is_explained_only_by_a_method_without_gradients(transformer):
    samples = hears_a_tone.recording(0.1, seconds=0.3)
    transformer.set_precision("int8")
    with input_error("int8 has no gradients"):
        explained(transformer, samples, method="integrated_gradients")
    assert len(explained(transformer, samples, draws=1).checks) == 2  # occlusion needs scores alone


def test_the_picture_of_a_detector_that_weighs_layers_shows_the_layers(tmp_path):
    detector = small_transformer("weighted_sum")
    explanation = explained(detector, SHORT, method="integrated_gradients", steps=2, draws=1)
    with matplotlib.rc_context({"svg.fonttype": "none"}):
        draw(tmp_path / "a.svg", explanation)
    assert "share of the weighted sum" in (tmp_path / "a.svg").read_text()
