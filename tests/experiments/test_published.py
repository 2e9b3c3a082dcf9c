"""The rows of ``published.yaml``: complete, of models that exist, and refused if malformed."""

import pytest
import yaml

from nes2net.detector import PUBLISHED_MODELS
from nes2net.errors import InputError
from nes2net.experiments.published import published_rows, results_of
from nes2net.registry import backends

ROW = {
    "id": "tiny-2021_la",
    "system": "Tiny",
    "train": "asvspoof2019_la",
    "test": "asvspoof2021_la",
    "metric": "EER",
    "best": 12.34,
    "source": "a test",
    "corpus": "asvspoof2021_la",
    "samples": 8000,
}


def test_every_row_is_complete_and_names_a_model_that_exists():
    rows = published_rows()
    assert len(rows) > 30
    for row in rows:
        assert 0 < row.best < 100 and row.source
        assert row.mean is None or row.mean >= row.best
    named = {row.model for row in rows} - {None}
    assert {"wav2vec2_Nes2Net_X", "wav2vec2_AASIST"} <= named
    assert named <= {*PUBLISHED_MODELS, *backends.names()}


def test_the_results_of_a_model():
    rows = [row for row in published_rows() if row.model == "sls"]
    results = results_of("sls")
    assert len(results) == len(rows) > 1
    for row, result in zip(rows, results):
        assert result.startswith(f"{row.system}: trained on {row.train}, {row.test}: EER {row.best:.2f}")
        assert result.endswith(f" %{'' if row.min_tdcf is None else ', min t-DCF'} [{row.source}]")
    assert results_of("xlsr_300m") == []


@pytest.mark.parametrize(
    "change, message",
    [
        ({"bst": 1.0}, "row 1: unknown key 'bst'; did you mean 'best'"),
        ({"source": None}, "row 1: lacks source"),
        ({"metric": "min t-DCF"}, "metric is EER, not 'min t-DCF'"),
        ({"protocol": "4s"}, "protocol is one of 4sec, full, not '4s'"),
        ({"samples": None}, "protocol 4sec needs the number of samples"),
        ({"average_mode": "old"}, "average_mode is one of mean, legacy, not 'old'"),
        ({"legacy_train_mode": "yes"}, "legacy_train_mode is true or false, not 'yes'"),
        ({"select": "loss"}, "select is one of val_loss_wo_aug, val_loss_w_aug"),
    ],
)
def test_malformed_rows(change, message, tmp_path):
    path = tmp_path / "rows.yaml"
    path.write_text(yaml.safe_dump([{**ROW, **change}]))
    with pytest.raises(InputError, match=message):
        published_rows(path)
