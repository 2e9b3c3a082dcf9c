"""The reader of Content Credentials against c2pa-python, the reference implementation, where that is installed."""

import io
import json

import pytest
from builders.marks import CREDENTIALS, reader

c2pa = pytest.importorskip("c2pa", reason="c2pa-python is not installed")
pytest.importorskip("encypher_c2pa", reason="encypher-c2pa is not installed")

MIMES = {"wav": "audio/wav", "mp3": "audio/mpeg", "flac": "audio/flac", "m4a": "audio/mp4"}
STATES = {"Trusted": "trusted", "Valid": "untrusted", "Invalid": "broken"}
#: File → states of the reader and of c2pa-python, if they differ.
DIFFERENCES = {
    "remote.mp3": ("not_found", "remote"),
    "remote.flac": ("not_found", "remote"),
    "no_source_type.wav": ("untrusted", "broken"),
    "box_huge.wav": ("unreadable", "untrusted"),
    "box_zero.wav": ("untrusted", "unreadable"),
}


@pytest.fixture(scope="module")
def offline():
    """Settings of c2pa-python by which it opens no connection."""
    verify = {"remote_manifest_fetch": False, "ocsp_fetch": False}
    return c2pa.Context.from_dict({"verify": verify})


@pytest.fixture
def reference(offline):
    """A function that returns state and codes by c2pa-python."""

    def read(path):
        mime = MIMES[path.suffix[1:]]
        content = io.BytesIO(path.read_bytes())
        try:
            manifests = c2pa.Reader.try_create(mime, content, context=offline)
        except c2pa.C2paError as error:
            is_remote = str(error).startswith("Remote: ")
            return "remote" if is_remote else "unreadable", None
        if manifests is None:
            return "not_found", []
        report = json.loads(manifests.json())
        failures = report["validation_results"]["activeManifest"]["failure"]
        codes = [failure["code"] for failure in failures]
        if "signingCredential.untrusted" in codes:
            codes.remove("signingCredential.untrusted")
        return STATES[report["validation_state"]], codes

    return read


@pytest.mark.parametrize("file", CREDENTIALS)
def test_both_tell_the_same_state_and_codes_but_of_known_files(reference, golden, file):
    path = golden / f"c2pa_{file}"
    facts = reader("c2pa")(path).facts
    state, codes = reference(path)
    if file in DIFFERENCES:
        assert (facts["state"], state) == DIFFERENCES[file]
        return
    assert facts["state"] == state
    if codes is not None:
        assert (facts["codes"] or []) == codes
