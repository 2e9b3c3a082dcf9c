"""Numbers of a record have ranges."""

import pytest
from builders import input_error
from builders.files import write_json

from nes2net.scoring.record import read_whole_record

RECORD = {"run": {"model": "m"}, "failures": {}, "total": 3, "kept_from_earlier_runs": 0, "seconds": 1.5}


def read(folder, **facts):
    path = folder / "s.txt.json"
    write_json(path, {**RECORD, **facts})
    return read_whole_record(path)


def test_possible_numbers_are_read(tmp_path):
    record = read(tmp_path)
    assert record.total == 3
    assert record.seconds == 1.5


@pytest.mark.parametrize("key", ["total", "kept_from_earlier_runs", "seconds"])
@pytest.mark.parametrize("value", [-1, 1.7e308, 10**30, "1", True])
def test_impossible_numbers_are_refused(tmp_path, key, value):
    with input_error(rf"s\.txt\.json: not a record of scores .*{key}"):
        read(tmp_path, **{key: value})
