"""Training on mixed spectrograms: losses of mixed labels, streams, and the MPIF recipe."""

import math
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import yaml
from builders.recipes import short_run
from builders.runs import same, weights_of

from nes2net import Detector, InputError, create_backend
from nes2net.augment.specmix import Specmix
from nes2net.backends.heads import AngularHead
from nes2net.evaluation.evaluate import evaluate
from nes2net.losses import AngularSoftmax, WeightedCrossEntropy
from nes2net.losses.by_name import with_head
from nes2net.recipes.reading import load_recipe
from nes2net.recipes.train import TrainConfig
from nes2net.training.objective import Objective, Part
from nes2net.training.optimisation import create_optimizer, learning_rate
from nes2net.training.run import train

REPOSITORY = Path(__file__).parents[2]
RECIPE = REPOSITORY / "configs" / "asvspoof2019_mpif_res2net.yaml"
SMALL = {
    "frontend": {"name": "lps", "n_fft": 256, "hop_length": 256, "num_bins": 32, "normalize": True},
    "aggregation": "last",
    "backend": {"name": "mpif_res2net", "planes": [4, 8], "blocks": [2, 2], "strides": [1, 2], "num_frames": 24},
}
SPECMIX = {"frequency_bands": 3, "time_bands": 0, "gamma": 0.3, "probability": 0.5, "mix_labels": True}


@pytest.fixture
def recipe(corpus, tmp_path):
    train = {"loss": "angular_softmax"}
    values = {"name": "mpif", "model": SMALL, "augment": {"specmix": dict(SPECMIX)}, "train": train}
    return lambda **changes: short_run(corpus, tmp_path, values, changes)


# The losses


def test_cross_entropy_of_mixed_labels():
    """Σ_i Σ_c w_c q_ic ℓ_ic / Σ_i Σ_c w_c q_ic, written out; hard labels: the published loss."""
    logits = torch.randn(5, 2, generator=torch.Generator().manual_seed(0))
    criterion = WeightedCrossEntropy((0.1, 0.9))
    bonafide_share = [0.0, 0.25, 0.5, 1.0, 0.9]
    above = below = 0.0
    for (a, b), q in zip(logits.tolist(), bonafide_share):
        log_sum = math.log(math.exp(a) + math.exp(b))
        above += 0.1 * (1 - q) * (log_sum - a) + 0.9 * q * (log_sum - b)
        below += 0.1 * (1 - q) + 0.9 * q
    mixed = torch.tensor([[1 - q, q] for q in bonafide_share])
    assert criterion(logits, mixed).item() == pytest.approx(above / below, rel=1e-5)
    hard = torch.tensor([0, 1, 1, 0, 1])
    one_hot = torch.nn.functional.one_hot(hard, 2).float()
    torch.testing.assert_close(criterion(logits, one_hot), criterion(logits, hard))


def psi(theta, margin):
    """(−1)^k cos(mθ) − 2k on the k-th piece of [0, π], as in the SphereFace paper."""
    k = min(int(margin * theta / math.pi), margin - 1)
    return (-1) ** k * math.cos(margin * theta) - 2 * k


@pytest.mark.parametrize("margin", [1, 2, 3, 4])
@pytest.mark.parametrize("step, annealed", [(0, 1500.0), (100, 1500 / 11), (10**6, 5.0), (None, 5.0)])
def test_angular_softmax_is_the_papers(margin, step, annealed):
    generator = torch.Generator().manual_seed(1)
    head = AngularHead(6, 2)
    embeddings = torch.randn(7, 6, generator=generator, dtype=torch.float64)
    shares = torch.tensor([0, 0, 1, 1, 0.3, 0.5, 0.9])  # of bona fide
    criterion = AngularSoftmax(head, (0.2, 0.8), margin=margin)
    above = below = 0.0
    for x, q in zip(embeddings, shares.tolist()):
        norm = x.norm().item()
        cosines = [torch.cosine_similarity(x, w.double(), dim=0).item() for w in head.weight.detach()]
        for c, weight in ((0, 0.2 * (1 - q)), (1, 0.8 * q)):
            theta = math.acos(cosines[c])
            target = norm * (annealed * cosines[c] + psi(theta, margin)) / (1 + annealed)
            other = norm * cosines[1 - c]
            above += weight * (math.log(math.exp(target) + math.exp(other)) - target)
            below += weight
    loss = criterion(embeddings, torch.stack([1 - shares, shares], 1), step)
    assert loss.item() == pytest.approx(above / below, rel=1e-4)


def test_without_margin_it_is_the_cross_entropy_of_the_heads_logits():
    """m = 1 leaves cos θ; a constant that the head subtracts cancels in the softmax."""
    head = AngularHead(6, 2)
    embeddings, targets = torch.randn(9, 6), torch.arange(9) % 2
    angular = AngularSoftmax(head, (0.3, 0.7), margin=1)(embeddings, targets, 0)
    torch.testing.assert_close(angular, WeightedCrossEntropy((0.3, 0.7))(head(embeddings), targets))


