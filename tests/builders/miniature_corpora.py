"""The further corpora in miniature: their files and lists as distributed, and the trials in them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import soundfile

from builders.files import write
from nes2net.corpora.trial import Trial


@dataclass(frozen=True)
class Miniature:
    """A corpus of a few files. Paths are relative to its folder."""

    trials: Mapping[str, Mapping[str, Trial]]
    """Split → file → its trial, without path and phase."""
    lists: Mapping[str, str] = field(default_factory=dict)
    """List → its text."""
    besides: Sequence[str] = ()
    """Recordings that are no trials."""
    malformed: Sequence[tuple[str, str, str]] = ()
    """List, a line that it cannot have, and the message (:mod:`re`)."""
    split: str = "eval"
    """The part that the malformed lists are of."""


def make(root: Path, corpus: Miniature) -> Path:
    """Write ``corpus`` below ``root``: tones of 0.1 s, and the lists."""
    names = [*(name for of_split in corpus.trials.values() for name in of_split), *corpus.besides]
    for number, name in enumerate(names):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, 0.1 * np.sin(0.05 * (number + 1) * np.arange(1600)), 16000)
    for name, text in corpus.lists.items():
        write(root / name, text)
    return root


def _mlaad(model: str, name: str) -> str:
    original = f"en_US/by_book/female/judy/book/wavs/{name}.wav"
    return f'./fake/en/{model}/{name}.wav|{original}|en|True|1.0|LJSpeech|tts/{model}|VITS|"Well, | yes."\n'


_MLAAD = "path|original_file|language|is_original_language|duration|training_data|model_name|architecture|transcript\n"
_SPOOFCELEB = "file,speaker,attack\na00/id1/v-1-001.flac,id1,a00\na07/id2/v-2-001.flac,id2,a07\n"
_DEEPFAKE_EVAL = """\
Filename,Date,Ground Truth,Public Comments,Finetuning Set
a 1.mp3,2024-04-23,Fake,"lip sync, off",Train
b.wav,2024-05-14,Real,,Train
c.wav,2024-05-14,Fake,,Test
d.wav,2024-05-15,Real,,Test
e.wav,2024-05-15,Unknown,,Test
f.wav,2024-05-15,Real,,
"""

CORPORA = {
    "mlaad": Miniature(
        {
            "eval": {
                "fake/en/bark/x_1.wav": Trial(
                    "fake/en/bark/x_1", label="spoof", attack="tts/bark", attack_type="VITS", language="en"
                ),
                "fake/en/vits/x_1.wav": Trial(
                    "fake/en/vits/x_1", label="spoof", attack="tts/vits", attack_type="VITS", language="en"
                ),
                "real/en_US/by_book/female/judy/book/wavs/x_1.wav": Trial(
                    "real/en_US/by_book/female/judy/book/wavs/x_1", label="bonafide", speaker="judy", language="en_US"
                ),
            }
        },
        {
            "fake/en/bark/meta.csv": _MLAAD + _mlaad("bark", "x_1"),
            "fake/en/vits/meta.csv": _MLAAD + _mlaad("vits", "x_1"),
        },
        besides=["real/en_US/by_book/female/judy/book/wavs/x_2.wav"],
        malformed=[
            ("fake/en/bark/meta.csv", "a.wav|b.wav\n", "line 3: expected 9 fields"),
            ("fake/en/bark/meta.csv", _mlaad("bark", "../../../../x"), "line 3: '.*' cannot be a recording of the corpus"),
            ("fake/en/bark/meta.csv", _mlaad("bark", "x_1"), "stand in it more than once: fake/en/bark/x_1"),
        ],
    ),
    "spoofceleb": Miniature(
        {
            split: {
                f"flac/{folder}/a00/id1/v-1-001.flac": Trial("a00/id1/v-1-001", label="bonafide", speaker="id1"),
                f"flac/{folder}/a07/id2/v-2-001.flac": Trial(
                    "a07/id2/v-2-001", label="spoof", speaker="id2", attack="a07"
                ),
            }
            for split, folder in (("train", "train"), ("dev", "development"), ("eval", "evaluation"))
        },
        {f"metadata/{folder}.csv": _SPOOFCELEB for folder in ("train", "development", "evaluation")},
        malformed=[
            ("metadata/evaluation.csv", "a00/id1/x.flac,id1\n", r"evaluation\.csv, line 4: expected 3 fields"),
            ("metadata/evaluation.csv", "/a00/id1/x.flac,id1,a00\n", "line 4: '/a00/id1/x.flac' cannot be a recording"),
        ],
    ),
    "deepfake_eval_2024": Miniature(
        {
            "train": {
                "audio-data/a 1.mp3": Trial("a%201", label="spoof"),
                "audio-data/b.wav": Trial("b", label="bonafide"),
            },
            "eval": {
                "audio-data/c.wav": Trial("c", label="spoof"),
                "audio-data/d.wav": Trial("d", label="bonafide"),
            },
        },
        {"audio-metadata-publish.csv": _DEEPFAKE_EVAL},
        malformed=[
            ("audio-metadata-publish.csv", "g.wav,2024,Perhaps,,Test\n", "line 8: unknown label 'Perhaps'; expected one of Real, Fake"),
            ("audio-metadata-publish.csv", "g.wav,2024,Real,,Tset\n", "line 8: unknown phase 'Tset'; expected one of Train, Test"),
        ],
    ),
    "codecfake": Miniature(
        {
            "train": {
                "train/S1.wav": Trial("S1", label="bonafide"),
                "train/F01_S1.wav": Trial("F01_S1", label="spoof", attack="F01"),
            },
            "dev": {
                "dev/S2.wav": Trial("S2", label="bonafide"),
                "dev/F06_S2.wav": Trial("F06_S2", label="spoof", attack="F06"),
            },
            "eval": {
                "test/C1/S3.wav": Trial("C1/S3", label="bonafide", source="C1"),
                "test/C1/F01_S3.wav": Trial("C1/F01_S3", label="spoof", attack="F01", source="C1"),
                "C7/S3.wav": Trial("C7/S3", label="bonafide", source="C7"),
                "A3_fake/L1.wav": Trial("A3/L1", label="spoof", attack="L", source="A3"),
            },
        },
        {
            "label/train.txt": "S1.wav real 0\nF01_S1.wav fake 1\n",
            "label/dev.txt": "S2.wav real 0\nF06_S2.wav fake 6\n",
            "label/C1.txt": "S3.wav real 0\nF01_S3.wav fake 1\n",
            "label/C7.txt": "S3.wav real 0\n",
            "label/A3.txt": "L1.wav fake L\n",
        },
        malformed=[
            ("label/C1.txt", "S4.wav real\n", r"C1\.txt, line 3: expected 3 fields \(file, label, codec\), found 2"),
            ("label/C1.txt", "S4.wav bonafide 0\n", "line 3: unknown label 'bonafide'; expected one of real, fake"),
            ("label/C1.txt", "S3.wav real 0\n", "stand in it more than once: C1/S3"),
        ],
    ),
    "wavefake": Miniature(
        {
            "eval": {
                "LJSpeech-1.1/wavs/LJ001-0001.wav": Trial(
                    "LJSpeech-1.1/wavs/LJ001-0001", label="bonafide", speaker="LJ", source="ljspeech"
                ),
                "generated_audio/common_voices_prompts_from_conformer_fastspeech2_pwg_ljspeech/gen_0.wav": Trial(
                    "generated_audio/common_voices_prompts_from_conformer_fastspeech2_pwg_ljspeech/gen_0",
                    label="spoof",
                    speaker="LJ",
                    source="ljspeech",
                    attack="conformer_fastspeech2_pwg",
                ),
                "generated_audio/jsut_multi_band_melgan/BASIC5000_1_gen.wav": Trial(
                    "generated_audio/jsut_multi_band_melgan/BASIC5000_1_gen",
                    label="spoof",
                    speaker="JSUT",
                    source="jsut",
                    attack="multi_band_melgan",
                ),
                "generated_audio/ljspeech_melgan_large/LJ001-0001_gen.wav": Trial(
                    "generated_audio/ljspeech_melgan_large/LJ001-0001_gen",
                    label="spoof",
                    speaker="LJ",
                    source="ljspeech",
                    attack="melgan_large",
                ),
                "jsut_ver1.1/basic5000/wav/BASIC5000_1.wav": Trial(
                    "jsut_ver1.1/basic5000/wav/BASIC5000_1", label="bonafide", speaker="JSUT", source="jsut"
                ),
            }
        },
        besides=["jsut_ver1.1/onomatopee300/wav/ONOMATOPEE300_1.wav"],
    ),
    "fake_or_real": Miniature(
        {
            split: {
                f"for-norm/{folder}/fake/file1.mp3_norm.wav": Trial(f"{folder}/fake/file1.mp3_norm", label="spoof"),
                f"for-norm/{folder}/real/file2.mp3": Trial(f"{folder}/real/file2.mp3", label="bonafide"),
                f"for-norm/{folder}/real/file2.wav": Trial(f"{folder}/real/file2.wav", label="bonafide"),
            }
            for split, folder in (("train", "training"), ("dev", "validation"), ("eval", "testing"))
        },
        besides=["for-norm/backup/real/file9.wav"],
    ),
    "dfadd": Miniature(
        {
            split: {
                f"DATASET_PflowTTS/{folder}/p345_251_pflow.wav": Trial(
                    f"DATASET_PflowTTS/{folder}/p345_251_pflow", label="spoof", speaker="p345", attack="PflowTTS"
                ),
                f"DATASET_VCTK_BONAFIDE/{folder}/p226_001.wav": Trial(
                    f"DATASET_VCTK_BONAFIDE/{folder}/p226_001", label="bonafide", speaker="p226"
                ),
            }
            for split, folder in (("train", "train"), ("dev", "valid"), ("eval", "test"))
        },
    ),
}  # fmt: skip
