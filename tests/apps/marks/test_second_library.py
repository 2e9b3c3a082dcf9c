"""c2pa-python beside or in place of encypher-c2pa, against ../shared/golden/marks/c2pa.json."""

import json
import sys

import pytest
from builders.marks import CREDENTIALS, reader

pytest.importorskip("c2pa", reason="c2pa-python is not installed")
#: Beginning of an error in the golden file → state.
ERRORS = {"_C2paManifestNotFound": "not_found", "C2paError: Remote": "remote"}
#: File → states by encypher-c2pa and by c2pa-python, if they differ.
DIFFERENCES = {
    "remote.mp3": ("not_found", "remote"),
    "remote.flac": ("not_found", "remote"),
    "no_source_type.wav": ("untrusted", "broken"),
    "box_huge.wav": ("unreadable", "untrusted"),
    "box_zero.wav": ("untrusted", "unreadable"),
}


@pytest.fixture
def expected(golden):
    """A function that returns state and codes of c2pa-python in the golden file."""
    rows = json.loads((golden / "c2pa.json").read_text())

    def state_and_codes(file, key):
        row = rows[f"c2pa_{file}"][key]
        if "error" in row:
            states = [state for error, state in ERRORS.items() if row["error"].startswith(error)]
            return (states or ["unreadable"])[0], []
        state = {"Trusted": "trusted", "Valid": "untrusted", "Invalid": "broken"}[row["state"]]
        return state, [code for code in row["failure"] if code != "signingCredential.untrusted"]

    return state_and_codes


def state_and_codes(facts):
    return facts["state"], facts.get("codes") or []


@pytest.fixture
def alone(monkeypatch):
    """Without encypher-c2pa."""
    monkeypatch.setitem(sys.modules, "encypher_c2pa", None)


@pytest.mark.parametrize("file", CREDENTIALS)
def test_alone_it_tells_the_golden_states_and_codes(alone, expected, golden, file):
    facts = reader("c2pa")(golden / f"c2pa_{file}").facts
    assert facts["reader"]["name"] == "c2pa-python"
    assert facts["second"] is None
    assert state_and_codes(facts) == expected(file, "c2pa-python 0.38.1")
    trusting = reader("c2pa", golden / "c2pa_root.pem")(golden / f"c2pa_{file}")
    assert state_and_codes(trusting.facts) == expected(file, "c2pa-python 0.38.1, root trusted")
    assert ("(trusted by c2pa_root.pem)" in str(trusting)) == (trusting.facts["state"] == "trusted")


@pytest.mark.parametrize("suffix", ["wav", "mp3", "flac", "m4a"])
def test_alone_it_tells_signer_and_claim(alone, golden, suffix):
    finding = reader("c2pa")(golden / f"c2pa_signed.{suffix}")
    assert finding.facts["issuer"] == "nes2net test, not trusted"
    assert finding.facts["generator"] == "nes2net golden"
    assert finding.facts["claim"] == "ai"
    assert "nobody vouches for that; claims to be made by AI" in str(finding)


@pytest.mark.parametrize("file", CREDENTIALS)
def test_a_difference_between_both_is_told(expected, golden, file):
    pytest.importorskip("encypher_c2pa", reason="encypher-c2pa is not installed")
    finding = reader("c2pa")(golden / f"c2pa_{file}")
    second = finding.facts["second"]
    assert second["reader"]["name"] == "c2pa-python"
    assert state_and_codes(second) == expected(file, "c2pa-python 0.38.1")
    is_told = "; but by c2pa-python: " in str(finding)
    assert is_told == (file in DIFFERENCES)
    if is_told:
        assert (finding.facts["state"], second["state"]) == DIFFERENCES[file]


def test_an_address_is_named_with_its_host(golden):
    words = str(reader("c2pa")(golden / "c2pa_remote.mp3"))
    assert words.endswith("names Content Credentials at 127.0.0.1:9; not fetched")


def test_lists_that_only_one_has_are_no_difference(golden):
    words = str(reader("c2pa", golden / "c2pa_root.pem")(golden / "c2pa_signed.wav"))
    assert "but by" not in words