# Specmix in training


def training_loss(objective, waveforms, targets, epoch, step, part=0):
    iteration = (epoch - 1) * 3 + step  # of three steps an epoch
    mixed, _ = objective.mixed(Part(waveforms, targets, iteration=iteration), targets, epoch, step, part)
    return (objective(*mixed).squeeze(0) / objective.criterion.weight_of(mixed.targets)).item()


@pytest.mark.parametrize(
    "kind, loss", [("specmix", "angular_softmax"), ("latent", "cross_entropy"), ("latent", "oc_softmax")]
)
def test_each_part_of_a_step_has_a_stream_of_its_own(recipe, kind, loss):
    """Each (seed, epoch, step, part) has one; the loss is that of mixed or perturbed inputs."""
    model = with_head({**SMALL, "backend": {"name": "asp_mlp", "hidden_dim": 8}}, loss) if kind == "latent" else SMALL
    torch.manual_seed(0)
    detector = Detector.from_config(model).eval()  # the same batch statistics whatever is mixed
    waveforms, targets = torch.randn(8, 8000), torch.arange(8) % 2

    def objective(seed=3, **settings):
        settings = {**(SPECMIX if kind == "specmix" else {}), **settings} if settings else None
        values = recipe(seed=seed, augment={"specmix": None, kind: settings}, train={"loss": loss})
        return Objective(detector, values).eval()

    always, plain = objective(probability=1.0), objective()
    places = [(epoch, step, part) for epoch in (1, 2) for step in range(3) for part in range(2)]
    losses = {place: training_loss(always, waveforms, targets, *place) for place in places}
    unmixed = training_loss(plain, waveforms, targets, 1, 2)
    assert len({unmixed, *losses.values()}) == 13
    torch.manual_seed(99)  # no global state counts
    assert training_loss(always, waveforms, targets, 1, 2) == losses[1, 2, 0]
    assert training_loss(objective(7, probability=1.0), waveforms, targets, 1, 2) != losses[1, 2, 0]
    assert training_loss(objective(probability=0.0), waveforms, targets, 1, 2) == pytest.approx(unmixed)
    if kind == "latent":  # of spoofed embeddings alone
        ones = torch.ones(8).long()
        alone = [training_loss(of, waveforms, ones, 1, 2) for of in (always, plain)]
        assert alone[0] == pytest.approx(alone[1])
    untouched = [of.validated(Part(waveforms, targets))[:2] for of in (always, plain)]
    assert same(*map(list, untouched))  # of the development set
    torch.testing.assert_close(untouched[0][1], detector.scores(waveforms))


def test_features_that_reach_the_back_end_are_mixed_ones(recipe):
    seen = []
    detector = Detector.from_config({**SMALL, "backend": {**SMALL["backend"], "head": "linear"}})
    detector.backend.register_forward_pre_hook(lambda _, arguments: seen.append(arguments[0].detach()))
    objective = Objective(detector, recipe(train={"loss": "cross_entropy"}))
    waveforms, targets = torch.randn(8, 8000), torch.arange(8) % 2
    training_loss(objective, waveforms, targets, 1, 0)
    objective.validated(Part(waveforms, targets))
    mixed, plain = seen
    changed = (mixed != plain).flatten(1).any(1)
    assert 0 < changed.sum() < 8  # some samples, not all
    assert (mixed != plain).any(1).sum(1).max() <= 3 * int(0.3 * 32)  # bins touched: whole bands of frequency
    for i in range(8):
        bins = (mixed[i] != plain[i]).any(0)
        assert (mixed[i] != plain[i])[:, bins].float().mean() > 0.99 or not bins.any()


def test_training_mixes(recipe):
    values = {"train": {"epochs": 1}}
    mixed, plain = (
        train(recipe(augment={"specmix": mix}, comment=str(bool(mix)), **values)) for mix in (SPECMIX, None)
    )
    assert not same(weights_of(mixed), weights_of(plain))


def test_learning_rates_are_the_groups_schedule():
    """64^−0.5 · min(s^−0.5, s · 1000^−1.5), s from 1; the recipe has rounded its lr."""
    exact = TrainConfig(lr=64**-0.5 * 1000**-0.5, schedule="inverse_sqrt", warmup_steps=1000)
    train_config = load_recipe(RECIPE).train
    optimizer = create_optimizer([torch.nn.Parameter(torch.zeros(1))], train_config)
    for config, precision in ((train_config, 1e-4), (exact, 1e-12)):
        rate = learning_rate(config, steps_per_epoch=100)
        for s in (1, 2, 999, 1000, 1001, 20000):
            assert rate(s - 1) == pytest.approx(64**-0.5 * min(s**-0.5, s * 1000**-1.5), rel=precision)
    group = optimizer.param_groups[0]
    assert (group["betas"], group["eps"], group["amsgrad"], group["weight_decay"]) == ((0.9, 0.98), 1e-9, True, 1e-4)


