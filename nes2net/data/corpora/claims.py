"""Corpora whose trial is a claim: a recording, and the enrolled person who is said to speak.

A recording stands in several trials, so the id of a trial is ``PERSON:RECORDING``. The person is the
``speaker``; ``claim`` is ``target`` (bona fide, this person), ``nontarget`` (bona fide, another
person) or ``spoof``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from nes2net.data.audio.files import AUDIO_SUFFIXES
from nes2net.data.corpora import protocol as files
from nes2net.data.corpora.corpus import Counts
from nes2net.data.corpora.layout import Columns, Files, ListedCorpus
from nes2net.data.corpora.trial import BONAFIDE, SPOOF, Trial
from nes2net.lib.errors import InputError, concerning
from nes2net.lib.storage.text_files import read_rows
from nes2net.metrics.tdcf import ASVSPOOF5_WEIGHTS

#: Claim → label of the recording.
CLAIMS = {"target": BONAFIDE, "nontarget": BONAFIDE, "spoof": SPOOF}


def claim_id(person: str, recording: str) -> str:
    """Make the id of a trial.

    >>> claim_id("LA_0015", "LA_E_1103494")
    'LA_0015:LA_E_1103494'
    """
    return f"{person}:{recording}"


def as_claim(trial: Trial, enrolment: str = "") -> Trial:
    """Give a ``trial`` with ``claim`` and ``speaker`` its id and label.

    Args:
        enrolment: the recording in the id, if one stands for its speaker.

    Raises:
        InputError: if the claim is unknown, there is no speaker, or label or attack contradict the
            claim.
    """
    if trial.claim not in CLAIMS:
        raise InputError(f"'{trial.id}' has the claim '{trial.claim}': expected {', '.join(CLAIMS)}")
    label = CLAIMS[trial.claim]
    if trial.label not in (None, label) or (trial.attack is not None and label != SPOOF):
        stated = trial.attack or trial.label
        raise InputError(f"'{trial.id}' is {trial.claim} and {stated} at once: correct its row")
    if not trial.speaker:
        raise InputError(f"'{trial.id}' is a claim without a speaker: name the claimed person")
    return replace(trial, id=claim_id(enrolment or trial.speaker, trial.id), label=label)


@dataclass(frozen=True)
class ClaimColumns(Columns):
    """The columns of a list of claims, with ``speaker`` and ``claim``."""

    labels: Mapping[str, str | None] = field(default_factory=lambda: CLAIMS)

    def __call__(self, path: Path, phase: str | None, audio: Path | None) -> Iterator[Trial]:
        for trial in super().__call__(path, phase, audio):
            with concerning(f"{path}:"):
                claim = as_claim(trial)
            yield claim


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
    rows=ClaimColumns("speaker, utterance, attack, claim", {"label": "claim"}, words={"attack": {"bonafide": None}}),
    below=(".", "LA"),
    parts={
        split: Files(
            protocols=(f"ASVspoof2019.LA.asv.{split}.gi.trl.txt",),
            folders=("ASVspoof2019_LA_asv_protocols", "."),
            audio=(f"ASVspoof2019_LA_{split}/flac",),
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
    result = f"\nSASV RESULT\n\ta-DCF\t\t= {a_dcf:8.9f}\n"
    summary = f"-eval_adcf: {a_dcf:.5f}\n"
    title = "Track 2 (Single) Result"
    if t_eer is not None and min_tdcf is not None:
        result += f"\tt-EER\t\t= {100 * t_eer:8.9f}\n\tmin-tDCF\t\t= {min_tdcf:8.9f}\n"
        summary += f"-eval_tdcf: {min_tdcf:.5f}\n-eval_teer (%): {100 * t_eer:.3f}\n"
        title = "Track 2 Result"
    return f"{result}# {title}: \n\n{summary}\n"


ASVSPOOF5 = ListedCorpus(
    title="ASVspoof 5, track 2",
    notes="""
    Wang et al., "ASVspoof 5: Crowdsourced speech data, deepfakes, and adversarial attacks at
    scale", 2024.

    Layout: that of asvspoof5, with a list of trials per split. A line has five fields, separated by
    spaces despite the suffix .tsv: claimed speaker, utterance, gender, bonafide or attack, and
    target, nontarget or spoof. dev has 282,456 trials, eval 834,536.
    """,
    rows=ClaimColumns(
        "speaker, utterance, gender, attack, claim", {"label": "claim"}, words={"attack": {"bonafide": None}}
    ),
    parts={
        split: Files(
            (f"ASVspoof5.{split}.track_2.trial.tsv",),
            folders,
            (".", "ASVspoof5_protocols", "protocols"),
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
        if len(row) != 3:
            raise InputError(f"{path}, line {line}: expected enrolment, file and claim, found {','.join(row)}")
        person, name, claim = row
        enrolment = files.check_path(person, path, line)
        if "/" in person or enrolment.suffix.lower() in AUDIO_SUFFIXES:  # a recording stands for its speaker
            person = files.id_of(enrolment)
        file = files.check_path(name, path, line)
        recording = None if audio is None else audio / file
        attack = file.parts[0] if claim == SPOOF else None  # ATTACK/SPEAKER/NAME.flac
        trial = Trial(files.id_of(file), recording, speaker=person, attack=attack, phase=phase, claim=claim)
        with concerning(f"{path}, line {line}:"):
            trial = as_claim(trial)
        yield trial


def _spoofceleb_files(folder: str) -> Files:
    return Files(
        protocols=(f"sasv_{folder}_evaluation_protocol.csv",),
        audio=(f"flac/{folder}", f"spoofceleb/flac/{folder}"),
        folders=("protocol", "metadata", "spoofceleb/metadata", "."),
    )


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
    parts={"dev": _spoofceleb_files("development"), "eval": _spoofceleb_files("evaluation")},
    about="claims of speakers of VoxCeleb1, with fakes",
    licence="see https://jungjee.github.io/spoofceleb; the recordings are from VoxCeleb1",
    source="https://arxiv.org/abs/2409.17285",
    obtain={
        "audio": "the parts of spoofceleb.tar.gz from https://huggingface.co/datasets/jungjee/spoofceleb",
        "protocol": "the lists of the WildSpoof challenge, https://wildspoof.github.io",
    },
)


def _rows_of_jspaw2(path: Path, phase: str | None, audio: Path | None) -> Iterator[Trial]:
    for line, (word, *names) in read_rows(path, 3, "1 or 0, file, file"):
        claim = files.look_up_word(word, {"1": "target", "0": "nontarget"}, "claim", path, line)
        first, second = (files.check_path(name, path, line) for name in names)
        file = second
        # Names are SPEAKER_ROOM_ENVIRONMENT_MICROPHONE_SENTENCE.wav, or have L3 to L5 in place of the microphone. A list
        # calls fakes 0, as other people, and names them first.
        generator = _generator_of(first.name)
        if generator:
            file = first
        generator = generator or _generator_of(second.name)
        attack = None
        if generator and claim == "nontarget":
            claim = SPOOF
            attack = generator
        recording = None
        if audio is not None:
            recording = audio / (f"LA/{generator}" if generator else "ASV") / file
        speaker = first.name.partition("_")[0]
        trial = Trial(files.id_of(second), recording, speaker=speaker, attack=attack, phase=phase, claim=claim)
        yield as_claim(trial, files.id_of(first))


def _generator_of(name: str) -> str:
    parts = name.split("_")
    return parts[3] if len(parts) > 4 and parts[3].startswith("L") else ""


def _jspaw2_files(name: str) -> Files:
    return Files(
        protocols=(name,),
        folders=("protocols", "protocols/ASV_LA", ".", "ASV_LA"),
        audio=("jspaw2", "."),
        holds=("ASV",),
    )


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
        "eval": _jspaw2_files("ASV_eval.txt"),
        **{f"l{number}": _jspaw2_files(f"ASV_eval_L{number}.txt") for number in (3, 4, 5)},
    },
    counts={
        "eval": Counts(37600, 37600, 0),
        **dict.fromkeys(("l3", "l4", "l5"), Counts(53600, 37600, 16000)),
    },
    counts_from="the repository of the organisers",
    licence="not for commercial use",
    source="https://github.com/takamichi-lab/j-spaw2",
    obtain={
        "audio": "the zip that https://github.com/takamichi-lab/j-spaw2 names",
        "protocol": "protocols of https://github.com/takamichi-lab/j-spaw2",
    },
)
