"""Whether a detector has seen the trials that it scores."""

import pytest

from nes2net.evaluation.origin import seen
from nes2net.published_models import start_of


@pytest.mark.parametrize(
    "name, corpus, split, how",
    [
        ("antideepfake_xlsr_1b", "asvspoof2021_df", "eval", "trained on asvspoof2021_df"),
        ("antideepfake_xlsr_1b", "asvspoof2019_la", "eval", "trained on asvspoof2019_la eval"),
        ("antideepfake_xlsr_1b", "asvspoof2019_la", "dev", "selected on asvspoof2019_la dev"),
        ("antideepfake_xlsr_1b", "asvspoof5", "eval", "trained on asvspoof5 eval"),
        ("antideepfake_xlsr_1b", "in_the_wild", "eval", ""),
        ("multiapi_nes2net_la", "in_the_wild", "eval", "selected on in_the_wild"),
        ("wav2vec2_Nes2Net_X", "asvspoof2019_la", "dev", "selected on asvspoof2019_la dev"),
        ("wav2vec2_Nes2Net_X", "asvspoof2021_la", "eval", ""),
        ("df_arena_1b", "ctrsvdd", "test", "trained on ctrsvdd"),
        ("WavLM_Nes2Net", "ctrsvdd", "train", "trained on ctrsvdd train"),
    ],
)
def test_published_models(name, corpus, split, how):
    lines = seen({"published_model": name}, corpus, split)
    assert len(lines) == bool(how) and all(line.endswith(how) and name in line for line in lines)


def test_runs_of_this_toolkit(tmp_path):
    """A corpus of one's own is known by its folder."""
    own = {"name": "generic", "root": str(tmp_path), "train_split": "train", "dev_split": "dev"}
    record = {"recipe": {"name": "mine", "data": {"corpora": [own]}}}
    trained = "scores of mine on generic say nothing: it was trained on generic train"
    assert seen(record, "generic", "train", tmp_path / ".") == [trained]
    assert len(seen(record, "generic", "all", tmp_path)) == 2
    assert not seen(record, "generic", "eval", tmp_path)
    assert not seen(record, "generic", "train", tmp_path / "another")
    assert not seen({"recipe": "old", "published_model": 3}, "generic", "train")


def test_runs_on_several_corpora(tmp_path):
    generic = {"name": "generic", "root": str(tmp_path), "train_split": "train", "dev_split": None}
    wild = {"name": "in_the_wild", "root": "DB", "train_split": None, "dev_split": "eval", "dev_phase": None}
    record = {"recipe": {"name": "mine", "data": {"corpora": [generic, wild]}}}
    for found in (record, {"started_from": [start_of(record)]}):
        (line,) = seen(found, "generic", "train", tmp_path)
        assert "trained on generic train" in line
        (line,) = seen(found, "in_the_wild", "eval")
        assert "selected on in_the_wild eval" in line
        assert not seen(found, "asvspoof2019_la", "train") and not seen(found, "generic", "dev", tmp_path)
    assert "root" not in str(start_of(record, places=False)["recipe"]["data"]["corpora"])


def test_a_corpus_of_phases():
    """The progress trials of ASVspoof 2021 are in its only split; an evaluation of others does not count them."""
    trains = {"name": "asvspoof2019_la", "train_split": "dev", "dev_split": None}
    selects = {"name": "asvspoof2021_la", "train_split": None, "dev_split": "eval"}
    data = {"corpora": [trains, {**selects, "dev_phase": "progress"}]}
    record = {"recipe": {"name": "mine", "data": data}}
    selected = ["scores of mine on asvspoof2021_la are too good: its epoch was selected on asvspoof2021_la progress"]
    for phase in (None, "progress", "all"):
        assert seen(record, "asvspoof2021_la", "eval", phase=phase) == selected
    assert not seen(record, "asvspoof2021_la", "eval", phase="eval")
    assert seen({"recipe": {"data": {"corpora": [trains, selects]}}}, "asvspoof2021_la", "eval", phase="hidden")
    # A list of one's own that was scored as a whole.
    generic = {"recipe": {"data": {"corpora": [{"name": "generic", "root": "."}]}}}
    assert len(seen(generic, "generic", "all", ".", phase="eval")) == 0
    assert len(seen(generic, "generic", "all", ".", phase="train")) == 1


def test_what_a_training_started_from(tmp_path):
    """Each start may have a start of its own; records of others may be anything."""
    data = {"corpora": [{"name": "asvspoof5"}]}
    second = {"recipe": {"name": "second", "data": data}, "started_from": [{"published_model": "AASIST"}, 3]}
    recipe = {"name": "third", "data": {"corpora": [{"name": "ctrsvdd"}]}}
    record = {"recipe": recipe, "started_from": [start_of({**second, "epoch": 3})]}
    for corpus, split, how in (
        ("ctrsvdd", "train", "say nothing: it was trained on ctrsvdd train"),
        ("asvspoof5", "train", "say nothing: second, from which it started, was trained on asvspoof5 train"),
        ("asvspoof2019_la", "dev", "are too good: the epoch of AASIST, from which it started, was selected on "),
    ):
        (line,) = seen(record, corpus, split)
        assert line.startswith(f"scores of third on {corpus} {how}")
    assert not seen({"started_from": {"published_model": "AASIST"}}, "asvspoof2019_la", "dev")
