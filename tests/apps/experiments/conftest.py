"""Scores of which nothing is compared but the architecture."""

from dataclasses import replace

import pytest
from builders.files import write

from nes2net.actions.evaluation import evaluate
from nes2net.data.corpora import in_the_wild


@pytest.fixture
def evaluation(tmp_path, register_corpus):
    """Scores of two recordings, all that is compared but the architectures."""
    register_corpus("tiny", replace(in_the_wild.CORPUS, counts={}, key_digests={}))
    write(tmp_path / "meta.csv", "file,speaker,label\n0.wav,A,spoof\n1.wav,A,bona-fide\n")
    scores = write(tmp_path / "s.txt", "0 0\n1 1\n")
    return evaluate("tiny", scores, tmp_path, num_resamples=2)
