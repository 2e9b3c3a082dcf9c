"""Read Content Credentials (C2PA) without any request to the network.

A manifest may be hostile: its texts are cut, and only some fields of the report about it are kept. Its
reader is compiled, so it runs in a thread with a time limit.
"""

from __future__ import annotations

import os
from importlib.metadata import version
from pathlib import Path
from queue import Empty, SimpleQueue
from threading import Thread
from typing import Any, TypeAlias

from nes2net.apps.marks.finding import mark, original
from nes2net.data.audio.packed import fetch, open_recording
from nes2net.lib.errors import InputError, first_line
from nes2net.lib.process.installation import optional
from nes2net.lib.storage.files import read_bounded
from nes2net.scoring.marks import Mark
from nes2net.scoring.waveforms import RecordingToJudge

_Facts: TypeAlias = dict[str, Any]

_PACKAGE = "encypher-c2pa"
_MAX_BYTES = 128 << 20
_MAX_SECONDS = 5.0  # an assumption
_MAX_TEXT = 200  # characters
_MAX_CODES = 20
#: First bytes, or those behind the size of a box, → MIME type.
_MIMES = {b"RIFF": "audio/wav", b"fLaC": "audio/flac", b"ftyp": "audio/mp4"}
#: Values of IPTC's digital source type → what they claim.
_CLAIMS = {
    "trainedAlgorithmicMedia": "ai",
    "compositeWithTrainedAlgorithmicMedia": "ai",
    "compositeSynthetic": "ai",
    "algorithmicMedia": "ai",
    "digitalCapture": "recording",
    "computationalCapture": "recording",
}
_CREATING = ("c2pa.created", "c2pa.opened")
#: Fact → its name in a manifest, in what says who signed or what made it.
_TEXTS = {"title": "title", "issuer": "issuer", "common_name": "common_name", "signed_at": "time", "generator": "name"}
#: State in a report → state of the mark, if there is a manifest.
_STATES = {"Trusted": "trusted", "Valid": "untrusted", "Invalid": "broken"}
# Version of the package → date of its trust lists.
_LISTS = {"1.7.1": "2026-09-24"}
_WORDS = {
    "not_found": "no Content Credentials; says nothing",
    "unreadable": "Content Credentials unreadable: {reason}",
    "remote": "names Content Credentials at {host}; not fetched",
    "broken": "Content Credentials broken: {failures}; the file was changed after signing; says nothing of the audio",
    "untrusted": 'Content Credentials: signed by someone who calls himself "{issuer}"; nobody vouches for that',
    "trusted": 'Content Credentials: signed by "{issuer}" (trusted by {lists})',
}
_CLAIM_WORDS = {
    "ai": '; claims to be made by AI, wholly or in part; unchanged since; title "{title}"',
    "recording": '; claims to be a recording; unchanged since; title "{title}"',
    "other": '; its source type is {source_type}; unchanged since; title "{title}"',
}


class ContentCredentials:
    """Reads Content Credentials; evidence.

    Args:
        argument: file of certificates (PEM) to trust as well; empty for none.

    Raises:
        MissingLibrary: if encypher-c2pa is not installed.
        InputError: if the file holds no certificate.
    """

    def __init__(self, detector: Any, argument: str) -> None:
        self.library = optional("encypher_c2pa", f"Content Credentials need {_PACKAGE}", "marks")
        self.trusted = None
        if argument:
            self.trusted = read_bounded(argument, 1 << 20).decode("ascii", "replace")
            if "BEGIN CERTIFICATE" not in self.trusted:
                raise InputError(f"{argument}: holds no certificate: give a file of certificates in PEM")
        release = version(_PACKAGE)
        lists = f"{Path(argument).name} or {_PACKAGE}".removeprefix(" or ")
        self.facts = {
            "kind": "c2pa",
            "reader": {"name": _PACKAGE, "version": release},
            "trust_list": {"name": lists, "date": _LISTS.get(release)},
        }

    def __call__(self, recording: RecordingToJudge) -> list[Mark]:
        with open_recording(fetch(original(recording))) as file:
            content = file.read(_MAX_BYTES + 1)
        if len(content) > _MAX_BYTES:
            raise InputError(f"not read: larger than {_MAX_BYTES >> 20} MiB")
        results: SimpleQueue[_Facts] = SimpleQueue()
        Thread(target=lambda: results.put(self._read(content)), daemon=True).start()
        try:
            facts = self.facts | results.get(timeout=_MAX_SECONDS)
        except Empty:
            raise InputError(f"not read: took longer than {_MAX_SECONDS:g} s") from None
        return mark(_in_words(facts), **facts)

    def _read(self, content: bytes) -> _Facts:
        for variable in ("ENCYPHER_C2PA_ONLINE", "ENCYPHER_C2PA_TELEMETRY"):
            os.environ.pop(variable, None)  # either would open connections
        mime = _MIMES.get(content[:4]) or _MIMES.get(content[4:8], "audio/mpeg")
        try:
            # `telemetry=False` would write a file into the user's configuration.
            report = self.library.verify(content, mime, online=False, trust_pem=self.trusted)
            return _facts_of(report["manifest_report"])
        except BaseException as error:  # also a panic of compiled code
            return {"state": "unreadable", "reason": first_line(error)[:_MAX_TEXT]}


def _facts_of(report: _Facts) -> _Facts:
    """Choose what is kept; a manifest of another shape raises any error."""
    if report["validation_state"] == "None":
        return {"state": "not_found"}
    failures = report["validation_results"]["activeManifest"]["failure"]
    # That nobody vouches for the signer is a state.
    codes = [failure["code"][:_MAX_TEXT] for failure in failures if failure["code"] != "signingCredential.untrusted"]
    manifest = report["manifests"].get(report["active_manifest"])
    facts: _Facts = {"codes": codes[:_MAX_CODES]}
    if manifest is None:
        state = "remote" if codes == ["manifest.inaccessible"] else "unreadable"
        return facts | {"state": state, "reason": failures[0].get("url", codes[0])[:_MAX_TEXT]}
    texts = manifest | manifest["signature_info"] | manifest.get("claim_generator_info", {})
    facts |= {fact: texts[name][:_MAX_TEXT] for fact, name in _TEXTS.items() if name in texts}
    facts["state"] = _STATES[report["validation_state"]]
    if facts["state"] == "broken":
        return facts
    for assertion in manifest["assertions"]:
        if assertion["label"].startswith("c2pa.actions"):
            for action in assertion["data"]["actions"]:
                if action["action"] in _CREATING and "digitalSourceType" in action:
                    facts["source_type"] = action["digitalSourceType"].rpartition("/")[2][:_MAX_TEXT]
    facts["claim"] = _CLAIMS.get(facts.get("source_type", ""), "other")
    return facts


def _in_words(facts: _Facts) -> str:
    values = {"issuer": None, "title": None, "source_type": "none", **facts}
    values["failures"] = ", ".join(facts.get("codes", ()))
    values["host"] = str(facts.get("reason")).partition("://")[2].partition("/")[0]
    values["lists"] = ", whose lists are of ".join(filter(None, facts["trust_list"].values()))
    template = _WORDS[facts["state"]]
    if "claim" in facts:
        template += _CLAIM_WORDS[facts["claim"]]
    return template.format(**values)
