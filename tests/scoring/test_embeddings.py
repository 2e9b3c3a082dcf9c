"""The reader of embeddings: rows and ids are joined only if both are whole."""

import numpy as np
import pytest
from builders import input_error
from builders.scored import score_trials

from nes2net.data.corpora import asvspoof2021_la
from nes2net.scoring.embeddings import Embeddings

NUMBER = 4


@pytest.fixture
def trials(corpus):
    return asvspoof2021_la.CORPUS.trials(corpus, "eval")[:NUMBER]


@pytest.fixture
def array(detector, trials, tmp_path):
    """An array of embeddings, with its list and its record."""
    out = tmp_path / "e.npy"
    embed(detector, trials, out)
    return out


def embed(detector, trials, out):
    return score_trials(detector, trials, out, Embeddings(), num_samples=4000)


def read(path):
    return dict(Embeddings().read(path))


def list_of(array):
    return array.with_name(f"{array.name}.csv")


def change_list(array, change):
    """Replace the rows of the list by what ``change`` makes of them."""
    header, *rows = list_of(array).read_text().splitlines(keepends=True)
    list_of(array).write_text("".join([header, *change(rows)]))


def test_the_ids_of_an_array_are_read_with_their_rows(array, trials):
    rows = np.load(array)
    embeddings = read(array)
    assert list(embeddings) == [trial.id for trial in trials]
    assert np.array_equal(np.stack(list(embeddings.values())), rows)


def test_an_array_whose_list_of_ids_was_reordered_is_refused_by_the_digest_of_the_list(array):
    change_list(array, reversed)
    with input_error(r"e\.npy is not a file of embeddings.*its list of ids was edited"):
        read(array)


def test_an_array_without_a_record_is_read(array, trials):
    """Such as another program's."""
    array.with_name(f"{array.name}.json").unlink()
    assert list(read(array)) == [trial.id for trial in trials]


def test_without_a_record_an_array_with_fewer_ids_than_rows_is_refused(array):
    array.with_name(f"{array.name}.json").unlink()
    change_list(array, lambda rows: rows[1:])
    with input_error("3 ids for 4 rows"):
        read(array)
