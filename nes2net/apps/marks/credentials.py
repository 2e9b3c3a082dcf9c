"""Read Content Credentials (C2PA) without any request to the network.

A manifest may be hostile: its texts are cut, and only some fields of the report about it are kept. Its
readers are compiled, so they run in a thread with a time limit.
"""

from __future__ import annotations

import json
import os
from contextlib import suppress
from importlib import import_module
from importlib.metadata import version
from io import BytesIO
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
# Code, or beginning of an error, if the manifest is only at an address.
_REMOTE = ("manifest.inaccessible", "Remote: ")
# Version of encypher-c2pa → date of its trust lists; c2pa-python has none.
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


def _read_by_encypher(library: Any, content: bytes, mime: str, trusted: str | None) -> Any:
    for variable in ("ENCYPHER_C2PA_ONLINE", "ENCYPHER_C2PA_TELEMETRY"):
        os.environ.pop(variable, None)  # either would open connections
    # `telemetry=False` would write a file into the user's configuration.
    return library.verify(content, mime, online=False, trust_pem=trusted)["manifest_report"]


def _read_by_c2pa(library: Any, content: bytes, mime: str, trusted: str | None) -> Any:
    offline = {"remote_manifest_fetch": False, "ocsp_fetch": False}
    context = library.Context.from_dict({"verify": offline, "trust": {"trust_anchors": trusted}})
    reader = library.Reader.try_create(mime, BytesIO(content), context=context)
    return json.loads(reader.json() if reader else '{"validation_state": "None"}')


#: Package → its module, what makes a report in the form of c2pa-rs, and the package if it has trust lists.
_LIBRARIES = {
    "encypher-c2pa": ("encypher_c2pa", _read_by_encypher, "encypher-c2pa"),
    "c2pa-python": ("c2pa", _read_by_c2pa, ""),
}


class ContentCredentials:
    """Reads Content Credentials by each library that is installed; evidence.

    Args:
        argument: file of certificates (PEM) to trust as well; empty for none.

    Raises:
        MissingLibrary: if no library is installed.
        InputError: if the file holds no certificate.
    """

    def __init__(self, detector: Any, argument: str) -> None:
        self.trusted = None
        if argument:
            self.trusted = read_bounded(argument, 1 << 20).decode("ascii", "replace")
            if "BEGIN CERTIFICATE" not in self.trusted:
                raise InputError(f"{argument}: holds no certificate: give a file of certificates in PEM")
        self.readers = []  # a library, what reads by it, and facts about it
        for package, (module, read, owner) in _LIBRARIES.items():
            with suppress(ImportError, OSError):
                library = import_module(module)
                release = version(package)
                lists = " or ".join(filter(None, (Path(argument).name, owner)))
                facts = {
                    "kind": "c2pa",
                    "reader": {"name": package, "version": release},
                    "trust_list": {"name": lists, "date": _LISTS.get(release)},
                }
                self.readers.append((library, read, facts))
        if not self.readers:
            optional("encypher_c2pa", "Content Credentials need encypher-c2pa", "marks")

    def __call__(self, recording: RecordingToJudge) -> list[Mark]:
        with open_recording(fetch(original(recording))) as file:
            content = file.read(_MAX_BYTES + 1)
        if len(content) > _MAX_BYTES:
            raise InputError(f"not read: larger than {_MAX_BYTES >> 20} MiB")
        results: SimpleQueue[list[_Facts]] = SimpleQueue()
        Thread(target=lambda: results.put(self._read(content)), daemon=True).start()
        try:
            facts, *further_readings = results.get(timeout=_MAX_SECONDS)
        except Empty:
            raise InputError(f"not read: took longer than {_MAX_SECONDS:g} s") from None
        words = _in_words(facts)
        for reading in further_readings:
            states = {facts["state"], reading["state"]}
            if len(states) > 1 and states != {"trusted", "untrusted"}:  # whom they trust may differ
                words += f"; but by {reading['reader']['name']}: {_in_words(reading)}"
            facts["second"] = reading
        return mark(words, **facts)

    def _read(self, content: bytes) -> list[_Facts]:
        mime = _MIMES.get(content[:4]) or _MIMES.get(content[4:8], "audio/mpeg")
        readings = []
        for library, read, facts in self.readers:
            try:
                reading = _facts_of(read(library, content, mime, self.trusted))
            except BaseException as error:  # also a panic of compiled code
                reading = _without_manifest(first_line(error))
            readings.append(facts | reading)
        return readings


def _without_manifest(problem: str, reason: str = "") -> _Facts:
    state = "unreadable"
    if problem.startswith(_REMOTE):
        state = "remote"
    return {"state": state, "reason": (reason or problem)[:_MAX_TEXT]}


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
        return facts | _without_manifest(codes[0], failures[0].get("url"))
    generator = manifest.get("claim_generator_info") or {}
    if isinstance(generator, list):
        generator = generator[0]
    texts = manifest | manifest["signature_info"] | generator
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
