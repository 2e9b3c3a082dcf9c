"""Attacks and gradient checks against the numbers of the specification (``golden/attacks`` of the folder of real files)."""

import json
import re
from functools import cache
from hashlib import sha256
from itertools import cycle

import numpy as np
import pytest
import soundfile
import torch
from builders import SHARED, assert_near, shared_path
from torch.nn.functional import conv1d

from nes2net import Detector, robustness
from nes2net.models.attacks.batch import AttackedBatch
from nes2net.models.attacks.check import probe_gradient
from nes2net.models.attacks.queries import Spsa, estimate_gradient
from nes2net.models.attacks.universal import AddedWaveform, Malafide, filtered

FILE = SHARED / "golden/attacks/tiny.json"
RUN = re.compile(r"(\w+)/(fgsm|pgd|pgd_l2|mi_fgsm)/(snr30|linf 0.002)/(.*?)(/16 bit)?")
BUDGETS = {"snr30": "30", "linf 0.002": "0.002fs"}
#: Names of the runs of the attacks here; without the folder one, whose test skips.
RUNS = (
    [name for name in json.loads(FILE.read_text()) if RUN.fullmatch(name)] if FILE.exists() else ["one/fgsm/snr30/ce"]
)


@cache
def numbers():
    text = shared_path("golden/attacks/tiny.json").read_text()
    return json.loads(text)


@cache
def arrays():
    path = shared_path("golden/attacks/tiny.npz")
    tensors = {}
    with np.load(path) as file:
        for name in file:
            tensors[name] = torch.from_numpy(file[name])
    return tensors


def weight(name):
    return arrays()[f"weight/{name}"]


def linear(x):
    return x @ weight("linear_w").T + weight("linear_b")


def conv(x):
    hidden = conv1d(x[:, None], weight("conv_w"), weight("conv_b"), stride=4)
    energy = hidden.tanh().square().mean(2)
    return energy @ weight("out_w").T + weight("out_b")


def one(x):
    return conv(x).diff(dim=1)


DETECTORS = {"linear": linear, "conv": conv, "one": one}


def attacked_by(logits_of, attack, **settings):
    """The last iterate for the golden waveforms, from the clean ones unless ``settings`` say otherwise."""
    settings = {"start": 0, "keep": "last", "bits": None, **settings}
    waveforms = arrays()["waveforms"]
    return robustness.attack_logits(logits_of, waveforms, arrays()["is_spoof"], attack, **settings)


def tensor(values):
    return torch.tensor(values, dtype=torch.float64)


@pytest.mark.parametrize("name", RUNS)
def test_attacks_equal_the_golden_runs_and_stay_within_their_budgets(name):
    detector, attack, budget, words, bits = RUN.fullmatch(name).groups()
    logits_of = DETECTORS[detector]
    settings = {"objective": words.rpartition("/")[2]}
    random_start = re.search("start ([UG])", words)
    if random_start:
        settings["start"] = arrays()[f"start_{random_start[1]}"]
    if bits:
        settings["bits"] = 16
    attacked = attacked_by(logits_of, f"{attack}:{BUDGETS[budget]}", **settings)
    expected = numbers()[name]
    assert_near(attacked, arrays()[f"attacked/{name}"], 1e-9)
    assert_near(logits_of(attacked), tensor(expected["logits"]), 1e-9)
    delta = attacked - arrays()["waveforms"]
    size = delta.abs().amax(1)
    assert_near(size, tensor(expected["linf"]), 1e-9)
    epsilon = tensor(numbers()["budget/eps_snr30"])
    if budget != "snr30":
        epsilon = torch.full_like(epsilon, 0.002)
    if attack == "pgd_l2":
        size = delta.square().mean(1).sqrt()
    limit = epsilon * (1 + 1e-12)
    assert (size <= limit).all()
    assert attacked.abs().max() <= 1


@pytest.mark.parametrize("detector", DETECTORS)
def test_the_detectors_compute_the_golden_logits(detector):
    logits = DETECTORS[detector](arrays()["waveforms"])
    assert_near(logits, tensor(numbers()[f"{detector}/clean"]["logits"]), 1e-9)


def test_a_single_logit_is_the_margin_of_two():
    by_score = attacked_by(one, "fgsm:30")
    by_margin = attacked_by(conv, "fgsm:30", objective="margin")
    assert torch.equal(by_score, by_margin)


def test_the_gradient_of_a_random_detector_is_the_mean_of_its_draws():
    starts = cycle((0, 100, 37, 64))

    def crop(x):
        start = next(starts)
        end = start + 300
        return conv(x[:, start:end])

    attacked = attacked_by(crop, "pgd:30", steps=5, draws=4)
    name = "conv/eot_pgd/snr30/5 steps/alpha eps:4/crops 300 at 0,100,37,64/score"
    assert_near(attacked, arrays()[f"attacked/{name}"], 1e-9)


def golden_batch(rows=slice(None)):
    return AttackedBatch(conv, arrays()["waveforms"][rows], arrays()["is_spoof"][rows], "score")


class SpsaOfGoldenDirections(Spsa):
    """Probes are not limited to full scale, as in the golden run."""

    def ascent(self, batch, waveforms):
        return estimate_gradient(batch.mean_values, waveforms, self.probes(batch))

    def probes(self, batch):
        return [self.epsilon(batch) * direction for direction in arrays()["directions_S"]]


