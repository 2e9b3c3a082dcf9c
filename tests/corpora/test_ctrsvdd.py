"""CtrSVDD: its test set without labels, and the rule of its figures."""

import numpy as np
import pytest
from builders.files import folder, write

from nes2net import metrics
from nes2net.actions.calibration import Labels, calibrate
from nes2net.corpora import ctrsvdd
from nes2net.corpora.protocol import NotFound
from nes2net.corpora.trial import Trial
from nes2net.errors import InputError
from nes2net.evaluation.evaluate import evaluate


def test_test_set_without_labels(tmp_path):
    audio = folder(tmp_path / "test_set")
    with pytest.raises(InputError, match=r"test_set: holds no \.flac files"):
        ctrsvdd.CORPUS.trials(tmp_path, "eval")
    for name in ("b.flac", "a.flac", "._a.flac", "notes.txt"):
        write(audio / name)
    assert ctrsvdd.CORPUS.trials(tmp_path, "eval") == [Trial(n, audio / f"{n}.flac", phase="eval") for n in "ab"]
    with pytest.raises(NotFound, match=r"protocol of CtrSVDD eval not found; looked for .*test\.txt"):
        ctrsvdd.CORPUS.keys(tmp_path, "eval")
    with pytest.raises(NotFound, match=r"train\.txt"):
        ctrsvdd.CORPUS.trials(folder(tmp_path / "train_set").parent, "train")


def test_evaluates_by_the_rule_of_its_published_figures(tmp_path):
    ends = ("A09 deepfake", "- bonafide")
    write(tmp_path / "test.txt", "".join(f"kiritan s CtrSVDD_{n} - {ends[n % 2]}\n" for n in range(40)))
    scores = np.random.default_rng(0).permutation(40)
    write(tmp_path / "scores.txt", "".join(f"CtrSVDD_{n} {score}\n" for n, score in enumerate(scores)))
    result = evaluate("ctrsvdd", tmp_path / "scores.txt", tmp_path, num_resamples=10)
    assert result.eer == metrics.compute_eer(scores[1::2], scores[::2], "sklearn")[0]
    (_, figures), _ = calibrate(
        Labels("ctrsvdd", tmp_path, "eval"), [tmp_path / "scores.txt"], allow_inverted=True
    ).rows
    assert figures["eer"] == result.eer != metrics.compute_eer(scores[1::2], scores[::2], "asvspoof")[0]
