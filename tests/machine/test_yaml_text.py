"""YAML of recipes and detector folders; tests/builders/hostile/recipes.py tries what breaks readers."""

import pytest
import yaml

from nes2net import Detector, InputError
from nes2net.machine.yaml_text import read_yaml, write_yaml

VALUES = {
    "text": ["1e-6", "0520", "12:30", "2026-02-30", "null", "yes", "~", "", "0x10", ".inf", "a\nb", "é", "<<", "="],
    "numbers": [0, -1, 2**63, 1e-6, 2.5e-07, 1e300, float("inf")],
    "others": [True, False, None, {}, [], {"5": {"6": []}}],
}


def test_what_is_written_reads_the_same():
    assert read_yaml(write_yaml(VALUES), None, "this") == VALUES
    many = [[] for _ in range(9000)]  # of 10,000 values
    assert read_yaml(write_yaml({"many": many}), None, "this") == {"many": many}


def test_aliases_are_refused():
    shared = [8, 8]
    text = yaml.safe_dump({"one": shared, "other": {"again": shared}})
    assert "*id001" in text
    with pytest.raises(InputError, match="no aliases and no tags"):
        read_yaml(text, None, "this")


def test_a_folder_is_written_without_aliases(tmp_path):
    """A list may stand in the model and in the record."""
    detector = Detector.from_config({"frontend": "lps", "backend": {"name": "nes2net_x", "nes_ratio": [4, 4]}})
    recipe = {"nes_ratio": detector.config["backend"]["nes_ratio"], "lr": 2.5e-07, "date": "0520"}
    detector.save(tmp_path / "new", recipe=recipe)
    assert "&id" not in (tmp_path / "new" / "config.yaml").read_text()
    new = Detector.from_pretrained(tmp_path / "new", device="cpu")
    assert new.config == detector.config
    assert new.record == {"recipe": {"nes_ratio": [4, 4], "lr": 2.5e-07, "date": "0520"}}
