"""Which tests a change concerns."""

import pytest
from changed_tests import REPOSITORY, concerned


@pytest.mark.parametrize(
    "changed, among, not_among",
    [
        ("nes2net/metrics/eer.py", "tests/metrics/test_eer.py", "tests/scoring/test_kernel.py"),
        # batches import the kernel
        ("nes2net/scoring/kernel.py", "tests/scoring/test_batches.py", "tests/metrics/test_eer.py"),
        ("tests/metrics/test_eer.py", "tests/metrics/test_eer.py", "tests/metrics/test_rates.py"),
        ("tests/builders/voices.py", "tests/data/augment/test_physics.py", "tests/test_house.py"),
        ("docs/score.md", "tests/test_documentation.py", "tests/test_house.py"),
        ("scripts/mutants", "tests/scripts/test_mutants.py", "tests/test_house.py"),
    ],
)
def test_the_tests_to_run_for_a_changed_file_are_those_of_what_imports_or_names_it(changed, among, not_among):
    test_files = {str(path.relative_to(REPOSITORY)) for path in concerned([changed])}
    assert among in test_files
    assert not_among not in test_files
