"""Progress of a run: advice about slow reading."""

from nes2net.training.progress import advice


def test_waiting_for_data_with_as_many_workers_as_possible_advises_a_cache():
    assert "keep decoded audio with" in advice(0.5, 2, most=2)


def test_waiting_for_data_despite_workers_and_a_cache_names_disk_or_augmentation_as_the_limit():
    assert "the disk or the augmentation is the limit" in advice(0.5, 2, most=2, cached=True)


def test_waiting_for_data_half_a_second_gets_no_advice_even_if_that_is_most_of_the_time():
    assert advice(0.9, 1, most=8, waited=0.5) is None
