"""Properties of attacks on small detectors."""

import resource
from pathlib import Path

import numpy as np
import pytest
import torch
from builders import input_error, small_parts
from builders.strangers import install, installed_in

from nes2net import Detector, robustness
from nes2net.apps.export.onnx import export_onnx
from nes2net.data.augment.conditions import create_condition
from nes2net.models.attacks.batch import AttackedBatch
from nes2net.models.onnx_detector import OnnxDetector

ASCENTS = ("fgsm", "pgd", "pgd_l2", "mi_fgsm")
QUERIES = ("spsa", "square")
ATTACKS = (*ASCENTS, *QUERIES, "noise")
RNG = np.random.default_rng(0)
#: 6×400 samples; row 1 reaches full scale, and row 2 is silent.
WAVEFORMS = torch.from_numpy(RNG.normal(0, 0.1, (6, 400)))
WAVEFORMS[1] *= 8
WAVEFORMS[1].clamp_(-1, 32767 / 32768)
WAVEFORMS[2] = 0
IS_SPOOF = torch.tensor([True, False, True, False, True, False])
WEIGHT = torch.from_numpy(RNG.normal(0, 1, (400, 2)))
#: Recordings with room for any perturbation.
SOFT = [0, 3, 4, 5]


def smooth(x):
    return torch.tanh(x @ WEIGHT.to(x.dtype))


def hilly(x):
    return torch.sin(300 * smooth(x))


def attacked_by(attack, logits_of=smooth, rows=slice(None), waveforms=WAVEFORMS, **settings):
    x = waveforms[rows]
    return robustness.attack_logits(logits_of, x, IS_SPOOF[rows], attack, **settings)


def values(logits_of, x):
    """What an attack raises."""
    signs = 2 * IS_SPOOF - 1
    return logits_of(x)[:, 1] * signs


def ratios_in_db(clean, attacked):
    noise = attacked - clean
    powers = clean.square().sum(1) / noise.square().sum(1)
    return 10 * powers.log10()


@pytest.mark.parametrize("dtype", (torch.float64, torch.float32))
@pytest.mark.parametrize("budget", ("40", "30", "0.001fs"))
@pytest.mark.parametrize("attack", ATTACKS)
def test_samples_of_16_bits_stay_within_budget_and_range(attack, budget, dtype):
    waveforms = WAVEFORMS.to(dtype)
    attacked = attacked_by(f"{attack}:{budget}", waveforms=waveforms, keep="last", steps=5)
    assert attacked.dtype == dtype
    samples = attacked.double() * 32768
    assert torch.equal(samples, samples.round())
    assert samples.min() >= -32768
    assert samples.max() <= 32767
    scaled = waveforms.double() * 32768
    clean = scaled.round() / 32768
    delta = attacked.double() - clean
    epsilon = torch.full((6,), 0.001).double()
    if budget != "0.001fs":
        attenuation = 10 ** (-float(budget) / 20)
        epsilon = clean.square().mean(1).sqrt() * attenuation
        assert not delta[2].any()  # silence has no ratio
    size = delta.abs().amax(1)
    assert size[SOFT].min() > 0
    if attack == "pgd_l2":
        size = delta.square().mean(1).sqrt()
    limit = epsilon * (1 + 1e-12)
    assert (size <= limit).all()


def test_fgsm_reaches_its_ratio_away_from_full_scale():
    attacked = attacked_by("fgsm:30", bits=None)
    ratios = ratios_in_db(WAVEFORMS, attacked)
    distances = ratios[SOFT] - 30
    assert distances.abs().max() < 0.05


@pytest.mark.parametrize("attack", ATTACKS)
def test_order_and_size_of_the_batch_change_nothing(attack):
    attack = f"{attack}:30"
    attacked = attacked_by(attack, steps=5)
    for rows in ([4, 2, 0, 5, 1, 3], [3, 0], [3]):
        reordered = attacked_by(attack, rows=rows, steps=5)
        difference = reordered - attacked[rows]
        assert difference.abs().max() <= 1e-9


@pytest.mark.parametrize("attack", ("pgd", "pgd_l2", *QUERIES, "noise"))
def test_the_seed_decides_the_random_numbers(attack):
    attack = f"{attack}:30"
    settings = {"steps": 1, "keep": "last"}
    first = attacked_by(attack, seed=1, **settings)
    again = attacked_by(attack, seed=1, **settings)
    second = attacked_by(attack, seed=2, **settings)
    assert torch.equal(first, again)
    assert not torch.equal(first, second)


