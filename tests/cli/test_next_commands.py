"""The commands that come next."""

from pathlib import Path

from nes2net.cli.next_commands import after_averaging, after_scoring, after_training
from nes2net.recipes.recipe import recipe_from_dict

MODEL = Path("models/run/epoch_1.pth")


def after(**data):
    return after_averaging(MODEL, recipe_from_dict({"data": data}))


def test_the_evaluation_part_if_it_is_there_of_each_of_several_corpora(every_corpus, corpus):
    corpora = str(every_corpus)

    def commands(name):
        scores = Path(f"models/run/epoch_1_{name}_eval.txt")
        score = ["score", "asvspoof2019_la", corpora, "--model", MODEL, "--out", scores]
        return [score, ["evaluate", "asvspoof2019_la", scores, "--keys", corpora]]

    assert after(corpus="asvspoof2019_la", root=corpora) == commands("asvspoof2019_la")
    several = [{"name": "asvspoof2019_la", "root": corpora, "alias": "la"}]
    several += [{"name": "in_the_wild", "root": corpora, "train_split": None, "dev_split": "eval"}]
    assert after(corpora=several) == commands("la")
    assert after(corpus="asvspoof2019_la", root=str(corpus), train_split="dev") == []  # nothing else is there
    protocols = f"{corpora}/ASVspoof_LA_cm_protocols"
    score, evaluate = after(corpus="asvspoof2019_la", root=corpora, protocols=protocols)
    assert score[-2:] == ["--protocols", protocols] and evaluate[-2:] == ["--keys", protocols]


def test_nothing_that_could_not_be_pasted(tmp_path):
    assert after(corpus="asvspoof2019_la", root=str(tmp_path / "moved away")) == []
    assert after(corpus="asvspoof2019_la") == []
    assert after(corpus="a_corpus_of_another_package", root=str(tmp_path)) == []
    assert after_scoring("asvspoof2021_la", tmp_path, "dev", "scores.txt") == []  # its labels have no such part
    assert after_training(tmp_path, recipe_from_dict({"data": {"root": str(tmp_path)}})) == []  # nothing was kept
