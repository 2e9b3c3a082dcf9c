"""scripts/house weighs a package as its page says."""

import pytest
from builders.scripts import loaded


@pytest.fixture
def house(tmp_path, monkeypatch):
    """The script, of a package of two rooms."""
    script = loaded("house")
    package = tmp_path / "nes2net"
    (package / "upper").mkdir(parents=True)
    (package / "lower.py").write_text(
        '"""Lower."""\n\n\ndef _helper():\n    """Say."""\n    return 1\n\n\nVALUE = _helper()\n'
    )
    many = ", ".join(f"p{i}" for i in range(9))
    (package / "upper" / "top.py").write_text(
        "from nes2net.lower import VALUE, _helper\n\n\n"
        f"def wide({many}):\n    return _helper(p0)\n\n\n"
        "class Part:\n    def _own(self):\n        pass\n\n\n"
        "def run(trials):\n" + "    trials = list(trials)\n" * 61 + "    score_trials(trials)\n"
    )
    monkeypatch.setattr(script, "PACKAGE", package)
    return script


def test_figures(house):
    found = house.weigh()
    assert found.statements == {"lower": 5, "upper": 69}
    assert found.functions == {"lower": 1, "upper": 3}
    assert sorted(found.body_lines) == [1, 1, 1, 62]
    assert [place.split()[1] for place in found.used_once] == ["Part._own"]
    assert [place.split()[1:] for place in found.many_parameters] == [["wide", "(9)"]]
    assert [place.split()[1] for place in found.long_bodies] == ["run"]
    assert found.scoring == ["upper/top.py"]
    assert house.num_floors() == 2
