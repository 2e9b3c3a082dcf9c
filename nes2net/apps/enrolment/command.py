"""`nes2net enrol`: enrol people with recordings of their voices, list, show, check and forget them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Annotated, Literal

from nes2net.actions.flags import CorpusName, Loading, ModelName
from nes2net.data.registry import corpora
from nes2net.lib.errors import InputError, check_setting
from nes2net.lib.output.findings import listing
from nes2net.lib.output.terminal import print_note, print_output, say
from nes2net.lib.parts.conditions import UsedWith
from nes2net.lib.shell.command_line import FOUND
from nes2net.lib.shell.commands import File, Folder, command_facts

if TYPE_CHECKING:
    from nes2net.apps.enrolment.recordings import Examined
    from nes2net.models.speakers import SpeakerEncoder
    from nes2net.scoring.judging import Judge
    from nes2net.scoring.people import PeopleStore

_BIOMETRIC = "Embeddings of a voice are biometric data of this person. They are stored without audio."
_FEW = 3  # recordings
Kind = Literal[
    "unfit", "clipped", "quiet", "narrow", "short", "too_little", "same_audio", "unlike", "two_people", "fake"
]
Mean = Literal["unit", "plain"]


@dataclass(frozen=True)
class Examining:
    """What examines the recordings.

    Args:
        encoder: speaker encoder, or {name: NAME, OPTION: VALUE}; one for all people of a store
        detector: a detector of fakes
        calibration: of the detector, written by nes2net calibrate --save FILE
    """

    encoder: str = "resnet34_lm"
    detector: Annotated[ModelName | None, UsedWith("calibration")] = None
    calibration: Annotated[File | None, UsedWith("detector")] = None

    @cached_property
    def speaker_encoder(self) -> SpeakerEncoder:
        from nes2net.models.registry import speaker_encoder_of

        return speaker_encoder_of(self.encoder)

    @cached_property
    def judge(self) -> Judge[float] | None:
        """What decides whether a recording is a fake, if anything."""
        from nes2net.scoring.decisions.calibration import load
        from nes2net.scoring.decisions.decision import Decider
        from nes2net.scoring.judging import Judge

        if self.detector is None or self.calibration is None:
            return None
        return Judge(Loading().scorer(self.detector), decider=Decider(load(self.calibration)))

    def examine(
        self, store: str, name: str, files: Sequence[str], consent: str = "", mean: Mean = "unit"
    ) -> tuple[PeopleStore, list[Examined]]:
        """Examine recordings of the person ``name``, who may be new."""
        from nes2net.apps.enrolment.recordings import compare, examine
        from nes2net.scoring.people import PeopleStore

        encoder = self.speaker_encoder
        people = PeopleStore(store, encoder.identity)
        enrolled = people.find(name)
        examined = examine(files, encoder, consent, mean, self.judge)
        compare(examined, enrolled, encoder.same_voice)
        return people, examined


def add(
    store: Folder,
    name: str,
    files: Sequence[str],
    *,
    consent: str,
    accept: Sequence[Kind] = (),
    mean: Mean = "unit",
    examining: Examining,
) -> int:
    """Enrol a person, or add recordings to an enrolled one, unless something speaks against it.

    Example:
        nes2net enrol add people anna 1.wav 2.wav 3.wav --consent "form 12"

    Args:
        store: folder of enrolled people
        name: name of the person
        files: recordings of this person alone, or folders of them
        consent: how the person has agreed, such as a reference to the signed form
        accept: enrol despite these findings
        mean: of embeddings of length 1, or as computed (plain)
    """
    check_setting("consent", consent, bool(consent.strip()), "how the person has agreed")
    people, examined = examining.examine(store, name, files, consent, mean)
    findings = []
    for recording in examined:
        findings.extend(recording.findings(accept))
    if findings:
        say("nothing is enrolled, because of these findings:", *listing(findings))
        return FOUND
    if people.find(name) is None and all(recording.problems.get("fake") for recording in examined):
        raise InputError("all recordings may be fakes, so nobody is enrolled: use others")
    person = people.add(name, [(recording.facts, recording.embedding) for recording in examined])
    number = len(person.facts.recordings)
    say(f"{name} is enrolled; recordings: {number}")
    if number < _FEW:
        print_note(f"add recordings, best of other days: fewer than {_FEW} tell little of a voice")
    return 0


def corpus(
    store: Folder,
    name: CorpusName,
    root: str,
    *,
    split: str = "eval",
    protocols: Folder | None = None,
    consent: str,
    accept: Sequence[Kind] = (),
    mean: Mean = "unit",
    examining: Examining,
) -> int:
    """Enrol each person of a corpus as `add` does: by its lists of enrolment, else each speaker of a list.

    Example:
        nes2net enrol corpus people asvspoof2019_la_sasv LA --consent "ODC-By 1.0"

    Args:
        store: folder of enrolled people
        root: corpus folder, or a list for the corpus generic
        split: train, dev or eval
        protocols: protocol folder; searched for in root if not given
        consent: how all these people have agreed, such as the licence of the corpus
        accept: enrol despite these findings
        mean: of embeddings of length 1, or as computed (plain)
    """
    people = corpora.get(name).enrolment(root, split, protocols=protocols)
    statuses = []
    for person, recordings in people.items():
        files = list(map(str, recordings))
        statuses.append(add(store, person, files, consent=consent, accept=accept, mean=mean, examining=examining))
    return max(statuses)


def check(store: Folder, name: str, files: Sequence[str], *, examining: Examining) -> int:
    """Check recordings as `add` does, and compare them with an enrolled person, without enrolling them.

    Example:
        nes2net enrol check people anna 4.wav

    Args:
        store: folder of enrolled people
        name: name of the person
        files: recordings, or folders of them
    """
    people, examined = examining.examine(store, name, files)
    model, *_ = people.read(name).vectors
    for recording in examined:
        say(f"{recording.path}: cosine {recording.embedding @ model:.3f} to {name}", *listing(recording.findings()))
    return FOUND if any(recording.findings() for recording in examined) else 0


def list_(store: Folder) -> None:
    """List the enrolled people.

    Example:
        nes2net enrol list people

    Args:
        store: folder of enrolled people
    """
    from nes2net.scoring.people import PeopleStore

    say(*PeopleStore(store).names())


def show(store: Folder, name: str) -> None:
    """Show what is stored of a person.

    Example:
        nes2net enrol show people anna

    Args:
        store: folder of enrolled people
        name: name of the person
    """
    from nes2net.lib.output.sheet import Sheet
    from nes2net.scoring.people import PeopleStore

    facts = PeopleStore(store).read(name).facts.model_dump()
    recordings = facts.pop("recordings")
    print_output(Sheet(name, facts, _BIOMETRIC, {"recordings": recordings}).text())


def forget(store: Folder, name: str) -> None:
    """Remove all that is stored of a person.

    Example:
        nes2net enrol forget people anna

    Args:
        store: folder of enrolled people
        name: name of the person
    """
    from nes2net.scoring.people import PeopleStore

    say("removed:", *PeopleStore(store).forget(name), "Remove copies and backups of these files yourself.")


@command_facts(subcommands=(add, corpus, check, list_, show, forget))
def enrol() -> None:
    """Enrol people with recordings of their voices, check, list, show and forget them.

    Example:
        nes2net enrol add people anna 1.wav 2.wav 3.wav --consent "form 12"
        nes2net enrol show people anna
    """
