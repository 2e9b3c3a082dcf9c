"""Corpora whose trial is a claim: a recording, and the enrolled person who is said to speak.

See :func:`nes2net.data.corpora.trial.as_claim`; the id of a trial is ``PERSON:RECORDING``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from nes2net.data.corpora import protocol as files
from nes2net.data.corpora.corpus import Counts
from nes2net.data.corpora.layout import Columns, Files, ListedCorpus
from nes2net.data.corpora.trial import CLAIMS, SPOOF, Trial, as_claim
from nes2net.lib.errors import at_line, refuse
from nes2net.lib.storage.text_files import read_rows
from nes2net.metrics.tdcf import ASVSPOOF5_WEIGHTS

_NO_ATTACK = {"attack": {"bonafide": None}}

ASVSPOOF2019_LA = ListedCorpus(
    title="ASVspoof 2019 LA, claims of SASV 2022",
    notes="""
    Jung et al., "SASV 2022: The First Spoofing-Aware Speaker Verification Challenge", Interspeech
    2022.

    Layout: that of asvspoof2019_la, with the lists of speaker verification of both genders. A line
    has four fields: claimed speaker, utterance, bonafide or attack, and target, nontarget or spoof.
    dev has 1,484 targets, 5,768 nontargets and 22,296 spoofed trials of 10 speakers; eval has
    5,370, 33,327 and 63,882 of 48.
    """,
    rows=Columns("speaker, utterance, attack, claim", words=_NO_ATTACK),
    below=(".", "LA"),
    parts={
        split: Files(
            protocols=(f"ASVspoof2019.LA.asv.{split}.gi.trl.txt",),
            folders=("ASVspoof2019_LA_asv_protocols", "."),
            audio=(f"ASVspoof2019_LA_{split}/flac",),
            enrolment=tuple(f"ASVspoof2019.LA.asv.{split}.{gender}.trn.txt" for gender in ("female", "male")),
        )
        for split in ("dev", "eval")
    },
    counts={
        "dev": Counts(29548, 7252, 22296, {"attack": {f"A{n:02}": 3716 for n in range(1, 7)}}),
        "eval": Counts(102579, 38697, 63882, {"attack": {f"A{n:02}": 4914 for n in range(7, 20)}}),
    },
    licence="ODC-By 1.0",
    source="https://arxiv.org/abs/2203.14732",
    obtain={
        "audio": "LA.zip from https://datashare.ed.ac.uk/handle/10283/3336",
        "protocol": "ASVspoof2019_LA_asv_protocols in LA.zip from https://datashare.ed.ac.uk/handle/10283/3336",
    },
)


def _text_of_track_2(a_dcf: float, t_eer: float | None = None, min_tdcf: float | None = None) -> str:
    """Write what the evaluation package of ASVspoof 5 prints, without t-EER and min t-DCF in the mode ``t2_single``."""
    head = f"\nSASV RESULT\n\ta-DCF\t\t= {a_dcf:8.9f}\n"
    summary = f"-eval_adcf: {a_dcf:.5f}\n"
    if t_eer is None or min_tdcf is None:
        return f"{head}# Track 2 (Single) Result: \n\n{summary}\n"
    return (
        f"{head}\tt-EER\t\t= {100 * t_eer:8.9f}\n\tmin-tDCF\t\t= {min_tdcf:8.9f}\n# Track 2 Result: \n\n{summary}"
        f"-eval_tdcf: {min_tdcf:.5f}\n-eval_teer (%): {100 * t_eer:.3f}\n\n"
    )


ASVSPOOF5 = ListedCorpus(
    title="ASVspoof 5, track 2",
    notes="""
    Wang et al., "ASVspoof 5: Crowdsourced speech data, deepfakes, and adversarial attacks at
    scale", 2024.

    Layout: that of asvspoof5, with a list of trials per split. A line has five fields, separated by
    spaces despite the suffix .tsv: claimed speaker, utterance, gender, bonafide or attack, and
    target, nontarget or spoof. dev has 282,456 trials, eval 834,536.
    """,
    rows=Columns("speaker, utterance, gender, attack, claim", words=_NO_ATTACK),
    parts={
        split: Files(
            (f"ASVspoof5.{split}.track_2.trial.tsv",),
            folders,
            (".", "ASVspoof5_protocols", "protocols"),
            enrolment=(f"ASVspoof5.{split}.track_2.enroll.tsv",),
        )
        for split, folders in {"dev": ("flac_D",), "eval": ("flac_E_eval", "flac_E")}.items()
    },
    tandem_weights=ASVSPOOF5_WEIGHTS,
    official_text=_text_of_track_2,
    counts={"dev": Counts(282456), "eval": Counts(834536)},
    licence="see LICENSE.txt beside the archives",
    source="https://arxiv.org/abs/2408.08739",
    obtain={
        "audio": "the flac_*.tar archives of https://zenodo.org/records/14498691, unpacked into one folder",
        "protocol": "ASVspoof5_protocols.tar.gz from https://zenodo.org/records/14498691",
    },
)


def _rows_of_spoofceleb(path: Path, phase: str | None, audio: Path | None) -> Iterator[Trial]:
    for line, row in files.read_csv(path):
        if line == 1 and row[-1] not in CLAIMS:  # some copies have a header
            continue
        refuse((len(row) != 3, f"{path}, line {line}: expected enrolment, file and claim, found {','.join(row)}"))
        enrolment, name, claim = row
        person = files.id_of(files.check_path(enrolment, path, line))  # a speaker, or a recording in place of one
        file = files.check_path(name, path, line)
        attack = file.parts[0] if claim == SPOOF else None  # ATTACK/SPEAKER/NAME.flac
        recording = audio and audio / file
        trial = Trial(files.id_of(file), recording, speaker=person, attack=attack, phase=phase, claim=claim)
        with at_line(path, line):
            trial = as_claim(trial)
        yield trial


SPOOFCELEB = ListedCorpus(
    title="SpoofCeleb, claims",
    notes="""
    Jung et al., "SpoofCeleb: Speech Deepfake Detection and SASV In The Wild", IEEE Open Journal of
    Signal Processing 6, 2025.

    Layout: that of spoofceleb, with <root>/protocol/sasv_development_evaluation_protocol.csv and
    sasv_evaluation_evaluation_protocol.csv. A line has three fields: enrolment, file and target,
    nontarget or spoof; a first line of other words is a header. The enrolment is a speaker, or one
    recording, which then stands for its speaker. The lists were described by others, not seen.
    """,
    rows=_rows_of_spoofceleb,
    parts={
        split: Files(
            protocols=(f"sasv_{folder}_evaluation_protocol.csv",),
            audio=(f"flac/{folder}", f"spoofceleb/flac/{folder}"),
            folders=("protocol", "metadata", "spoofceleb/metadata", "."),
        )
        for split, folder in {"dev": "development", "eval": "evaluation"}.items()
    },
    about="claims of speakers of VoxCeleb1, with fakes",
    licence="see https://jungjee.github.io/spoofceleb; the recordings are from VoxCeleb1",
    source="https://arxiv.org/abs/2409.17285",
    obtain={
        "audio": "the parts of spoofceleb.tar.gz from https://huggingface.co/datasets/jungjee/spoofceleb",
        "protocol": "the lists of the WildSpoof challenge, https://wildspoof.github.io",
    },
)


# SPEAKER_ROOM_ENVIRONMENT_GENERATOR_SENTENCE.wav; a genuine recording has its microphone in place of the generator.
_FAKE = re.compile(r"(?:[^_]+_){3}(L[^_]*)_")


def _rows_of_jspaw2(path: Path, phase: str | None, audio: Path | None) -> Iterator[Trial]:
    for line, (word, *names) in read_rows(path, 3, "1 or 0, file, file"):
        claim = files.look_up_word(word, {"1": "target", "0": "nontarget"}, "claim", path, line)
        first, second = (files.check_path(name, path, line) for name in names)
        # A list calls fakes 0, as other people, and names them first.
        file = first if _FAKE.match(first.name) else second
        folder = "ASV"
        attack = None
        if generator := _FAKE.match(file.name):
            folder = f"LA/{generator[1]}"
            if claim == "nontarget":
                claim = SPOOF
                attack = generator[1]
        recording = audio and audio / folder / file
        speaker = first.name.partition("_")[0]
        trial = Trial(files.id_of(second), recording, speaker=speaker, attack=attack, phase=phase, claim=claim)
        yield as_claim(trial, files.id_of(first))


JSPAW2 = ListedCorpus(
    title="J-SpAW2, claims",
    notes="""
    Horie, Takamichi and Shiota, "J-SpAW2", SPEASIP 2026; 40 Japanese speakers.

    Layout: <root>/protocols/ASV_eval.txt and ASV_LA/ASV_eval_L{3,4,5}.txt, recordings in
    <root>/jspaw2/ASV and LA/L{3,4,5}. A line has 1 or 0 and two files; a trial is called FILE:FILE. In the
    lists l3, l4 and l5, 0 is another person, or a fake of CosyVoice2 (L3), ElevenLabs (L4) or
    VALL-E X (L5), as a file's name says. eval has 37,600 trials without fakes, each other list 53,600.
    """,
    rows=_rows_of_jspaw2,
    parts_overlap=True,
    parts={
        split: Files(
            protocols=(f"ASV_eval{suffix}.txt",),
            folders=("protocols", "protocols/ASV_LA", ".", "ASV_LA"),
            audio=("jspaw2", "."),
            holds=("ASV",),
        )
        for split, suffix in {"eval": "", "l3": "_L3", "l4": "_L4", "l5": "_L5"}.items()
    },
    counts={"eval": Counts(37600, 37600, 0), **dict.fromkeys(("l3", "l4", "l5"), Counts(53600, 37600, 16000))},
    counts_from="the repository of the organisers",
    licence="not for commercial use",
    source="https://github.com/takamichi-lab/j-spaw2",
    obtain={
        "audio": "the zip that https://github.com/takamichi-lab/j-spaw2 names",
        "protocol": "protocols of https://github.com/takamichi-lab/j-spaw2",
    },
)
