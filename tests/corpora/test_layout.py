"""A declared layout names fields of trials."""

import pytest

from nes2net import InputError
from nes2net.corpora.layout import Columns, Table


def test_a_field_that_no_trial_has():
    for declare in (
        lambda: Table("path", fields={"spk": "speaker"}),
        lambda: Columns("utterance, spk"),
        lambda: Columns("utterance, s", fields={"s": "spk"}),
    ):
        with pytest.raises(InputError, match="a trial .* has no field 'spk'"):
            declare()
