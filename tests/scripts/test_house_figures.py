"""scripts/house weighs a package as its page says."""

from builders.files import write
from builders.scripts import loaded

MANY = "    trials = list(trials)\n" * 61
LOWER = '"""Lower."""\n\n\ndef _helper():\n    """Say."""\n    return 1\n\n\nVALUE = _helper()\n'
TOP = f"""
from nes2net.lower import VALUE, _helper
def wide({", ".join(f"p{i}" for i in range(9))}):
    return _helper(p0)
class Part:
    def _own(self):
        pass
def run(trials):
{MANY}    score_trials(trials)
"""


def test_figures(tmp_path, monkeypatch):
    """Of a package of two rooms."""
    house = loaded("house")
    write(tmp_path / "nes2net" / "lower.py", LOWER), write(tmp_path / "nes2net" / "upper" / "top.py", TOP)
    monkeypatch.setattr(house, "PACKAGE", tmp_path / "nes2net")
    found = house.weigh()
    assert found.statements == {"lower": 5, "upper": 69}
    assert found.functions == {"lower": 1, "upper": 3}
    assert sorted(found.body_lines) == [1, 1, 1, 62]
    assert [place.split()[1] for place in found.used_once] == ["Part._own"]
    assert [place.split()[1:] for place in found.many_parameters] == [["wide", "(9)"]]
    assert [place.split()[1] for place in found.long_bodies] == ["run"]
    assert found.scoring == ["upper/top.py"] and house.num_floors() == 2
