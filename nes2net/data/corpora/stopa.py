"""STOPA: trials of thirteen synthesis systems, which differ in acoustic model or vocoder."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from nes2net.data.corpora import protocol as files
from nes2net.data.corpora.layout import Files, ListedCorpus
from nes2net.data.corpora.trial import ENROLMENT_MODELS, SPOOF, Trial
from nes2net.lib.errors import InputError, short_repr
from nes2net.lib.storage.text_files import numbered_lines

_ENROLLED = ("AA01", "AA03", "AA05", "AA07", "AA10")


def _read_trials(path: Path, phase: str | None, audio: Path | None) -> Iterator[Trial]:
    lists = [path]
    folder = "eval"
    system_field = 4  # counted from 0; the lists of enrolment have another layout than that of the trials
    if path.is_dir():
        lists = [file for file in sorted(path.glob("AA*.txt")) if file.name.startswith(_ENROLLED)]
        folder = "dev"
        system_field = 3
    trials: dict[str, Trial] = {}
    models: dict[str, list[str]] = {}
    for file in lists:
        for line, text in list(numbered_lines(file))[1:]:
            row = text.split()
            if len(row) <= system_field:
                raise InputError(
                    f"{file}, line {line}: expected the file in field 2 and the system in field {system_field + 1}, found "
                    f"{short_repr(text)}; correct the line"
                )
            name = files.check_path(f"{row[system_field]}/{folder}/{row[1]}", file, line)
            id = files.id_of(name)
            recording = audio / name if audio is not None else None
            trials[id] = Trial(id, recording, SPOOF, attack=row[system_field], phase=phase)
            models.setdefault(id, []).append(file.stem)
    for id, trial in trials.items():
        if path.is_dir():
            trial = replace(trial, extra=((ENROLMENT_MODELS, " ".join(dict.fromkeys(models[id]))),))
        yield trial


CORPUS = ListedCorpus(
    title="STOPA",
    notes="""
    Firc et al., "STOPA: A Database of Systematic VariaTion Of DeePfake Audio for Open-Set Source
    Tracing and Attribution", Interspeech 2025.

    Layout: the list <root>/protocols_trials_extended/AA01-co-100_trials.txt, and the audio
    ATTACK/eval/FILE below <root>/wav or <root>. The list has a header. In each further line, white
    space separates the fields; the second field is the file, and the fifth is the system. All lists
    of trials hold the same recordings, so only this list is read. The lists AA*.txt in the folder
    protocols_fingerprint_extraction hold the recordings of the part enrolled. In these lists, the
    second field is the file, and the fourth is the system; the audio is in ATTACK/dev/FILE. All
    recordings of one list together enrol a model of one system. Only the lists of AA01, AA03, AA05,
    AA07 and AA10 are read. The field enrolment_models of a trial holds the names of the lists with
    its recording. The database's own programs read the lists in this way; we have not seen the
    lists. All trials are spoofed, and attack is the system, AA01 to AA13. We have not seen the
    training list, whose recordings are from ASVspoof 2019. To use the training list, write a list
    of your own (corpus generic).
    """,
    rows=_read_trials,
    parts={
        "enrolled": Files(
            protocols=("protocols_fingerprint_extraction",),
            audio=("wav", "."),
            folders=(".",),
            holds=("AA01",),
        ),
        "eval": Files(
            protocols=("AA01-co-100_trials.txt",),
            audio=("wav", "."),
            folders=("protocols_trials_extended", "."),
            holds=("AA01",),
        ),
    },
    obtain={
        "audio": "https://zenodo.org/records/15606628",
        "protocol": "the folder protocols_trials_extended in the same record",
    },
    licence="as stated on https://zenodo.org/records/15606628",
    source="https://zenodo.org/records/15606628",
)
