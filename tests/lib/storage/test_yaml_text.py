"""YAML of recipes and detector folders; tests/builders/hostile/recipes.py tries what breaks readers."""

from nes2net.lib.storage.yaml_text import read_yaml, write_yaml

VALUES = {
    "text": ["1e-6", "0520", "12:30", "2026-02-30", "null", "yes", "~", "", "0x10", ".inf", "a\nb", "é", "<<", "="],
    "numbers": [0, -1, 2**63, 1e-6, 2.5e-07, 1e300, float("inf")],
    "others": [True, False, None, {}, [], {"5": {"6": []}}],
}


def test_values_written_as_yaml_are_read_back_unchanged():
    shared = [8, 8]
    twice = {"one": shared, "other": {"again": shared}}  # without an alias, which is not read
    many = [[] for _ in range(9000)]  # of 10,000 values
    for values in (VALUES, twice, {"many": many}):
        values_read = read_yaml(write_yaml(values), None, "this")
        assert repr(values_read) == repr(values)  # in which True is not 1
