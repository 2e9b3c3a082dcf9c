"""CtrSVDD: where its files may lie, every field, and a test set without labels."""

import numpy as np
import pytest
from builders.files import folder, write

from nes2net import metrics
from nes2net.corpora import ctrsvdd
from nes2net.corpora.protocol import NotFound
from nes2net.corpora.trial import Trial
from nes2net.errors import InputError
from nes2net.evaluation.evaluate import evaluate

CTRSVDD = (
    "m4singer CtrSVDD_0110 CtrSVDD_0110_D_0015416 - - bonafide\n"
    "acesinger CtrSVDD_0097 CtrSVDD_0097_D_0010993 - A06 deepfake\n"
)


@pytest.mark.parametrize(
    "split, name, audio",
    [("train", "train", "train_set"), ("dev", "dev", "dev"), ("eval", "test", "test_set/test_set")],
)
def test_trials_and_keys(tmp_path, split, name, audio):
    write(tmp_path / f"{name}.txt", CTRSVDD)
    audio = folder(tmp_path / audio)
    bonafide, spoof = "CtrSVDD_0110_D_0015416", "CtrSVDD_0097_D_0010993"
    assert ctrsvdd.CORPUS.trials(tmp_path, split) == [
        Trial(bonafide, audio / f"{bonafide}.flac", "bonafide", bonafide[:12], source="m4singer", phase=split),
        Trial(spoof, audio / f"{spoof}.flac", "spoof", spoof[:12], "A06", source="acesinger", phase=split),
    ]
    assert [t.label for t in ctrsvdd.CORPUS.keys(tmp_path)] == ["bonafide", "spoof"]
    if split == "eval":
        assert ctrsvdd.CORPUS.trials(tmp_path, "test") == ctrsvdd.CORPUS.trials(tmp_path, "eval")
        assert ctrsvdd.CORPUS.keys(tmp_path, "test") == ctrsvdd.CORPUS.keys(tmp_path / "test.txt", "eval")


def test_test_set_without_labels(tmp_path):
    audio = folder(tmp_path / "test_set")
    with pytest.raises(InputError, match=r"test_set: holds no \.flac files"):
        ctrsvdd.CORPUS.trials(tmp_path, "eval")
    for name in ("b.flac", "a.flac", "._a.flac", "notes.txt"):
        write(audio / name)
    assert ctrsvdd.CORPUS.trials(tmp_path, "eval") == [Trial(n, audio / f"{n}.flac", phase="eval") for n in "ab"]
    with pytest.raises(NotFound, match=r"protocol of CtrSVDD eval not found; looked for .*test\.txt"):
        ctrsvdd.CORPUS.keys(tmp_path, "eval")
    folder(tmp_path / "train_set")
    with pytest.raises(NotFound, match=r"train\.txt"):
        ctrsvdd.CORPUS.trials(tmp_path, "train")


def test_evaluates_by_the_rule_of_its_published_figures(tmp_path):
    lines = [
        f"kiritan s CtrSVDD_{n} - {'-' if n % 2 else 'A09'} {'bonafide' if n % 2 else 'deepfake'}\n" for n in range(40)
    ]
    write(tmp_path / "test.txt", "".join(lines))
    scores = np.random.default_rng(0).permutation(40)
    write(tmp_path / "scores.txt", "".join(f"CtrSVDD_{n} {score}\n" for n, score in enumerate(scores)))
    result = evaluate("ctrsvdd", tmp_path / "scores.txt", tmp_path, num_resamples=10)
    assert result.eer == metrics.compute_eer(scores[1::2], scores[::2], "sklearn")[0]