def test_one_full_step_of_pgd_from_the_clean_recording_is_fgsm():
    pgd = attacked_by("pgd:40", steps=1, step=1.0, start=0)
    fgsm = attacked_by("fgsm:40")
    assert torch.equal(pgd, fgsm)


@pytest.mark.parametrize("attack", ASCENTS)
def test_the_best_iterate_is_never_worse_than_the_clean_recording_fewer_steps_or_restarts(attack):
    def reached(**settings):
        attacked = attacked_by(f"{attack}:30", hilly, step=0.5, **settings)
        return values(hilly, attacked)

    scaled = WAVEFORMS * 32768
    clean = scaled.round() / 32768
    three_steps = reached(steps=3)
    six_steps = reached(steps=6)
    three_restarts = reached(steps=3, restarts=3)
    assert (three_steps >= values(hilly, clean)).all()
    assert (six_steps >= three_steps).all()
    assert (three_restarts >= three_steps).all()


def test_samples_beyond_full_scale_stay_where_nothing_is_gained():
    loud = WAVEFORMS.clone()
    loud[0, :2] = torch.tensor([1.25, -1.25])
    blind = WEIGHT.clone()
    blind[:2] = 0
    attacked = attacked_by("fgsm:20", lambda x: x @ blind, waveforms=loud)
    assert torch.equal(attacked[0, :2], loud[0, :2])
    attacked = attacked_by("noise:0", waveforms=loud)
    assert attacked[0, 0] <= 1.25
    assert attacked[0, 1] >= -1.25


REFUSED_ATTACKS = {
    "pdg:40": "unknown attack 'pdg'; did you mean 'pgd'",
    "pgd": "budget ''.*pgd:40.*pgd:0.001fs",
    "pgd:loud": "budget 'loud'",
    "pgd:0.00001fs": "attack 'pgd:0.00001fs' is below one step of 16 bits: use at least 0.0000305fs",
    "universal:40": "budget '40': write an amplitude, such as universal:0.002fs",
    "malafide:512": "budget '512': write an odd number of taps, such as malafide:513",
}


@pytest.mark.parametrize("attack", REFUSED_ATTACKS)
def test_attacks_that_cannot_be_are_refused(attack):
    with input_error(REFUSED_ATTACKS[attack]):
        attacked_by(attack)


def test_settings_that_do_not_fit_are_refused():
    with input_error("objective must be one of score, margin, ce, not 'loss'"):
        attacked_by("pgd:40", objective="loss")
    with input_error("keep must be one of best, last, not 'first'"):
        attacked_by("pgd:40", keep="first")
    with input_error("steps must be a whole number from 1"):
        attacked_by("pgd:40", steps=0)
    with input_error("step must be a number from 0 to 1"):
        attacked_by("pgd:40", step=-0.5)


def test_a_random_detector_is_noticed_and_its_gradients_are_averaged(capsys):
    with_gradient = []

    def noisy(x):
        with_gradient.append(x.requires_grad)
        noise = torch.randn(x.shape, dtype=x.dtype)
        return smooth(x + 0.01 * noise)

    attacked_by("fgsm:30", noisy)
    assert sum(with_gradient) == 8
    printed = capsys.readouterr()
    assert "note: two scores of one recording differ, so gradients are the mean of 8" in printed.err
    assert verdict_on(noisy) == "random"


def verdict_on(logits_of):
    check = robustness.check_gradient(logits_of, WAVEFORMS, IS_SPOOF)
    return check.verdict


class Scaled(torch.autograd.Function):
    """Passes numbers, and multiplies the gradient by a factor."""

    @staticmethod
    def forward(ctx, x, factor):
        ctx.factor = factor
        return x.clone()

    @staticmethod
    def backward(ctx, gradient):
        return gradient * ctx.factor, None


def test_a_smooth_detector_has_a_usable_gradient():
    assert verdict_on(smooth) == "usable"


def test_log_odds_have_a_usable_gradient_where_the_probability_is_1_in_float32():
    def saturated(x):
        logits = x.float() @ WEIGHT.float()
        return logits + torch.tensor([-40.0, 40.0])

    assert verdict_on(saturated) == "usable"


