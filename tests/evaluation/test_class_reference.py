"""Classes of embedded trials: from the key, and from the corpus that the record beside the embeddings names."""

import json

import numpy as np

from nes2net.evaluation.class_reference import examples_of
from nes2net.evaluation.key import Labels
from nes2net.scoring.judgement import ScoreFile


def test_labels_of_the_key_win_over_those_of_the_corpus_in_the_record(tmp_path):
    """The corpus labels only the trials that the key lacks; a trial that neither labels is left out."""
    corpus = tmp_path / "corpus.csv"
    corpus.write_text("path,label,vocoder,split\na.wav,spoof,old,train\nb.wav,spoof,other,train\n")
    labels = tmp_path / "key.csv"
    labels.write_text("path,label,vocoder,split\na.wav,spoof,new,eval\n")
    file = tmp_path / "train.npy"
    recorded_corpus = {"name": "generic", "root": str(corpus), "split": "train"}
    (tmp_path / "train.npy.json").write_text(json.dumps({"run": {}, "failures": {}, "corpus": recorded_corpus}))
    rows = {id: np.full(2, number, dtype=np.float32) for number, id in enumerate(("b", "c", "a"))}
    examples = examples_of(rows, ScoreFile.of(file), Labels("generic", labels, "eval").read(), "vocoder", {})
    labelled = [(example.trial.id, example.name, example.embedding.tolist()) for example in examples]
    assert labelled == [("b", "other", [0, 0]), ("a", "new", [2, 2])]
