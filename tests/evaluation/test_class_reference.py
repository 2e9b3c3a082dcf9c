"""Classes of embedded trials: from the key, and from the corpus that the record beside the embeddings names."""

import numpy as np
from builders.files import write, write_record

from nes2net.evaluation.class_reference import examples_of
from nes2net.evaluation.key import Labels
from nes2net.scoring.judgement import ScoreFile


def test_embedded_trials_get_their_class_from_the_key_or_else_from_the_corpus_in_their_record(tmp_path):
    """A trial to which neither gives a class is no example."""
    columns = "path,label,vocoder,split"
    corpus = write(tmp_path / "corpus.csv", [columns, "a.wav,spoof,old,train", "b.wav,spoof,other,train"])
    labels = write(tmp_path / "key.csv", [columns, "a.wav,spoof,new,eval"])
    file = tmp_path / "train.npy"
    write_record(file, corpus={"name": "generic", "root": str(corpus), "split": "train"})
    rows = {id: np.full(2, number, dtype=np.float32) for number, id in enumerate(("b", "c", "a"))}
    key = Labels("generic", labels, "eval").read()
    examples = examples_of(rows, ScoreFile.of(file), key, "vocoder", {})
    labelled = [(example.trial.id, example.name, example.embedding.tolist()) for example in examples]
    assert labelled == [("b", "other", [0, 0]), ("a", "new", [2, 2])]
