"""A test file that takes much more processor time than is recorded fails a run."""

from builders.processor_seconds import files_above

RECORDED = {"a.py": 1.0, "b.py": 4.0, "c.py": 2.0}


def test_a_file_that_takes_much_longer_than_recorded_is_named_with_both_times():
    measured = {**RECORDED, "b.py": 12.0}
    assert files_above(RECORDED, measured) == ["b.py takes 12.0 s of processor time, instead of 4.0 s"]


def test_a_file_that_is_not_recorded_must_be_short():
    (sentence,) = files_above(RECORDED, {**RECORDED, "new.py": 5.0})
    assert sentence.startswith("new.py takes 5.0 s")


def test_on_a_slower_machine_all_files_may_take_longer():
    measured = {name: 3 * seconds for name, seconds in RECORDED.items()}
    assert files_above(RECORDED, measured) == []
