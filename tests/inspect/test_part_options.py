"""The manual's page of the options of all parts."""

from pathlib import Path

from nes2net.inspect.part_options import page

PAGE = Path(__file__).parents[2] / "docs" / "part-options.md"


def test_the_page_is_that_of_the_constructors():
    anew = "run: python -m nes2net.inspect.part_options docs/part-options.md"
    assert PAGE.read_text(encoding="utf-8") == page(), anew