def test_a_detector_with_narrow_hills_is_curved():
    assert verdict_on(lambda x: torch.sin(1000 * smooth(x))) == "curved"


def test_the_gradient_of_a_detector_that_rounds_its_input_is_masked():
    def rounding(x):
        samples = 128 * x
        return smooth(samples.round() / 128)

    assert verdict_on(rounding) == "masked"


def test_a_gradient_that_points_the_wrong_way_is_masked():
    assert verdict_on(lambda x: smooth(Scaled.apply(x, -1))) == "masked"


def test_a_missing_or_infinite_gradient_is_broken_and_no_attack_follows_it():
    def detached(x):
        return smooth(x.detach())

    assert verdict_on(detached) == "broken"
    assert verdict_on(lambda x: smooth(Scaled.apply(x, torch.inf))) == "broken"
    with input_error("the gradient of this detector is missing.* or not finite"):
        attacked_by("pgd:40", detached)


def test_changes_that_float32_hides_are_probed_by_larger_steps():
    def far_from_zero(x):
        logits = 0.1 * (x @ WEIGHT.to(x.dtype))
        return logits + torch.tensor([0.0, 10.0])

    waveforms = WAVEFORMS[3:]
    labels = IS_SPOOF[3:]
    single = robustness.check_gradient(far_from_zero, waveforms.float(), labels)
    double = robustness.check_gradient(far_from_zero, waveforms, labels)
    assert single.verdict == "usable"
    assert single.fine_snr == 60
    assert double.fine_snr == 80


LABELS = torch.tensor([True, False, True, False])
RECORDINGS = torch.from_numpy(RNG.normal(0, 0.1, (4, 4000)).astype(np.float32))


@pytest.fixture(scope="module")
def detector():
    return Detector.from_config({"frontend": "lfcc", "backend": "mean_linear"})


def state_of(detector):
    modes = [module.training for module in detector.modules()]
    trained = [weight.requires_grad for weight in detector.parameters()]
    return modes, trained


def test_a_detector_is_attacked_in_eval_mode_and_comes_back_as_it_was(detector):
    detector.train()
    detector.frontend.requires_grad_(False)
    before = state_of(detector)
    with robustness.attackable(detector) as logits_of:
        modes, trained = state_of(detector)
        assert not any(modes)
        assert not any(trained)
        assert logits_of(RECORDINGS).shape == (4, 2)
    assert state_of(detector) == before
    detector.eval()


@pytest.mark.parametrize("side", ("spoof", "bonafide", "both"))
def test_only_the_side_that_is_attacked_changes_and_moves_its_score(detector, side):
    with torch.inference_mode():  # the caller may be scoring
        attacked = robustness.attack(detector, RECORDINGS.numpy(), LABELS.tolist(), "fgsm:30", side=side)
        moved = detector.scores(attacked) - detector.scores(RECORDINGS)
    for row, is_spoof in enumerate(LABELS.tolist()):
        if side == "both" or (side == "spoof") == is_spoof:
            assert (moved[row] > 0) == is_spoof
        else:
            assert torch.equal(attacked[row], RECORDINGS[row])


def test_an_unknown_side_is_refused(detector):
    with input_error("`side` must be spoof, bonafide or both, not 'all'"):
        robustness.attack(detector, RECORDINGS, LABELS, "fgsm:30", side="all")


def test_the_gradients_of_the_copies_of_a_short_recording_add_up(detector):
    repeated = RECORDINGS.repeat(1, 3)[:, :10_000]
    with robustness.attackable(detector, 10_000) as logits_of:
        assert torch.equal(logits_of(RECORDINGS), detector(repeated))
        batch = AttackedBatch(logits_of, RECORDINGS, LABELS, "score")
        copies = AttackedBatch(detector, repeated, LABELS, "score")
        gradient = batch.gradient(batch.clean)
        first, second, third = copies.gradient(copies.clean).split(4000, 1)
    expected = first + second
    expected[:, :2000] += third
    torch.testing.assert_close(gradient, expected, rtol=1e-3, atol=1e-6)


def test_the_ratio_holds_over_the_samples_of_a_short_recording(detector):
    attacked = robustness.attack(detector, RECORDINGS, LABELS, "fgsm:30", num_samples=10_000, bits=None)
    ratios = ratios_in_db(RECORDINGS, attacked)
    distances = ratios[LABELS] - 30
    assert distances.abs().max() < 0.05


