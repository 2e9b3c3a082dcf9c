"""The official tables beyond the golden cases: empty classes and bad input."""

from nes2net import metrics


def test_only_a_row_of_the_ctrsvdd_table_that_lacks_a_class_has_no_eer_and_no_minimum_dcf():
    sources = ["kising", "acesinger", "kising", "opencpop"]
    attacks = ["-", "-", "A14", "A09"]
    rows = metrics.ctrsvdd_rows([2.0, 1.0, 0.0, -1.0], [True, True, False, False], sources, attacks)
    figures = {row.part: (row.num_bonafide, row.num_spoof, row.eer, row.min_dcf) for row in rows}
    assert figures["source kising (with A14)"] == (1, 1, 0, 0)
    assert figures["source opencpop (with A14)"] == (0, 1, None, None)
    assert figures["all without A14"] == (2, 1, 0, 0)
    assert figures["attack A10 (without acesinger)"] == (1, 0, None, None)
    assert figures["all without A14 and acesinger"] == figures["attack A09 (without acesinger)"] == (1, 1, 0, 0)
