"""The model card of a run, read back as the Hugging Face hub reads it."""

import pytest
from builders.recipes import SPECTRAL_RUN, short_run
from builders.runs import history_of
from huggingface_hub import ModelCard

from nes2net import Detector
from nes2net.apps.export.formats import export
from nes2net.cli.main import main
from nes2net.models.card import CardFile, model_card
from nes2net.models.provenance import Provenance
from nes2net.training.run import train


def evaluate(folder, corpus, tmp_path, checkpoint):
    """Score the training part, and evaluate it with ``--card``; returns the words of the evaluation."""
    scores = tmp_path / f"{checkpoint}.txt"
    title = f"asvspoof2019_la {corpus}"
    assert main(f"score {title} --split train --model {folder / checkpoint} --device cpu --out {scores}".split()) == 0
    evaluation = f"evaluate asvspoof2019_la {scores} --keys {corpus} --phase train --resamples 40 --card {folder}"
    assert main(evaluation.split()) == 0
    return evaluation


@pytest.fixture(scope="module")
def finished(corpus, tmp_path_factory):
    """The card of a run, and the row of its best epoch."""
    folder = train(short_run(corpus, tmp_path_factory.mktemp("finished"), SPECTRAL_RUN, {}))
    return ModelCard.load(folder / "README.md"), min(history_of(folder), key=lambda row: row["val_loss_wo_aug"])


def test_the_metadata_of_the_card_of_a_run_have_the_eer_of_the_best_epoch(finished):
    card, best = finished
    eer, _ = card.data.eval_results
    assert eer.metric_value == pytest.approx(100 * best["val_eer_wo_aug"], abs=1e-5)


def test_the_text_of_the_card_of_a_run_has_the_eer_of_the_best_epoch_with_its_interval_and_threshold(finished):
    card, best = finished
    low = 100 * best["val_eer_wo_aug_low"]
    high = 100 * best["val_eer_wo_aug_high"]
    assert f"{100 * best['val_eer_wo_aug']:#.4g} ({low:#.3g} to {high:#.3g})" in card.text
    assert f"**Threshold**: {best['eer_threshold']:.6g}" in card.text


def test_the_card_of_a_run_does_not_name_the_users_folders(finished_run, corpus):
    text = (finished_run / "README.md").read_text()
    assert str(finished_run.parent) not in text
    assert str(corpus) not in text


def test_the_card_of_a_run_states_the_terms_of_its_training_data(finished_run):
    text = (finished_run / "README.md").read_text()
    terms = "- trials in the layout of ASVspoof 2019 LA: not known here. ASVspoof 2019 LA itself is under ODC-By 1.0"
    assert terms in text


def test_the_card_of_a_run_has_a_row_of_cells_for_each_set_of_its_trials(finished_run):
    _, table = (finished_run / "README.md").read_text().split("| used for |")
    _, _, train, dev = table.partition("\n\n")[0].splitlines()
    assert [train.count(" | "), dev.count(" | ")] == [6, 6]
    assert train.startswith("| train | trials in the layout of ASVspoof 2019 LA train | 6 + 6 | 3 | 1 | – |")


def test_the_card_of_a_run_says_that_the_licence_of_its_weights_is_not_stated(finished_run):
    text = (finished_run / "README.md").read_text()
    assert "licence of these weights is not stated" in text


def test_an_evaluation_that_is_repeated_adds_its_results_to_the_model_card_once(finished_run, corpus, tmp_path):
    described = CardFile.read(finished_run).checkpoint
    for _ in range(2):
        evaluate(finished_run, corpus, tmp_path, described)
    figures = ModelCard.load(finished_run / "README.md").data.eval_results
    assert [figure.dataset_split for figure in figures] == ["dev", "dev", "train"]


def test_the_eer_under_an_attack_is_no_plain_figure_of_the_card(finished_run, corpus, tmp_path):
    checkpoint = finished_run / CardFile.read(finished_run).checkpoint
    flags = f"--model {checkpoint} --out {tmp_path} --samples 8000 --device cpu --workers 0 --resamples 20"
    assert main(f"robustness asvspoof2019_la {corpus} --split dev {flags} --attack fgsm:40".split()) == 0
    for name in ("clean", "attack_fgsm_40"):
        evaluation = f"evaluate asvspoof2019_la {tmp_path}/scores/{name}.txt --keys {corpus} --phase dev --resamples 40"
        assert main([*evaluation.split(), "--card", str(finished_run)]) == 0
    clean, attacked = CardFile.read(finished_run).figures
    assert (clean.condition, clean.attack) == ("", "")
    assert (attacked.condition, attacked.attack) == ("attack_fgsm:40", "spoof side, steps: 1")
    assert attacked.metadata()["dataset"]["type"] == "other"
    assert attacked.metadata()["dataset"]["name"].endswith("ASVspoof 2019 LA under attack_fgsm:40")
    text = (finished_run / "README.md").read_text()
    section = text.partition("### What this detector does not withstand")[2]
    words = f"fgsm:40 (spoof side, steps: 1): EER % {attacked.text}, 6 bona fide and 6 spoofed trials"
    assert words in section


