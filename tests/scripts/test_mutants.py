"""Faults that are planted to see whether tests notice them."""

import pytest
from builders.scripts import loaded

SOURCE = '''"""A module: 1 < 2."""

LIMIT: int = 3


def clipped(x, low=-1.0):
    """No fault stands here: 4 > 3."""
    if x is None:
        raise ValueError(f"{1 + 1} is no number")
    return low if x < low and not LIMIT == 4 else x * 2
'''


@pytest.fixture(scope="module")
def mutants():
    return loaded("mutants")


@pytest.fixture
def package(tmp_path):
    (tmp_path / "nes2net").mkdir()
    (tmp_path / "nes2net" / "clip.py").write_text(SOURCE)
    return tmp_path


def test_faults_of_a_module(mutants, package):
    found = {(mutant.before, mutant.after) for mutant, _ in mutants.sites("nes2net/clip.py", package)}
    assert found == {
        ("3", "4"),
        ("-1.0", "1.0"),
        ("x is None", "x is not None"),
        ("x is None", "False"),
        ("x < low and not LIMIT == 4", "x <= low and not LIMIT == 4"),
        ("low if x < low and not LIMIT == 4 else x * 2", "low if x < low or not LIMIT == 4 else x * 2"),
        ("x < low and not LIMIT == 4", "x < low and LIMIT == 4"),
        ("not LIMIT == 4", "not LIMIT != 4"),
        ("LIMIT == 4", "LIMIT == 5"),
        ("low if x < low and not LIMIT == 4 else x * 2", "low if x < low and not LIMIT == 4 else x / 2"),
        ("x * 2", "x * 3"),
    }


def test_a_planted_fault_is_found_again_and_taken_out(mutants, package):
    path = package / "nes2net" / "clip.py"
    for mutant, _ in mutants.sites("nes2net/clip.py", package):
        path.write_text("import math\n\n" + SOURCE)  # other lines have moved
        held = mutants.plant(mutant, package)
        changed = path.read_text()
        assert changed.count(mutant.after) >= 1 and changed != held.decode() == "import math\n\n" + SOURCE
    path.write_text("")
    assert mutants.plant(mutant, package) is None


def test_the_tests_of_a_fault_are_those_that_run_its_line(mutants, monkeypatch):
    mutant, at = mutants.sites("nes2net/metrics/eer.py")[0]
    line = (mutants.REPOSITORY / mutant.file).read_bytes().count(b"\n", 0, at) + 1
    ran = [
        "",
        "tests/cli/test_a.py::test_b[c]|run",
        "tests/metrics/test_d.py::test_e|run",
        "tests/test_f.py::test_g|setup",
    ]
    monkeypatch.setattr(mutants, "tests_by_line", lambda file: {line: ran, line + 1: ["tests/test_h.py::test_i|run"]})
    own = ["nes2net/metrics/eer.py", "tests/metrics/test_eer.py"]
    shared = "tests/test_f.py"  # what the first test of a file sets up, the others use
    others = ["tests/metrics/test_d.py::test_e", "tests/cli/test_a.py::test_b[c]"]
    assert mutants.tests_of(mutant) == [*own, shared, *others]
    monkeypatch.setattr(mutants, "tests_by_line", lambda file: {})
    found = mutants.tests_of(mutant)
    assert found[:2] == own and found[-1] == "tests/metrics"
    assert "tests/corpora/test_corpus.py" in found  # which imports it


def test_the_table_in_contributing_is_that_of_the_list(mutants):
    table = "\n".join(mutants.table())
    assert table in (mutants.REPOSITORY / "CONTRIBUTING.md").read_text(encoding="utf-8"), "run scripts/mutants table"
