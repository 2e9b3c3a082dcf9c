"""scripts/fuzz attacks every boundary, and finds what goes wrong."""

import io
import shutil
import sys
from contextlib import nullcontext, redirect_stdout

import pytest
from builders import input_error, planted_faults
from builders.files import read_json
from builders.scripts import loaded
from fuzzing import FIXED, boundaries
from fuzzing.hunt import Hunt

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the limit on memory is Linux's")


@pytest.fixture(scope="module")
def hunt(tmp_path_factory):
    """The folder of a hunt of some seconds, its status, and the lines that it printed."""
    folder = tmp_path_factory.mktemp("hunt")
    fuzz = loaded("fuzz")
    printed = io.StringIO()
    with redirect_stdout(printed):
        status = fuzz.main(fuzz.arguments(["--minutes", "0.1", "--out", str(folder)]))
    return folder, status, printed.getvalue().splitlines()


@pytest.mark.slow
def test_a_hunt_attacks_every_boundary_and_tells_what_came_of_it(hunt):
    folder, status, lines = hunt
    assert lines[0].split() == ["boundary", "tried", "accepted", "refused", "findings"]
    examples = sorted(folder.name for folder in (folder / "examples").iterdir())
    rows = {line[:22].strip(): [int(number) for number in line[22:].split()] for line in lines[1 : 1 + len(examples)]}
    assert sorted(rows) == examples
    for tried, accepted, refused, findings in rows.values():
        assert tried == accepted + refused + findings > 0
    assert status == (folder / "findings").exists() == any(findings for *_, findings in rows.values())


@pytest.mark.slow
@pytest.mark.parametrize("boundary", boundaries.BOUNDARIES)
def test_the_good_examples_of_a_boundary_are_accepted(hunt, boundary, tmp_path):
    """Otherwise an attack would find only the mistake of the example."""
    target = boundaries.BOUNDARIES[boundary]
    for example in sorted((hunt[0] / "examples" / boundary).iterdir()):
        for attempt in target.only.get(example.name) or target.attempts:
            folder = tmp_path / attempt / example.name
            shutil.copytree(example, folder, ignore=shutil.ignore_patterns(FIXED))
            if (example / FIXED).exists():
                (folder / FIXED).symlink_to(example / FIXED)
            no_corpus = input_error("nowhere")
            with no_corpus if (boundary, attempt) == ("recipe", "train") else nullcontext():
                boundaries.attempt(boundary, attempt, folder)


@pytest.mark.slow
def test_a_hunt_finds_planted_faults_and_can_repeat_them(tmp_path):
    hunt = Hunt(tmp_path, 0, planted_faults.BOUNDARIES, planted_faults.attempt)
    for number in range(40):
        hunt.try_input("planted", number)
    hunt.close()
    assert {finding.kind for finding in hunt.findings} == {"exception", "outside", "death", "memory"}
    texts = " ".join(finding.text for finding in hunt.findings)
    for text in ("os.system", "open for writing", "KeyError"):
        assert text in texts
    assert hunt.refused["planted"] + len(hunt.findings) + hunt.accepted["planted"] == hunt.tried["planted"] == 40
    finding_folder = min((tmp_path / "findings").iterdir())
    finding = read_json(finding_folder / "finding.json")
    again = Hunt(tmp_path / "again", 0, planted_faults.BOUNDARIES, planted_faults.attempt)
    again.close()
    repeated = again.input("planted", finding["number"])[3].joinpath("data.bin").read_bytes()
    assert (finding_folder / "example" / "data.bin").read_bytes() == repeated != planted_faults.GOOD
    assert any(f"--seed 0 --repeat 'planted' {finding['number']}" in line for line in hunt.table())
