"""PartialEdit: recordings of VCTK in which neural speech editing replaced one to three words."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from nes2net.data.corpora import protocol as files
from nes2net.data.corpora.corpus import Download
from nes2net.data.corpora.layout import Files
from nes2net.data.corpora.segment_lists import LabelledUtterance, SegmentListCorpus
from nes2net.data.corpora.trial import SPOOF, Trial
from nes2net.lib.errors import InputError, short_repr
from nes2net.lib.storage.text_files import numbered_lines
from nes2net.metrics.localisation.label_files import parse_seconds
from nes2net.metrics.localisation.segments import Segment


def _read_utterances(path: Path) -> Iterator[LabelledUtterance]:
    for line, text in numbered_lines(path):
        file, *times = text.split(",")
        if len(times) < 3 or len(times) % 2 == 0:
            raise InputError(
                f"{path}, line {line}: expected a file, start and end of each region, and the duration, found "
                f"{short_repr(text)}; correct the line"
            )
        recording = files.check_path(file, path, line)
        if len(recording.parts) != 3:
            raise InputError(
                f"{path}, line {line}: expected a file SUBSET/SPEAKER/NAME.wav, found {short_repr(file)}; correct the line"
            )
        attack, speaker, _ = recording.parts
        *edges, duration = (parse_seconds(time, path, line, "time") for time in times)
        segments = [Segment(SPOOF, start, end) for start, end in zip(edges[::2], edges[1::2])]
        trial = Trial(files.id_of(recording), label=SPOOF, speaker=speaker, attack=attack)
        yield LabelledUtterance(trial, file, duration, segments)


CORPUS = SegmentListCorpus(
    title="PartialEdit",
    notes="""
    Zhang et al., "PartialEdit: Identifying Partial Deepfakes in the Era of Neural Speech Editing",
    Interspeech 2025.

    Layout of edition 1.1: the list <root>/PartialEdit_E1E2.csv, without a header, and the files in
    <root>/E1/SPEAKER and <root>/E2/SPEAKER. A row has a file below <root>, the start and the end of
    each edited region in seconds, and the duration of the recording. Time between regions is bona
    fide. The attack is E1 (VoiceCraft) or E2 (SSR-Speech). E3 and E4 are not published.

    All trials are spoofed and belong to eval. So frames can be evaluated, but not whole utterances.
    To evaluate whole utterances, add the originals of VCTK in a list of your own (corpus generic).
    Two things are not read: the official parts by speaker (PartialEdit_spk.zip), whose format we
    have not seen, and the folders E1-Codec and E2-Codec, in which whole recordings went through a
    codec.
    """,
    utterances=_read_utterances,
    uncovered="bonafide",
    parts={
        "eval": Files(
            protocols=("PartialEdit_E1E2.csv",),
            audio=(".",),
            holds=("E1", "E2"),
        )
    },
    obtain={
        "audio": "E1.tar.gz and E2.tar.gz from https://zenodo.org/records/18829689, unpacked into one folder",
        "protocol": "PartialEdit_E1E2.csv in the same record",
    },
    downloads=(
        Download(
            "https://zenodo.org/records/18829689/files/PartialEdit_E1E2.csv",
            "the list",
            digests={"md5": "3ff74c4e5cab69013d1d9c4a30f59cae"},
        ),
        Download(
            "https://zenodo.org/records/18829689/files/E1.tar.gz",
            "recordings edited by VoiceCraft",
            digests={"md5": "1f489d2ff488ddd6c9b655127725af2f"},
        ),
        Download(
            "https://zenodo.org/records/18829689/files/E2.tar.gz",
            "recordings edited by SSR-Speech",
            digests={"md5": "0e2cb7ba075b301de55ab8657cfa7631"},
        ),
    ),
    licence="CC BY 4.0",
    source="https://arxiv.org/abs/2506.02958",
)