def test_a_long_recording_is_attacked_where_it_is_heard(detector):
    attacked = robustness.attack(detector, RECORDINGS, LABELS, "fgsm:30", num_samples=3000)
    changed = attacked != RECORDINGS
    assert changed[0, :3000].any()
    assert not changed[:, 3000:].any()


def test_pre_emphasis_is_inside_the_gradient(monkeypatch, detector):
    monkeypatch.setattr(type(detector), "pre_emphasis", 0.97)
    emphasised = RECORDINGS.clone()
    emphasised[:, 1:] -= 0.97 * RECORDINGS[:, :-1]
    with robustness.attackable(detector) as logits_of:
        logits = logits_of(RECORDINGS)
    torch.testing.assert_close(logits, detector(emphasised))


@pytest.mark.parametrize("rule", ("difference", "probability"))
def test_a_difference_or_probability_is_attacked_by_its_log_odds(monkeypatch, detector, rule):
    by_margin = robustness.attack(detector, RECORDINGS, LABELS, "fgsm:30", objective="margin")
    monkeypatch.setattr(detector.backend, "score_rule", rule)
    by_score = robustness.attack(detector, RECORDINGS, LABELS, "fgsm:30")
    assert torch.equal(by_score, by_margin)


def check_without_gradients(detector):
    with input_error("the gradient of this detector is missing.*attack by spsa or square, or attack another detector"):
        robustness.attack(detector, RECORDINGS, LABELS, "pgd:40")
    scaled = RECORDINGS * 32768
    clean = scaled.round() / 32768
    for query in QUERIES:
        attacked = robustness.attack(detector, clean, LABELS, f"{query}:10", steps=10)
        gain = detector.scores(attacked) - detector.scores(clean)
        assert gain[LABELS].min() > -0.000001
        assert gain.max() > 0.0001


@pytest.mark.slow  # quantises
def test_a_quantised_detector_is_attacked_by_queries():
    frontend = {"name": "wav2vec2", **small_parts.FRONTENDS["wav2vec2"]}
    quantised = Detector.from_config({"frontend": frontend, "backend": "mean_linear"})
    quantised.set_precision("int8")
    check_without_gradients(quantised)


@pytest.mark.slow  # exports
def test_a_detector_in_an_onnx_file_is_attacked_by_queries(tmp_path, detector):
    pytest.importorskip("onnxruntime")
    path = tmp_path / "detector.onnx"
    export_onnx(detector, path)
    check_without_gradients(OnnxDetector(path))


def resident_bytes():
    pages = Path("/proc/self/statm").read_text().split()[1]
    return int(pages) * resource.getpagesize()


@pytest.mark.slow  # attacks of 4 s
def test_memory_does_not_grow_over_attacks(detector):
    recordings = torch.from_numpy(RNG.normal(0, 0.1, (4, 64_600)).astype(np.float32))
    conditions = (None, create_condition("telephone"), create_condition("alaw"))
    sizes = []
    for _ in range(3):
        for attack in ("fgsm:40", "pgd:40", "pgd_l2:40", "mi_fgsm:40"):
            for condition in conditions:
                robustness.attack(detector, recordings, LABELS, attack, through=condition)
        sizes.append(resident_bytes())
    assert max(sizes[1:]) < sizes[0] + 4_000_000  # two recordings in float64, of 24 more attacks, are 25 MB


LOUDER = """
from nes2net.models.attacks.attack import Attack


class Louder(Attack):
    def iterates(self, batch):
        yield batch.limited(self.epsilon(batch))
"""


def test_packages_add_attacks_by_an_entry_point(tmp_path):
    points = {"louder": "louder:Louder", "number": "math:pi"}
    install(tmp_path, "my-attacks 0.1", {"attacks": points}, {"louder": LOUDER})
    with installed_in(tmp_path):
        attacked = attacked_by("louder:40", keep="last", bits=None)
        with input_error("attack 'number' .*my-attacks 0.1.* expected a part of the class nes2net.models.attacks"):
            attacked_by("number:40")
    ratios = ratios_in_db(WAVEFORMS, attacked)
    assert ratios[SOFT].numpy() == pytest.approx(40)
