"""Faults that are planted to see whether tests notice them."""

import pytest
from builders.files import write
from builders.scripts import loaded

RETURNED = "low if x < low and not LIMIT == 4 else x * 2"
SOURCE = f'''"""A module."""

LIMIT: int = 3


def clipped(x, low=-1.0):
    """At least ``low``."""
    if x is None:
        raise ValueError(f"{{1 + 1}} is no number")
    return {RETURNED}
'''


@pytest.fixture(scope="module")
def mutants():
    return loaded("mutants")


@pytest.fixture
def sites(mutants, tmp_path):
    """The faults that can be planted in a module of ``tmp_path``."""
    write(tmp_path / "nes2net" / "clip.py", SOURCE)
    return mutants.sites("nes2net/clip.py", tmp_path)


@pytest.fixture
def faults(sites):
    """The texts before and after each fault."""
    return {(mutant.before, mutant.after) for mutant, _ in sites}


#: Faults at the numbers of SOURCE.
NUMBERS = {("3", "4"), ("-1.0", "1.0"), ("LIMIT == 4", "LIMIT == 5"), ("x * 2", "x * 3")}


def test_faults_add_1_to_whole_numbers_and_remove_the_sign_of_negative_ones(faults):
    assert faults >= NUMBERS


def test_faults_that_are_not_at_numbers_change_an_operator_or_a_condition(faults):
    assert faults - NUMBERS == {
        ("x is None", "x is not None"),
        ("x is None", "False"),
        ("x < low and not LIMIT == 4", "x <= low and not LIMIT == 4"),
        (RETURNED, RETURNED.replace("and", "or")),
        ("x < low and not LIMIT == 4", "x < low and LIMIT == 4"),
        ("not LIMIT == 4", "not LIMIT != 4"),
        (RETURNED, RETURNED.replace("*", "/")),
    }


def test_no_fault_can_be_planted_in_docstrings_and_messages(mutants, tmp_path):
    write(tmp_path / "texts.py", 'def f():\n    """4 > 3."""\n    raise ValueError(f"{1 + 1}")\n')
    assert mutants.sites("texts.py", tmp_path) == []


def test_a_fault_is_planted_although_its_lines_have_moved(mutants, sites, tmp_path):
    path = tmp_path / "nes2net" / "clip.py"
    for mutant, _ in sites:
        write(path, "import math\n\n" + SOURCE)
        original = mutants.plant(mutant, tmp_path)
        assert mutant.after in path.read_text() != original.decode() == "import math\n\n" + SOURCE


def test_the_table_in_the_readme_of_tests_is_made_of_the_recorded_mutants(mutants):
    table = "\n".join(mutants.table())
    assert table in (mutants.REPOSITORY / "tests" / "README.md").read_text(encoding="utf-8"), (
        "run scripts/mutants table"
    )
