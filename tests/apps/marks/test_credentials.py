"""The reader of Content Credentials against encypher-c2pa, in ../shared/golden/marks/c2pa.json."""

import json

import numpy as np
import pytest
import soundfile
from builders import input_error
from builders.marks import CREDENTIALS, reader

from nes2net.apps.marks import credentials
from nes2net.data.audio.parts import RecordingBytes

#: Part of the name of a file → its state.
STATES = {
    "plain": "not_found",
    "signed": "untrusted",
    "tampered": "broken",
    "claim": "broken",
    "moved_manifest": "broken",
    "remote": "remote",
    "capture": "untrusted",
    "no_source_type": "untrusted",
    "box_huge": "unreadable",
    "box_short": "unreadable",
    "box_zero": "untrusted",
    "cut": "unreadable",
}
SUFFIXES = ["wav", "mp3", "flac", "m4a"]


@pytest.fixture
def read(golden):
    pytest.importorskip("encypher_c2pa", reason="encypher-c2pa is not installed")
    return reader("c2pa")


@pytest.fixture
def read_trusting(read, golden):
    """A reader that trusts the root of the signed files."""
    return reader("c2pa", golden / "c2pa_root.pem")


@pytest.mark.parametrize("file", CREDENTIALS)
def test_state_and_codes_are_those_of_the_library(read, golden, file):
    facts = read(golden / f"c2pa_{file}").facts
    is_missed = file in ("remote.mp3", "remote.flac")  # encypher-c2pa finds no address there
    assert facts["state"] == ("not_found" if is_missed else STATES[file.partition(".")[0]])
    expected = json.loads((golden / "c2pa.json").read_text())[f"c2pa_{file}"]["encypher-c2pa 1.7.1"]
    assert (facts["codes"] or []) == expected.get("failure", [])


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_signer_is_trusted_by_the_certificates_that_the_user_gives(read_trusting, golden, suffix):
    finding = read_trusting(golden / f"c2pa_signed.{suffix}")
    assert finding.facts["state"] == "trusted"
    assert finding.facts["trust_list"]["name"] == "c2pa_root.pem or encypher-c2pa"
    assert (
        'signed by "nes2net test, not trusted" (trusted by c2pa_root.pem or encypher-c2pa, whose lists are of '
        in str(finding)
    )


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_an_unknown_signer_is_named_and_the_claim_told(read, golden, suffix):
    finding = read(golden / f"c2pa_signed.{suffix}")
    assert finding.facts["issuer"] == "nes2net test, not trusted"
    assert finding.facts["common_name"] == "nes2net test signer"
    assert finding.facts["generator"] == "nes2net golden"
    assert finding.facts["claim"] == "ai"
    assert finding.facts["source_type"] == "trainedAlgorithmicMedia"
    words = 'signed by someone who calls himself "nes2net test, not trusted"; nobody vouches for that; claims to be made by AI'
    assert words in str(finding)


@pytest.mark.parametrize("file", ["tampered.wav", "claim.m4a", "moved_manifest.wav"])
def test_a_broken_manifest_claims_nothing(read_trusting, golden, file):
    finding = read_trusting(golden / f"c2pa_{file}")
    assert finding.facts["state"] == "broken"
    assert finding.facts["claim"] is None
    assert f"broken: {finding.facts['codes'][0]}; the file was changed after signing" in str(finding)


def test_no_manifest_says_nothing(read, golden):
    assert str(read(golden / "c2pa_plain.wav")) == "mark: no Content Credentials; says nothing"


def test_an_address_is_named_but_not_fetched(read, golden):
    finding = read(golden / "c2pa_remote.wav")
    assert str(finding) == "mark: names Content Credentials at 127.0.0.1:9; not fetched"
    assert finding.facts["reason"] == "http://127.0.0.1:9/x.c2pa"


def test_a_capture_claims_to_be_a_recording(read, golden):
    finding = read(golden / "c2pa_capture.wav")
    assert finding.facts["claim"] == "recording"
    assert "claims to be a recording" in str(finding)


def test_a_manifest_without_source_type_claims_something_else(read, golden):
    finding = read(golden / "c2pa_no_source_type.wav")
    assert finding.facts["claim"] == "other"
    assert "its source type is none" in str(finding)


def test_the_format_is_told_by_the_content_not_the_name(read, golden, tmp_path):
    (tmp_path / "a.wav").write_bytes((golden / "c2pa_signed.mp3").read_bytes())
    assert read(tmp_path / "a.wav").facts["state"] == "untrusted"


def test_the_original_bytes_in_memory_are_read(read, golden):
    content = (golden / "c2pa_signed.flac").read_bytes()
    assert read(RecordingBytes("row 3", content, ".flac")).facts["state"] == "untrusted"


@pytest.mark.parametrize("format", ["OGG", "AIFF", "MP3"])
def test_other_formats_have_no_manifest(read, format, tmp_path):
    soundfile.write(tmp_path / "a", np.zeros(8000), 16000, format=format)
    assert read(tmp_path / "a").facts["state"] == "not_found"


def test_samples_have_no_manifest_to_read(read):
    with input_error("not read: samples only"):
        read(np.zeros(16000, np.float32), 16000)


def test_a_file_above_the_limit_is_not_read(read, golden, monkeypatch):
    path = golden / "c2pa_signed.wav"
    monkeypatch.setattr(credentials, "_MAX_BYTES", path.stat().st_size - 1)
    with input_error("not read: larger than 0 MiB"):
        read(path)


def test_a_reading_that_takes_too_long_is_given_up(read, golden, tmp_path, monkeypatch):
    (tmp_path / "a.flac").write_bytes((golden / "c2pa_signed.flac").read_bytes() + bytes(50_000_000))
    monkeypatch.setattr(credentials, "_MAX_SECONDS", 0.001)
    with input_error("not read: took longer than 0.001 s"):
        read(tmp_path / "a.flac")


@pytest.mark.parametrize("text", ["", "-----BEGIN PRIVATE KEY-----"])
def test_a_file_without_certificates_is_refused(read, text, tmp_path):
    (tmp_path / "a.pem").write_text(text)
    with input_error(r"a\.pem: holds no certificate: give a file of certificates in PEM"):
        reader("c2pa", tmp_path / "a.pem")
