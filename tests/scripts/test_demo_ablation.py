"""`scripts/demo_ablation DEMO losses`: every variant trains, and the table holds what was measured."""

import pytest
import yaml
from builders.scripts import run

from nes2net.evaluation.evaluate import evaluate

PARTS = {"LA": ("asvspoof2021_la", "keys"), "DF": ("asvspoof2021_df", "keys")}
PARTS |= {"in_the_wild": ("in_the_wild", "release_in_the_wild")}


@pytest.mark.weekly
def test_every_loss_and_augmentation_trains(corpus, tmp_path):
    demo = tmp_path / "demo"
    demo.mkdir()
    (demo / "corpus").symlink_to(corpus)
    overrides = ("train.epochs=1", "train.batch_size=6", "data.num_workers=0")
    done = run("demo_ablation", demo, "losses", *overrides, "--seeds", "2")
    assert done.returncode == 0, done.stderr[-3000:]
    first, *others = rows = [line.split("|")[1:-1] for line in done.stdout.splitlines()[2:]]
    assert len(rows) == 12 and first[0].strip() == "weighted cross-entropy, nothing augmented"
    folders = {path.name.partition("_seed2_")[2]: path for path in (demo / "ablation" / "models").iterdir()}
    recipes = {name: yaml.safe_load((path / "recipe.yaml").read_text()) for name, path in folders.items()}
    trained = [values["train"] for values in recipes.values()]
    losses = {"cross_entropy", "am_softmax", "oc_softmax", "p2sgrad", "prototypes", "distillation"}
    assert {named if isinstance(named := of["task"] or of["loss"], str) else named["name"] for of in trained} == losses
    started = recipes["large_margin"]["train"]["init_from"], recipes["distillation"]["train"]["task"]["teacher"]
    assert [text.partition("_seed2_")[2].partition("/")[0] for text in started] == ["am_softmax", "cross_entropy"]

    def mean_of(variant):
        scores = {name: demo / "ablation" / "scores" / f"{variant}.seed2.{name}.txt" for name in PARTS}
        eers = [100 * evaluate(part, scores[name], corpus / keys).eer for name, (part, keys) in PARTS.items()]
        return sum(eers) / 3, [f"{eer:.2f} ({eer:.2f}–{eer:.2f})" for eer in eers]

    base, cells = mean_of("cross_entropy")
    assert [cell.strip() for cell in first[1:4]] == cells and not first[4].strip()
    mine, cells = mean_of("latent")
    assert [cell.strip() for cell in others[-1][1:]] == [*cells, f"{mine - base:+.2f}"]


@pytest.mark.slow
def test_what_is_not_there_is_named(tmp_path):
    assert "has no folder corpus: run scripts/demo.sh --out" in run("demo_ablation", tmp_path).stderr
    (tmp_path / "corpus").mkdir()
    done = run("demo_ablation", tmp_path, "losses", "--only", "latents")
    assert done.returncode == 2 and "losses has no variant latents" in done.stderr