def test_a_step_of_spsa_equals_the_golden_one():
    batch = golden_batch()
    spsa = SpsaOfGoldenDirections("30", steps=1)
    attacked = next(spsa.iterates(batch))
    name = "conv/spsa/snr30/1 step/alpha eps:4/8 directions/score"
    assert_near(attacked, arrays()[f"attacked/{name}"], 1e-9)
    assert_near(conv(attacked), tensor(numbers()[name]["logits"]), 1e-9)
    estimate = spsa.ascent(batch, batch.clean)
    cosines = torch.cosine_similarity(estimate, batch.gradient(batch.clean))
    assert_near(cosines, tensor(numbers()["conv/spsa/cosine to the gradient"]), 1e-9)


def test_a_universal_waveform_equals_the_golden_one():
    fakes = golden_batch(arrays()["is_spoof"])
    attack = AddedWaveform("0.002fs", steps=10, step=0.25)
    delta = attack.fit([fakes])
    name = "conv/universal/linf 0.002/10 steps/alpha eps:4/score"
    assert_near(delta[0], arrays()["attacked/conv/universal"], 1e-9)
    attacked = attack.apply(golden_batch(), delta)
    assert_near(conv(attacked), tensor(numbers()[name]["logits"]), 1e-9)


@pytest.mark.parametrize("weight_decay", (0, 0.0001))
def test_a_filter_of_malafide_equals_the_golden_one(monkeypatch, weight_decay):
    expected = numbers()[f"conv/malafide/9 taps/Adam 0.01/20 steps/weight decay {weight_decay}"]
    monkeypatch.setattr(Malafide, "weight_decay", weight_decay)
    monkeypatch.setattr(Malafide, "last_rate", 1.0)
    monkeypatch.setattr(Malafide, "start", lambda *_: tensor(expected["start"]))
    fakes = golden_batch(arrays()["is_spoof"])
    attack = Malafide("9", steps=20, step=0.01)
    taps = attack.fit([fakes])
    assert_near(taps, tensor(expected["filter"]), 1e-9)
    unscaled = filtered(fakes.clean, taps)
    peaks = unscaled.abs().amax(1)
    assert_near(conv(unscaled), tensor(expected["logits"]), 1e-9)
    assert_near(peaks, tensor(expected["peak"]), 1e-9)
    scaled = unscaled / torch.stack([torch.ones_like(peaks[0]), peaks[1]])[:, None]
    assert_near(attack.apply(fakes, taps), scaled, 1e-9)


@pytest.mark.parametrize("snr", (80, 50, 30))
@pytest.mark.parametrize("detector", DETECTORS)
def test_probes_of_gradients_equal_the_golden_ones(detector, snr):
    golden = numbers()[f"{detector}/gradient check"]
    batch = AttackedBatch(DETECTORS[detector], arrays()["waveforms"], arrays()["is_spoof"], "margin")
    gradient = batch.gradient(batch.clean)
    zeros = gradient == 0
    assert_near(gradient.norm(dim=1), tensor(golden["norm"]), 1e-9)
    assert_near(zeros.double().mean(1), tensor(golden["zero_share"]), 1e-9)
    probe = probe_gradient(batch, gradient, arrays()["directions_S"], snr)
    expected = golden[f"{snr} dB"]
    realised = tensor(expected["sign_step_gain"]) / tensor(expected["sign_step_predicted"])
    assert_near(probe.agreement.double(), tensor(expected["sign_agreement"]), 1e-9)
    assert_near(probe.ratios.quantile(0.5, 1), tensor(expected["ratio_median"]), 1e-9)
    assert_near(probe.realised, realised, 1e-9)


def aasist_recordings():
    golden = json.loads(shared_path("golden/attacks/aasist.json").read_text())
    recordings = []
    for described in golden["recordings"]:
        path = shared_path("real/audio", described["file"])
        begin, end = described["samples"]
        samples, _ = soundfile.read(path, dtype="int16", start=begin, stop=end)
        digest = sha256(samples.tobytes())
        assert digest.hexdigest() == described["sha256_int16"]
        recordings.append(samples / 32768)
    return golden, torch.from_numpy(np.stack(recordings))


@pytest.mark.slow  # 18 gradients of AASIST in float64
def test_attacks_on_aasist_with_published_weights_equal_the_golden_runs():
    golden, x = aasist_recordings()
    path = shared_path("real/aasist/AASIST.pth")
    detector = Detector.from_pretrained(path, device="cpu", config="AASIST", dtype="float64")
    detector.requires_grad_(False)
    results = golden["results"]
    clean = results.pop("clean")
    assert_near(detector(x), tensor(clean["logits"]), 1e-6)
    rng = np.random.default_rng(7)
    uniform = torch.from_numpy(rng.uniform(-1, 1, x.shape))
    for name, expected in results.items():
        attack, *words, objective = name.split("/")
        settings = {"start": 0, "keep": "last", "bits": None, "draws": 1, "objective": objective, "side": "both"}
        tolerance = 1e-6
        if attack != "fgsm":
            tolerance = 1e-3
            settings["steps"] = int(words[1][0])
        if "start U" in words:
            settings["start"] = uniform
        attacked = robustness.attack(detector, x, golden["is_spoof"], f"{attack}:40", **settings)
        assert_near(detector(attacked), tensor(expected["logits"]), tolerance)
        raised = attacked > x
        differences = raised.sum(1) - torch.tensor(expected["up"])
        assert differences.abs().max() <= 20