def test_the_recipes_specmix_is_random_specmix():
    recipe = load_recipe(RECIPE)
    assert recipe.augment.specmix == vars(Specmix(time_bands=0, probability=0.5))


def test_every_value_of_the_recipe_names_its_source():
    lines = RECIPE.read_text().splitlines()
    values = [line for line in lines if not line.startswith("#") and not line.rstrip().endswith(":")]
    unexplained = [line for line in values if "#" not in line and "name:" not in line]
    assert not unexplained


def test_the_recipe_states_the_back_ends_defaults():
    """So ``create_backend("mpif_res2net")`` is the recipe's network."""
    options = {k: v for k, v in load_recipe(RECIPE).model["backend"].items() if k != "name"}
    torch.manual_seed(0)
    stated = create_backend("mpif_res2net", **options).state_dict()
    torch.manual_seed(0)
    assert same(stated, create_backend("mpif_res2net").state_dict())


CE = {"train": {"loss": "cross_entropy"}}


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"augment": {"specmix": {"gama": 0.1}}}, "no setting 'gama'; did you mean 'gamma'"),
        ({"augment": {"specmix": {"probability": 2}}}, "probability is a number from 0 to 1"),
        ({**CE, "model": {"frontend": "waveform", "backend": "raw_aasist"}}, "Specmix mixes bands of a spectrogram"),
        (
            {**CE, "model": {"frontend": "wav2vec2_small", "backend": "nes2net_x"}},
            "'nes2net_x' after 'wav2vec2.*take the front-end lps or lfcc",
        ),
    ],
)
def test_wrong_recipes_leave_nothing_behind(recipe, changes, message, tmp_path):
    with pytest.raises(InputError, match=message):
        train(recipe(**changes))
    assert not (tmp_path / "models").exists()


def test_the_score_is_the_difference_of_the_cosine_logits():
    detector, waveform = Detector.from_config(SMALL).eval(), torch.randn(1, 8000)
    with torch.inference_mode():
        embedding = detector.backend.embed(detector.frontend(waveform)[0])
        cosines = torch.cosine_similarity(embedding, detector.backend.state_dict()["head.weight"], dim=1)
        expected = embedding.norm() * (cosines[1] - cosines[0])
    assert detector.score(waveform[0].numpy(), 16000) == pytest.approx(expected.item(), rel=1e-4, abs=1e-6)


@pytest.mark.slow
def test_the_ablation_of_the_demonstration(corpus, tmp_path):
    """Three variants are trained, averaged, scored and evaluated; a second call repeats nothing."""
    demo = tmp_path / "demo"
    demo.mkdir()
    (demo / "corpus").symlink_to(corpus)
    overrides = ["train.epochs=1", "train.batch_size=6", "data.num_workers=0", "model.backend.planes=[4,4,4]"]

    def ablation():
        script = REPOSITORY / "scripts" / "demo_ablation"
        command = [sys.executable, script, demo, *overrides, "--seeds", "1", "2"]
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr[-3000:]
        return done

    first = ablation()
    lines = first.stdout.splitlines()
    assert lines[0].startswith("| EER in %, mean (lowest–highest) of seeds 1, 2 |") and len(lines) == 5
    for variant, row in zip(("full", "no_specmix", "no_fusion"), lines[2:]):
        cells = row.split("|")[2:-1]
        for part, cell in zip(("asvspoof2021_la", "asvspoof2021_df", "in_the_wild"), cells):
            name = {"asvspoof2021_la": "LA", "asvspoof2021_df": "DF"}.get(part, part)
            keys = demo / "corpus" / ("release_in_the_wild" if part == "in_the_wild" else "keys")
            eers = [
                100 * evaluate(part, demo / "ablation" / "scores" / f"{variant}.seed{seed}.{name}.txt", keys).eer
                for seed in (1, 2)
            ]
            assert cell.strip() == f"{sum(eers) / 2:.2f} ({min(eers):.2f}–{max(eers):.2f})"
    written = {}
    for variant in ("full", "no_specmix", "no_fusion"):
        (folder,) = (demo / "ablation" / "models").glob(f"*_seed2_{variant}")
        written[variant] = yaml.safe_load((folder / "recipe.yaml").read_text())
    assert [r["augment"]["specmix"] is None for r in written.values()] == [False, True, False]
    assert [r["model"]["backend"]["fusion"] for r in written.values()] == [True, True, False]

    before = {p: p.stat().st_mtime_ns for p in (demo / "ablation").rglob("*") if p.is_file() and p.suffix != ".md"}
    assert ablation().stdout == first.stdout
    assert before == {p: p.stat().st_mtime_ns for p in before}