def test_the_card_of_a_run_warns_of_few_trials_of_development_and_of_an_evaluation(finished_run, corpus, tmp_path):
    evaluate(finished_run, corpus, tmp_path, "epoch_1.pth")
    text = ModelCard.load(finished_run / "README.md").text
    for split in ("dev", "train"):
        assert f"trials in the layout of ASVspoof 2019 LA, {split}: there are only 6 bona fide trials" in text


def test_an_evaluation_keeps_the_users_text_and_licence_in_the_card(finished_run, corpus, tmp_path):
    readme = finished_run / "README.md"
    readme.write_text(readme.read_text().replace("license: other", "license: mit") + "Our own *words*.\n")
    evaluate(finished_run, corpus, tmp_path, "epoch_1.pth")
    card = ModelCard.load(readme)
    assert card.data.license == "mit"
    assert card.text.endswith("Our own *words*.\n")


def test_results_of_another_checkpoint_are_refused_before_the_model_card_changes(
    finished_run, recipe, corpus, tmp_path, capsys
):
    """Here a checkpoint of the same name has changed since it was scored."""
    evaluation = evaluate(finished_run, corpus, tmp_path, "epoch_1.pth")
    before = (finished_run / "card.json").read_text()
    other_run = train(recipe(train={"epochs": 1}, seed=2))
    (finished_run / "epoch_1.pth").write_bytes((other_run / "epoch_1.pth").read_bytes())
    assert main(evaluation.split()) == 2
    assert "has no such checkpoint: name its folder with --card" in capsys.readouterr().err
    assert (finished_run / "card.json").read_text() == before


def test_the_model_card_of_an_exported_checkpoint_has_only_results_of_that_checkpoint(recipe, corpus, tmp_path):
    folder = train(recipe(train={"keep": "all"}))
    evaluate(folder, corpus, tmp_path, "epoch_1.pth")
    for name, splits in (("epoch_1.pth", {"dev", "train"}), ("epoch_2.pth", {"dev"})):
        export(Detector.from_pretrained(folder / name, "cpu"), "safetensors", tmp_path / "out")
        figures = ModelCard.load(tmp_path / "out" / "README.md").data.eval_results
        assert {figure.dataset_split for figure in figures} == splits


def test_markdown_and_html_in_values_recorded_in_a_checkpoint_are_escaped_in_its_model_card(recipe, detector, tmp_path):
    record = {
        "recipe": {"name": "<b>|[a](javascript:b)"},
        "figures": [{"corpus": "a|b", "value": 0.5}],
    }
    detector.save(tmp_path / "evil.pth", **record)
    export(Detector.from_pretrained(tmp_path / "evil.pth", "cpu"), "safetensors", tmp_path / "out")
    card = ModelCard.load(tmp_path / "out" / "README.md")
    assert r"# \<b\>\|\[a\](javascript:b)" in card.text
    assert r"| a\|b |" in card.text


def test_the_card_of_a_published_model_states_its_licence(detector):
    text = model_card(detector.config, Provenance("AASIST"))
    assert "license: mit\n" in text
    assert "The weights: MIT." in text


def test_the_card_of_a_published_model_cites_its_paper(detector):
    text = model_card(detector.config, Provenance("AASIST"))
    assert "arXiv 2110.01200" in text
    assert "eprint = {2110.01200}" in text


def metadata_of(config, **record):
    return ModelCard(model_card(config, Provenance.read(record))).data


@pytest.mark.parametrize(
    "name, on_the_hub", [("xlsr_300m", "facebook/wav2vec2-xls-r-300m"), ("wavlm_large", "microsoft/wavlm-large")]
)
def test_the_metadata_of_a_model_card_name_the_hub_repository_of_the_encoder_as_base_model(detector, name, on_the_hub):
    config = {**detector.config, "frontend": {"name": name}}
    assert metadata_of(config).base_model == on_the_hub


def test_the_metadata_of_a_model_card_name_the_training_sets_that_are_on_the_hub(detector):
    names = ("hub:OWNER/NAME@v1", "mlaad", "asvspoof2019_la")
    trials = [{"part": "train", "corpus": name, "split": "train"} for name in names]
    trials.append({"part": "dev", "corpus": "hub:OWNER/OTHER", "split": "dev"})
    assert metadata_of(detector.config, trials=trials).datasets == ["OWNER/NAME", "mueller91/MLAAD"]
