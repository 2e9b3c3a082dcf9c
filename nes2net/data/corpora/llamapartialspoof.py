"""LlamaPartialSpoof: LibriTTS with words or whole sentences replaced by six voice-cloning systems."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from nes2net.data.corpora import protocol as files
from nes2net.data.corpora.corpus import Counts, Download
from nes2net.data.corpora.layout import Files
from nes2net.data.corpora.segment_lists import LabelledUtterance, SegmentListCorpus
from nes2net.data.corpora.trial import SPOOF, Trial
from nes2net.lib.errors import InputError, short_repr
from nes2net.lib.storage.text_files import numbered_lines
from nes2net.metrics.localisation.label_files import parse_seconds, parse_segment


def _read_utterances(path: Path) -> Iterator[LabelledUtterance]:
    for line, text in numbered_lines(path):
        row = text.split()
        if len(row) < 4:
            raise InputError(
                f"{path}, line {line}: expected id, duration, label and segments, found {short_repr(text)}; correct the line"
            )
        id = files.check_id(row[0], path, line)
        label = files.look_up_word(row[2], files.ASVSPOOF_LABELS, "label", path, line)
        # The id states the speaker and, for a spoofed utterance, the system and the kind of spoofing.
        kind, *levels = id.split("_")
        speaker = attack = attack_type = None
        if levels:
            speaker = levels[0]
        if label == SPOOF and kind.count("-") > 1:
            _, attack, attack_type = kind.split("-", 2)
        # A segment is START-END-LABEL.
        segments = []
        for word in row[3:]:
            start, _, word = word.partition("-")
            end, _, segment_label = word.partition("-")
            files.look_up_word(segment_label, files.ASVSPOOF_LABELS, "label of a segment", path, line)
            segments.append(parse_segment(path, line, start, end, segment_label))
        trial = Trial(id, label=label, speaker=speaker, attack=attack, attack_type=attack_type)
        yield LabelledUtterance(trial, f"{id}.wav", parse_seconds(row[1], path, line, "duration"), segments)


CORPUS = SegmentListCorpus(
    title="LlamaPartialSpoof",
    notes="""
    Luong et al., "LlamaPartialSpoof: An LLM-Driven Fake Speech Dataset Simulating Disinformation
    Generation", ICASSP 2025.

    Layout: the lists <root>/label_R01TTS.0.{a,b}.txt, and the files <root>/R01TTS.0.{a,b}/ID.wav. A
    line of a list has an id, the duration in seconds, bonafide or spoof, and the segments that
    cover the utterance, each START-END-bonafide or START-END-spoof. List a has the bona fide, the
    fully fake and the crossfaded utterances. List b has utterances whose parts were joined by
    cutting or overlapping.

    The id of a bona fide trial is dev-clean_SPEAKER_…. The id of a spoofed trial is
    dev01-SYSTEM-full_SPEAKER_… or dev01-SYSTEM-partial-cf_SPEAKER_…. The attack of a spoofed trial
    is the system, and its attack_type is full or partial-cf. The corpus is for evaluation alone, so
    all trials belong to eval. The layout was inferred from other people's programs, not from the
    corpus.
    """,
    utterances=_read_utterances,
    folders_of=lambda stem: (stem.removeprefix("label_"),),
    parts={
        "eval": Files(
            protocols=("label_R01TTS.0.a.txt", "label_R01TTS.0.b.txt"),
            together=True,
            audio=(".",),
            holds=("R01TTS.0.a", "R01TTS.0.b"),
        )
    },
    counts={"eval": Counts(140616)},
    counts_from="the lines of both lists, as others counted them",
    obtain={
        "audio": "R01TTS.0.a.tgz and R01TTS.0.b.tgz from https://zenodo.org/records/14214149, unpacked into one folder",
        "protocol": "label_R01TTS.0.a.txt and label_R01TTS.0.b.txt in the same record",
    },
    downloads=(Download("https://zenodo.org/records/14214149", "audio and labels"),),
    licence="CC BY 4.0",
    source="https://arxiv.org/abs/2409.14743",
)
