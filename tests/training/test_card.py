"""The model card of a run, read back as the Hugging Face hub reads it."""

import re

import pytest
from builders.runs import history_of, stop
from huggingface_hub import ModelCard

from nes2net import Detector
from nes2net.apps.export.formats import export
from nes2net.cli.main import main
from nes2net.models.card import CardFile, model_card
from nes2net.models.provenance import Provenance
from nes2net.training.averaging import average_run
from nes2net.training.run import train


def without_time(folder):
    return re.sub(r"\| time \| .*", "", (folder / "README.md").read_text())


def evaluated(folder, corpus, tmp_path, checkpoint):
    """Score the training part, and evaluate it with ``--card``; return the score file."""
    scores = tmp_path / f"{checkpoint}.txt"
    title = f"asvspoof2019_la {corpus}"
    assert main(f"score {title} --split train --model {folder / checkpoint} --device cpu --out {scores}".split()) == 0
    assert (
        main(f"evaluate asvspoof2019_la {scores} --keys {corpus} --phase train --resamples 40 --card {folder}".split())
        == 0
    )
    return scores


def test_a_run_writes_a_card_that_the_hub_reads(recipe):
    """With the figures of the best epoch and the data, without the user's folders."""
    folder = train(recipe())
    card = ModelCard.load(folder / "README.md")
    best = min(history_of(folder), key=lambda row: row["val_loss_wo_aug"])
    eer, _ = card.data.eval_results
    assert card.data.library_name == "nes2net"
    assert card.data.license == "other"
    of_eer = eer.dataset_type, eer.dataset_name, eer.dataset_split, eer.metric_type
    assert of_eer == ("other", "trials in the layout of ASVspoof 2019 LA", "dev", "eer")
    assert eer.metric_value == pytest.approx(100 * best["val_eer_wo_aug"], abs=1e-5)
    low = 100 * best["val_eer_wo_aug_low"]
    high = 100 * best["val_eer_wo_aug_high"]
    assert f"{100 * best['val_eer_wo_aug']:#.4g} ({low:#.3g} to {high:#.3g})" in card.text
    assert f"**Threshold**: {best['eer_threshold']:.6g}" in card.text
    assert f'from_pretrained("epoch_{best["epoch"]}.pth")' in card.text
    trials = "train | trials in the layout of ASVspoof 2019 LA train | 6 + 6 | 3 | 1 | – | 0.00"
    generators = "- Generators other than A01, by their names in its lists."
    terms = "- trials in the layout of ASVspoof 2019 LA: not known here. ASVspoof 2019 LA itself is under ODC-By 1.0"
    options = f"`nes2net info epoch_{best['epoch']}.pth` lists their options"
    for words in (trials, generators, terms, options, "licence of these weights is not", "| train.lr | 0.001 |"):
        assert words in card.text
    assert str(folder.parent) not in card.text


def test_an_interrupted_run_has_a_card_of_its_best_epoch_so_far(recipe):
    """Resumed, it has the card of a run that was never interrupted."""
    uninterrupted = train(recipe(comment="x"))
    torn = stop(recipe(comment="y"), 2, 1)
    assert "| epoch | 1 of 2 |" in (torn / "README.md").read_text()
    train(recipe(comment="y"))
    assert without_time(torn) == without_time(uninterrupted)


