"""`nes2net enrol`: enrol people with recordings of their voices, list, show and forget them."""

from __future__ import annotations

from collections.abc import Sequence

from nes2net.lib.errors import check_setting
from nes2net.lib.output.terminal import print_output, say
from nes2net.lib.shell.commands import Folder, command_facts

_BIOMETRIC = "Embeddings of a voice are biometric data of this person. They are stored without audio."


def add(
    store: Folder,
    name: str,
    files: Sequence[str],
    *,
    consent: str,
    encoder: str = "resnet34_lm",
) -> None:
    """Enrol a person, or add recordings to an enrolled one.

    Example:
        nes2net enrol add people anna 1.wav 2.wav 3.wav --consent "form 12"

    Args:
        store: folder of enrolled people
        name: name of the person
        files: recordings of this person alone, or folders of them
        consent: how the person has agreed, such as a reference to the signed form
        encoder: speaker encoder, or {name: NAME, OPTION: VALUE}; one for all people of a store
    """
    from nes2net.apps.enrolment.recordings import examine
    from nes2net.lib.parts.options import name_and_options
    from nes2net.lib.storage.yaml_text import read_value
    from nes2net.models.speakers import create_speaker_encoder
    from nes2net.scoring.people import PeopleStore

    check_setting("consent", consent, bool(consent.strip()), "how the person has agreed")
    kind, options = name_and_options({"encoder": read_value(encoder, None, "`encoder`")}, "encoder")
    speaker_encoder = create_speaker_encoder(kind, **options)
    people = PeopleStore(store, speaker_encoder.identity)
    person = people.add(name, examine(files, speaker_encoder, consent))
    say(f"{name} is enrolled; recordings: {len(person.facts.recordings)}")


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


@command_facts(subcommands=(add, list_, show, forget))
def enrol() -> None:
    """Enrol people with recordings of their voices, list, show and forget them.

    Example:
        nes2net enrol add people anna 1.wav 2.wav 3.wav --consent "form 12"
        nes2net enrol show people anna
    """
