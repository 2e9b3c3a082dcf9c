"""The store of enrolled people: a folder with two files for each person, and no audio."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from functools import cached_property
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load, save

from nes2net.lib.errors import InputError, check_known, expecting, refuse, short_repr
from nes2net.lib.output.progress import ProgressDisplay
from nes2net.lib.storage.files import AnyPath, is_absent, path_below, read_bounded, replacing, writing, writing_folder
from nes2net.lib.storage.plain_data import NotNegative, StrictModel, read_json_as
from nes2net.models.speakers import EncoderIdentity
from nes2net.models.speakers.base import Digest

_MAX_PEOPLE = 100_000
_MAX_BYTES = 1 << 26  # of a file
_NAME = re.compile(r'(?!\s)[^/\\:*?"<>|.]{1,60}(?<!\s)')
_TOLERANCE = 1e-3  # of the length of a vector
_REMEDY = "restore the file, or forget this person and enrol again"


class EnrolledRecording(StrictModel):
    """Facts about a recording of a person."""

    sha256: Digest
    """Of its samples, float32 at 16 kHz, to notice the same recording again."""
    seconds: NotNegative
    speech: NotNegative
    """Seconds of speech."""
    bandwidth: NotNegative
    """Hz above which there is next to no sound; below 4,300 after a telephone."""
    date: str
    """Of enrolment and consent, ISO 8601."""
    consent: str
    accepted: list[str]
    """Kinds of findings at enrolment that were accepted."""
    plain_weight: NotNegative | None = None
    """Of its embedding in a plain mean: the length as computed; None in a mean of embeddings of length 1."""


class PersonFile(StrictModel):
    """What ``NAME.json`` holds."""

    format: Literal[1]
    name: str
    encoder: EncoderIdentity
    recordings: list[EnrolledRecording]


class Person(NamedTuple):
    """An enrolled person."""

    facts: PersonFile
    vectors: NDArray
    """(1 + R, D) float32, of length 1: the model of the person, then the embedding of each recording."""


class PeopleStore:
    """Reads and changes the store in ``folder``.

    Args:
        encoder: whose embeddings are compared; None to read those of any encoder.

    Raises:
        InputError: in every method, if a file is damaged, a link, or of another encoder, or if a name
            cannot be that of a person.
    """

    def __init__(self, folder: AnyPath, encoder: EncoderIdentity | None = None) -> None:
        self.folder = Path(folder)
        self.encoder = encoder

    def names(self) -> list[str]:
        """List the enrolled people; nobody without a folder."""
        names = sorted(path.stem for path in self.folder.glob("*.json"))
        refuse((len(names) > _MAX_PEOPLE, f"{self.folder} holds more than {_MAX_PEOPLE:,} people: split it"))
        return names

    def read(self, name: str) -> Person:
        """Read a person, or raise :class:`InputError`, with near names if nobody has this one."""
        path, vector_path = self._find(name)
        facts = read_json_as(PersonFile, path, _MAX_BYTES, "a person in a known format", _REMEDY)
        if self.encoder not in (None, facts.encoder):
            raise InputError(
                f"{path}: was made with the speaker encoder ({facts.encoder}), not ({self.encoder}): use that `encoder`, "
                "or enrol again in another folder"
            )
        content = read_bounded(vector_path, _MAX_BYTES, _REMEDY)
        with expecting("a file of vectors", vector_path, _REMEDY):
            vectors = load(content)["vectors"]
            lengths = np.linalg.norm(vectors, axis=1)
            shape = (1 + len(facts.recordings), facts.encoder.dimension)
            fits = facts.name == name and vectors.shape == shape and vectors.dtype == np.float32
            if not fits or not abs(lengths - 1).max() < _TOLERANCE:  # NaN does not fit, either
                raise ValueError("expected their mean and a vector for each recording, float32 of length 1")
        return Person(facts, vectors)

    def find(self, name: str) -> Person | None:
        """Read a person; None if nobody has this name."""
        if is_absent(self._paths(name)[0]):
            return None
        return self.read(name)

    @cached_property
    def models(self) -> tuple[list[str], NDArray]:
        """All names, and models (N, D) to search for the nearest, read once."""
        names = self.names()
        people = ProgressDisplay(names, title=f"reading {self.folder}", unit="person")
        return names, np.array([self.read(name).vectors[0] for name in people])

    def add(self, name: str, recordings: Iterable[tuple[EnrolledRecording, NDArray]]) -> Person:
        """Enrol recordings with embeddings (D,) of :attr:`encoder`, beside earlier ones of this person.

        The model is the mean of all embeddings, divided by its length; it does not depend on the
        order. A plain mean is of all embeddings, or of none.
        """
        paths = self._paths(name)
        rows = list(recordings)
        with writing_folder(self.folder):
            for enrolled in self.names()[:1]:  # to compare the encoders
                self.read(enrolled)
            person = self.find(name)
            if person is not None:
                rows += zip(person.facts.recordings, person.vectors[1:])
            rows.sort(key=lambda row: row[0].sha256)
            enrolled_recordings, embeddings = zip(*rows)
            weights = [recording.plain_weight for recording in enrolled_recordings]
            refuse((None in weights and any(weights), f"{name}: all recordings need the same `mean`, unit or plain"))
            total = np.average(embeddings, 0, [weight or 1.0 for weight in weights])
            vectors = np.vstack([total / np.linalg.norm(total), *embeddings]).astype(np.float32)
            facts = PersonFile(format=1, name=name, encoder=self.encoder, recordings=list(enrolled_recordings))  # type: ignore[arg-type]
            for path, content in zip(paths, (facts.model_dump_json().encode(), save({"vectors": vectors}))):
                with writing(path), replacing(path, durable=True, mode=0o600) as temporary:
                    temporary.write_bytes(content)
        return Person(facts, vectors)

    def forget(self, name: str) -> list[Path]:
        """Remove the files of a person, even damaged ones, and list them."""
        with writing_folder(self.folder):
            paths = self._find(name)
            for path in reversed(paths):
                path.unlink(missing_ok=True)
        return paths

    def _find(self, name: str) -> list[Path]:
        paths = self._paths(name)
        if is_absent(paths[0]):
            check_known([name], self.names(), f"{self.folder}: there is no person")
        return paths

    def _paths(self, name: str) -> list[Path]:
        """The files of facts and of vectors; the former lists the person: it is written first and removed last."""
        if not (_NAME.fullmatch(name) and name.isprintable() and unicodedata.is_normalized("NFKC", name)):
            raise InputError(
                f"no person can have the name {short_repr(name)}: use up to 60 letters, digits, spaces, '-' and '_', in "
                "the Unicode form NFKC"
            )
        return [path_below(self.folder, f"{name}{suffix}") for suffix in (".json", ".safetensors")]


def cosines_to_others(embeddings: NDArray) -> NDArray:
    """Compute the cosine of each embedding (R, D) of a person to the mean of the others, (R,); R ≥ 2."""
    others = embeddings.sum(0) - embeddings
    return (embeddings * others).sum(1) / np.linalg.norm(others, axis=1)  # type: ignore[no-any-return]