def test_an_evaluation_adds_its_figures_to_the_card_once(recipe, corpus, tmp_path, capsys):
    """The user's text and licence stay, and an exported folder has them, too. Another folder is refused."""
    folder = train(recipe(train={"keep": "all"}))
    readme = folder / "README.md"
    readme.write_text(readme.read_text().replace("license: other", "license: mit") + "Our own *words*.\n")
    average = average_run(folder, [1, 2]).path.name
    described = CardFile.read(folder).checkpoint
    evaluated(folder, corpus, tmp_path, average)
    for _ in range(2):
        scores = evaluated(folder, corpus, tmp_path, described)
    assert f"{readme}" in capsys.readouterr().out
    assert [figure.checkpoint for figure in CardFile.read(folder).figures] == [average, described]
    cards = {}
    for name in (described, average):
        export(Detector.from_pretrained(folder / name, "cpu"), "safetensors", tmp_path / "out")
        cards[name] = ModelCard.load(tmp_path / "out" / "README.md")
        again = Detector.from_pretrained(tmp_path / "out", "cpu")
        assert len(again.provenance.figures) == len(cards[name].data.eval_results)
    assert [figure.dataset_split for figure in cards[average].data.eval_results] == ["train"]
    assert [figure.dataset_split for figure in cards[described].data.eval_results] == ["dev", "dev", "train"]
    for card in (ModelCard.load(readme), cards[described]):
        assert card.data.license == "mit"
        assert card.text.endswith("Our own *words*.\n")
    text = readme.read_text()
    assert f"Rows of another checkpoint than {described}".replace("_", r"\_") in text
    assert "No set but the development set" not in text
    assert text.count("say nothing: it was trained on 12 trials") == 1

    another_folder = tmp_path / "other"
    another_folder.mkdir()
    evaluation = (
        f"evaluate asvspoof2019_la {scores} --keys {corpus} --phase train --resamples 40 --card {another_folder}"
    )
    assert main(evaluation.split()) == 2
    assert "has no model card that training wrote" in capsys.readouterr().err
    (folder / described).write_bytes((folder / average).read_bytes())
    assert main(evaluation.replace(str(another_folder), str(folder)).split()) == 2
    assert "has no such checkpoint: name its folder with --card" in capsys.readouterr().err


def test_text_of_a_checkpoint_is_escaped_in_its_card(recipe, detector, tmp_path):
    """A figure without a value is omitted."""
    record = {
        "recipe": {"name": "<b>|[a](javascript:b)"},
        "figures": [{"corpus": "x"}, {"corpus": "a|b", "value": 0.5}],
    }
    detector.save(tmp_path / "evil.pth", **record)
    export(Detector.from_pretrained(tmp_path / "evil.pth", "cpu"), "safetensors", tmp_path / "out")
    card = ModelCard.load(tmp_path / "out" / "README.md")
    assert r"# \<b\>\|\[a\](javascript:b)" in card.text
    assert r"| a\|b |" in card.text
    assert len(card.data.eval_results) == 1


def test_the_card_of_a_published_model_states_its_source_and_licence(detector):
    text = model_card(detector.config, Provenance("AASIST"))
    assert "license: mit\n" in text
    assert "The weights: MIT." in text
    assert "arXiv 2110.01200" in text
    assert "eprint = {2110.01200}" in text
    assert "not heard" not in text


def test_the_metadata_names_encoder_and_training_sets_on_the_hub():
    names = ("hub:OWNER/NAME@v1", "mlaad", "asvspoof2019_la")
    trials = [{"part": "train", "corpus": name, "split": "train"} for name in names]
    trials.append({"part": "dev", "corpus": "hub:OWNER/OTHER", "split": "dev"})
    config = {
        "frontend": {"name": "xlsr_300m"},
        "aggregation": {"name": "last"},
        "backend": {"name": "nes2net_x"},
    }
    card = ModelCard(model_card(config, Provenance.read({"trials": trials})))
    assert card.data.base_model == "facebook/wav2vec2-xls-r-300m"
    assert card.data.datasets == ["OWNER/NAME", "mueller91/MLAAD"]


def test_each_development_corpus_has_a_row_beside_that_of_all_together(recipe, corpus):
    """Only the row of all together has an interval."""
    corpora = [{"name": "asvspoof2019_la", "alias": "one"}, {"name": "asvspoof2019_la", "alias": "two"}]
    data = {"root": None, "corpora": [{**corpus_options, "root": str(corpus)} for corpus_options in corpora]}
    text = (train(recipe(data=data)) / "README.md").read_text()
    rows = re.findall(r"\| dev \| epoch.*\| (\d+ \+ \d+) \| EER % \| (.*?) \|", text)
    assert [numbers for numbers, _ in rows] == ["12 + 12", "6 + 6", "6 + 6"]
    assert [" to " in value for _, value in rows] == [True, False, False]
