"""The further corpora in miniature: their files and lists as distributed, and the trials in them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
import soundfile

from builders.files import write
from nes2net.data.corpora.trial import Trial


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
        soundfile.write(write(root / name), 0.1 * np.sin(0.05 * (number + 1) * np.arange(1600)), 16000)
    for name, text in corpus.lists.items():
        write(root / name, text)
    return root


def _mlaad(model: str, name: str) -> str:
    original = f"en_US/by_book/female/judy/book/wavs/{name}.wav"
    return f'./fake/en/{model}/{name}.wav|{original}|en|True|1.0|LJSpeech|tts/{model}|VITS|"Well, | yes."\n'


_MLAAD = "path|original_file|language|is_original_language|duration|training_data|model_name|architecture|transcript\n"
_SPOOFCELEB = "file,speaker,attack\na00/{0}1/v-1-001.flac,{0}1,a00\na07/{0}2/v-2-001.flac,{0}2,a07\n"
_DEEPFAKE_EVAL = """\
Filename,Date,Ground Truth,Public Comments,Finetuning Set
a 1.mp3,2024-04-23,Fake,"lip sync, off",Train
b.wav,2024-05-14,Real,,Train
c.wav,2024-05-14,Fake,,Test
d.wav,2024-05-15,Real,,Test
e.wav,2024-05-15,Unknown,,Test
f.wav,2024-05-15,Real,,
"""

_ADD2022 = (
    ("train", "ADD_train_dev/train", "ADD_T"),
    ("dev", "ADD_train_dev/dev", "ADD_D"),
    ("track1", "track1test", "ADD_E1"),
    ("track3_r1", "track3test", "ADD_E3"),
    ("track3_r2", "track3_r2/whatever", "ADD_E3R2"),
)
_ADD2023 = (
    ("train", "train", "ADD2023_T1.2_T"),
    ("dev", "dev", "ADD2023_T1.2_D"),
    ("round1", "testR1", "ADD2023_T1.2R1_E"),
    ("round2", "testR2", "ADD2023_T1.2R2_E"),
)
_FAMOUS_FIGURES = """\
AudioName\tSpeaker\tSource\tLabel\tAudioPath
A_B_1\tA_B\t-\tBonafide\t/nfs/data/famousfigures/A_B/-/A_B_1.wav
A_B_1\tA_B\tCOZYVOICE2\tspoof\t/nfs/data/famousfigures/A_B/COZYVOICE2/A_B_1.wav
"""
_PROMPTS = "common_voices_prompts_from_conformer_fastspeech2_pwg_ljspeech"
_LAUNDERED = "protocols/ASVspoofLauneredDatabase_{}.txt"
_NOISE = {"transmission": "Noise_Addition", "codec": "babble_0"}
_RESAMPLING = {"transmission": "Resampling", "codec": "resample_8000"}


def _part(folder: str, *trials: tuple[str, Trial]) -> dict[str, Trial]:
    """File → trial, of files below ``folder``."""
    return {f"{folder}{file}": trial for file, trial in trials}


def _trial(label: str, file: str, id: str = "", **fields: str) -> tuple[str, Trial]:
    """A file and its trial, which by default is called as the file is."""
    return file, Trial(id or file.rpartition(".")[0], label=label, **fields)


_TRACK_1 = (
    ("train", "ASVspoof5.train.tsv", "flac_T/T"),
    ("dev", "ASVspoof5_protocols/ASVspoof5.dev.track_1.tsv", "flac_D/D"),
    ("eval", "protocols/ASVspoof5.eval.track_1.tsv", "flac_E_eval/E"),
)
_ASVSPOOF5 = (
    "E_1 {0}_1 F - - - AC3 A05 spoof -\nE_2 {0}_2 M - 0 - - bonafide bonafide -\nE_3 {0}_3 M C05 3 77 AC1 A17 spoof -\n"
    "E_2 {0}_4 M - - - - bonafide bonafide -\n"
)
_CTRSVDD_LIST = "".join(
    f"m4singer S_0110 S_0110_{{0}}_{number} - - bonafide\nacesinger S_0097 S_0097_{{0}}_{number} - A06 deepfake\n"
    for number in (1, 2)
)
_CTRSVDD = (("train", "train", "train_set"), ("dev", "dev", "dev"), ("eval", "test", "test_set/test_set"))


_bonafide = partial(_trial, "bonafide")
_spoof = partial(_trial, "spoof")

CORPORA = {
    "asvspoof5": Miniature(
        {
            split: _part(
                audio,
                _spoof("_1.flac", f"{audio[-1]}_1", speaker="E_1", attack="A05", gender="F", attack_type="AC3", codec="none"),
                *(_bonafide(f"_{n}.flac", f"{audio[-1]}_{n}", speaker="E_2", gender="M", codec="none") for n in (2, 4)),
                _spoof("_3.flac", f"{audio[-1]}_3", speaker="E_3", attack="A17", gender="M", attack_type="AC1", codec="C05",
                       quality="3", seed="77"),
            )
            for split, _, audio in _TRACK_1
        },
        {file: _ASVSPOOF5.format(audio[-1]) for _, file, audio in _TRACK_1},
        besides=["flac_E_eval/E_A0001.flac"],
        malformed=[(_TRACK_1[2][1], "E_4 E_4 F - - - AC3 A05 spoof\n", "line 5: expected 10 fields")],
    ),
    "ctrsvdd": Miniature(
        {
            split: _part(
                f"{audio}/",
                *(_bonafide(f"S_0110_{name}_{n}.flac", speaker="S_0110", source="m4singer") for n in (1, 2)),
                *(_spoof(f"S_0097_{name}_{n}.flac", speaker="S_0097", attack="A06", source="acesinger") for n in (1, 2)),
            )
            for split, name, audio in _CTRSVDD
        },
        {f"{name}.txt": _CTRSVDD_LIST.format(name) for _, name, _ in _CTRSVDD},
    ),
    "mlaad": Miniature(
        {
            "train": _part("", _spoof("fake/en/bark/x_2.wav", attack="Bark")),
            "dev": _part("", _spoof("fake/en/bark/x_3.wav", attack="Bark")),
            "eval": _part(
                "",
                _spoof("fake/en/bark/x_1.wav", attack="tts/bark", attack_type="VITS", language="en"),
                _spoof("fake/en/vits/x_1.wav", attack="tts/vits", attack_type="VITS", language="en"),
                _bonafide("real/en_US/by_book/female/judy/book/wavs/x_1.wav", speaker="judy", language="en_US"),
            )
        },
        {
            "train.csv": "path,model_name\n./fake/en/bark/x_2.wav,Bark\n./fake/en/bark/x_2.wav,Bark\n",
            "dev.csv": "path,model_name\n./fake/en/bark/x_3.wav,Bark\n",
            "fake/en/bark/meta.csv": _MLAAD + _mlaad("bark", "x_1"),
            "fake/en/vits/meta.csv": _MLAAD + _mlaad("vits", "x_1"),
        },
        besides=["real/en_US/by_book/female/judy/book/wavs/x_2.wav"],
        malformed=[("fake/en/bark/meta.csv", _mlaad("bark", "../../../../x"), "line 3: '.*' cannot be a recording of the corpus")],
    ),
    "spoofceleb": Miniature(
        {
            split: _part(
                f"flac/{folder}/",
                _bonafide(f"a00/{folder[0]}1/v-1-001.flac", speaker=f"{folder[0]}1"),
                _spoof(f"a07/{folder[0]}2/v-2-001.flac", speaker=f"{folder[0]}2", attack="a07"),
            )
            for split, folder in (("train", "train"), ("dev", "development"), ("eval", "evaluation"))
        },
        {f"metadata/{folder}.csv": _SPOOFCELEB.format(folder[0]) for folder in ("train", "development", "evaluation")},
        malformed=[("metadata/evaluation.csv", "/a00/id1/x.flac,id1,a00\n", "line 4: '/a00/id1/x.flac' cannot be a recording")],
    ),
    "deepfake_eval_2024": Miniature(
        {
            "train": _part("audio-data/", _spoof("a 1.mp3", "a%201"), _bonafide("b.wav")),
            "eval": _part("audio-data/", _spoof("c.wav"), _bonafide("d.wav")),
        },
        {"audio-metadata-publish.csv": _DEEPFAKE_EVAL},
        malformed=[
            ("audio-metadata-publish.csv", "g.wav,2024,Perhaps,,Test\n", "line 8: unknown label 'Perhaps'; expected one of Real, Fake"),
            ("audio-metadata-publish.csv", "g.wav,2024,Real,,Tset\n", "line 8: unknown phase 'Tset'; expected one of Train, Test"),
        ],
    ),
    "codecfake": Miniature(
        {
            "train": _part("train/", _bonafide("S1.wav"), _spoof("F01_S1.wav", attack="F01")),
            "dev": _part("dev/", _bonafide("S2.wav"), _spoof("F06_S2.wav", attack="F06")),
            "eval": _part(
                "",
                _bonafide("test/C1/S3.wav", "C1/S3", source="C1"),
                _spoof("test/C1/F01_S3.wav", "C1/F01_S3", attack="F01", source="C1"),
                _bonafide("C7/S3.wav", source="C7"),
                _spoof("A3_fake/L1.wav", "A3/L1", attack="L", source="A3"),
            ),
        },
        {
            "label/train.txt": "S1.wav real 0\nF01_S1.wav fake 1\n",
            "label/dev.txt": "S2.wav real 0\nF06_S2.wav fake 6\n",
            "label/C1.txt": "S3.wav real 0\nF01_S3.wav fake 1\n",
            "label/C7.txt": "S3.wav real 0\n",
            "label/A3.txt": "L1.wav fake L\n",
        },
        malformed=[("label/C1.txt", "S4.wav real\n", r"C1\.txt, line 3: expected 3 fields \(file, label, codec number\), found 2")],
    ),
    "wavefake": Miniature(
        {
            "eval": _part(
                "",
                _bonafide("LJSpeech-1.1/wavs/LJ001-0001.wav", speaker="LJ", source="ljspeech"),
                _bonafide("jsut_ver1.1/basic5000/wav/BASIC5000_1.wav", speaker="JSUT", source="jsut"),
                *(
                    _spoof(f"generated_audio/{file}.wav", attack=attack, speaker=speaker, source=source)
                    for file, attack, speaker, source in (
                        (f"{_PROMPTS}/gen_0", "conformer_fastspeech2_pwg", "LJ", "ljspeech"),
                        ("jsut_multi_band_melgan/BASIC5000_1_gen", "multi_band_melgan", "JSUT", "jsut"),
                        ("ljspeech_melgan_large/LJ001-0001_gen", "melgan_large", "LJ", "ljspeech"),
                    )
                ),
            )
        },
        besides=["jsut_ver1.1/onomatopee300/wav/ONOMATOPEE300_1.wav"],
    ),
    "fake_or_real": Miniature(
        {
            split: _part(
                "for-norm/",
                _spoof(f"{folder}/fake/file1.mp3_norm.wav"),
                _bonafide(f"{folder}/real/file2.mp3", f"{folder}/real/file2.mp3"),
                _bonafide(f"{folder}/real/file2.wav", f"{folder}/real/file2.wav"),
            )
            for split, folder in (("train", "training"), ("dev", "validation"), ("eval", "testing"))
        },
        besides=["for-norm/backup/real/file9.wav"],
    ),
    "dfadd": Miniature(
        {
            split: _part(
                "",
                _spoof(f"DATASET_PflowTTS/{folder}/p345_251_pflow.wav", speaker="p345", attack="PflowTTS"),
                _bonafide(f"DATASET_VCTK_BONAFIDE/{folder}/p226_001.wav", speaker="p226"),
            )
            for split, folder in (("train", "train"), ("dev", "valid"), ("eval", "test"))
        },
    ),
    "add2022": Miniature(
        {
            split: _part(f"{folder}/", _bonafide(f"{prefix}_1.wav"), _spoof(f"{prefix}_2.wav"))
            for split, folder, prefix in _ADD2022
        },
        {
            "ADD_train_dev/label/train_label.txt": "ADD_T_1.wav genuine\nADD_T_2.wav fake\n",
            "ADD_train_dev/label/dev_label.txt": "ADD_D_1.wav genuine\nADD_D_2.wav fake\n",
            "track1_label.txt": "ADD_E1_1.wav genuine\nADD_E1_2.wav fake\n",
            "track3_r1/track3_R1_label.txt": "ADD_E3_1.wav genuine\nADD_E3_2.wav fake\n",
            "track3_R2_label.txt": "ADD_E3R2_1.wav genuine 0\nADD_E3R2_2.wav fake 7\n",
        },
        malformed=[("track1_label.txt", "../ADD_E1_3.wav fake\n", "line 3: '../ADD_E1_3.wav' cannot be a recording")],
        split="track1",
    ),
    "add2023": Miniature(
        {
            split: _part(f"Track1.2/{folder}/wav/", _bonafide(f"{prefix}_1.wav"), _spoof(f"{prefix}_2.wav"))
            for split, folder, prefix in _ADD2023
        },
        {
            f"Track1.2/{folder}/label.txt": f"{prefix}_1.wav genuine\n{prefix}_2.wav fake\n"
            for _, folder, prefix in _ADD2023
        },
        split="round2",
    ),
    "add2023_track3": Miniature(
        {
            split: _part(
                f"Track3/{folder}/wav/",
                _bonafide(f"ADD2023_T3_{letter}_1.wav"),
                _spoof(f"ADD2023_T3_{letter}_2.wav", attack="6"),
            )
            for split, folder, letter in (("train", "train", "T"), ("dev", "dev", "D"), ("eval", "test", "E"))
        },
        {
            f"Track3/{folder}/label.txt": f"ADD2023_T3_{letter}_1.wav 0\nADD2023_T3_{letter}_2.wav 6\n"
            for folder, letter in (("train", "T"), ("dev", "D"), ("test", "E"))
        },
        malformed=[("Track3/test/label.txt", "ADD2023_T3_E_3.wav 8\n", "line 3: .*label")],
    ),
    "compspoof": Miniature(
        {
            split: _part(
                "", _bonafide(f"{split}/bonafide_1.wav"), _spoof(f"{split}/spoof_2.wav", attack="spoof_bonafide")
            )
            for split in ("train", "dev", "eval")
        },
        {
            f"CompSpoof_{split}.txt": f"{split}/bonafide_1.wav - - original\n{split}/spoof_2.wav a.flac b.mp3 spoof_bonafide\n"
            for split in ("train", "dev", "eval")
        },
        malformed=[("CompSpoof_eval.txt", "eval/x.wav a b fake\n", "line 3: .*label")],
    ),
    "stopa": Miniature(
        {
            "enrolled": _part(
                "wav/",
                _spoof("AA01/dev/e_1.wav", attack="AA01", extra=(("enrolment_models", "AA01-co-1 AA01-nc-10"),)),
                _spoof("AA03/dev/e_2.wav", attack="AA03", extra=(("enrolment_models", "AA03-co-1"),)),
            ),
            "eval": _part(
                "wav/", _spoof("AA01/eval/x_1.wav", attack="AA01"), _spoof("AA02/eval/x_1.wav", attack="AA02")
            )
        },
        {
            "protocols_fingerprint_extraction/AA01-co-1.txt": "x FileName y ATK\nx e_1.wav y AA01\n",
            "protocols_fingerprint_extraction/AA01-nc-10.txt": "x FileName y ATK\nx e_1.wav y AA01\n",
            "protocols_fingerprint_extraction/AA02-co-1.txt": "x FileName y ATK\nx e_3.wav y AA02\n",  # is not enrolled
            "protocols_fingerprint_extraction/AA03-co-1.txt": "x FileName y ATK\nx e_2.wav y AA03\nx e_2.wav y AA03\n",
            "protocols_trials_extended/AA01-co-100_trials.txt": (
                "AbstractModel FileName IsTargetATK IsTargetAcousticModel ATK\n"
                "AA01 x_1.wav True True AA01\nAA01 x_1.wav False True AA02\nAA03 x_1.wav False True AA02\n"
            )
        },
        malformed=[
            ("protocols_trials_extended/AA01-co-100_trials.txt", "AA01 x.wav True\n", "line 5: expected the file in field 2"),
        ],
    ),
    "librisevoc": Miniature(
        {
            split: _part(
                "",
                _bonafide(f"gt/{speaker}_1_0_0.wav", speaker=speaker),
                *(
                    _spoof(f"{vocoder}/{speaker}_1_0_0_gen.wav", speaker=speaker, attack=vocoder)
                    for vocoder in ("diffwave", "melgan", "parallel_wave_gan", "wavegrad", "wavenet", "wavernn")
                ),
            )
            for split, speaker in (("train", "27"), ("dev", "40"), ("eval", "87"))
        },
        {"train.txt": "27_1_0_0.wav\n", "dev.txt": "40_1_0_0.wav\n", "test.txt": "87_1_0_0.wav\n"},
        malformed=[
            ("test.txt", "../87_1_0_1.wav\n", "line 2: '../87_1_0_1.wav' cannot be an utterance id"),
            ("test.txt", "87_1_0_0.wav\n", "7 utterances in it more than once"),
        ],
    ),
    "habla": Miniature(
        {
            "eval": _part(
                "FinalDataset_16khz/",
                _spoof("CycleGAN/Peru-Chile/pem_1-clf_2/CycleGAN-pem_1_3-clf_2_4.wav", attack="CycleGAN", speaker="clf_2"),
                _bonafide("Real/Chile/clf_2/clf_2_5.wav", speaker="clf_2", language="Chile"),
                _spoof("TTS-VC/TTS-Diff/Peru-Chile/TTS-Diff-pem_1_6.wav", attack="TTS-Diff"),
                _spoof("TTS-VC/TTS-StarGAN/Peru-Chile/pem_1-clf_2/x.wav", attack="TTS-StarGAN"),
                _spoof("TTS/Chile/TTS-clf_2_7.wav", attack="TTS"),
            )
        },
        besides=["FinalDataset_16khz/Notes/a.wav"],
    ),
    "asvspoof_laundered": Miniature(
        {
            "eval": _part(
                "flac/",
                _bonafide("LA_E_1_babble_0.flac", speaker="LA_0001", **_NOISE),
                _spoof("LA_E_2_babble_0.flac", speaker="LA_0002", attack="A07", **_NOISE),
                _spoof("LA_E_2_resample_8000.flac", speaker="LA_0002", attack="A07", **_RESAMPLING),
            )
        },
        {
            _LAUNDERED.format("Noise_Addition"): (
                "LA_0001 LA_E_1_babble_0 - bonafide Noise_Addition babble_0\n"
                "LA_0002 LA_E_2_babble_0 A07 spoof Noise_Addition babble_0\n"
            ),
            _LAUNDERED.format("Resampling"): "LA_0002 LA_E_2_resample_8000 A07 spoof Resampling resample_8000\n",
        },
        malformed=[
            (_LAUNDERED.format("Resampling"), "LA_0002 LA_E_3 A07 spoof Resampling\n", r"Resampling\.txt, line 2: expected 6 fields"),
            (_LAUNDERED.format("Resampling"), "1 LA_E_2_babble_0 A07 spoof Resampling x\n", "more than once: LA_E_2_babble_0"),
        ],
    ),
    "famous_figures": Miniature(
        {
            "eval": _part(
                "A_B/",
                _bonafide("Bonafide/A_B_1.wav", "A_B/Bonafide/A_B_1", speaker="A_B"),
                _spoof("COZYVOICE2/A_B_1.wav", "A_B/COZYVOICE2/A_B_1", speaker="A_B", attack="COZYVOICE2"),
            )
        },
        {"protocol.txt": _FAMOUS_FIGURES},
        malformed=[
            ("protocol.txt", "A_B_2\tA_B\t-\tbonafide\tA_B_2.wav\n", "line 4: expected a path SPEAKER/SOURCE/NAME.wav"),
            ("protocol.txt", "A_B_2\tA_B\t-\tbonafide\ta/../A_B_2.wav\n", "line 4: expected a path SPEAKER/SOURCE"),
            ("protocol.txt", "A_B_2\tA_B\t-\tbonafide\t/A_B/A_B_2.wav\n", "line 4: expected a path SPEAKER/SOURCE"),
        ],
    ),
    "partialedit": Miniature(
        {
            "eval": _part(
                "",
                _spoof("E1/p225/p225_001_edited_partial_16k.wav", attack="E1", speaker="p225"),
                _spoof("E2/p226/p226_002_edited_partial_16k.wav", attack="E2", speaker="p226"),
            )
        },
        {
            "PartialEdit_E1E2.csv": (
                "E1/p225/p225_001_edited_partial_16k.wav,0.02,0.05,0.1\n"
                "E2/p226/p226_002_edited_partial_16k.wav,0.01,0.02,0.06,0.07,0.1\n"
            )
        },
        malformed=[
            ("PartialEdit_E1E2.csv", "E1/p225/x.wav,0.1,0.2\n", "line 3: expected a file, start and end of each region"),
            ("PartialEdit_E1E2.csv", "E1/x.wav,0.1,0.2,0.3\n", "line 3: expected a file SUBSET/SPEAKER/NAME.wav"),
            ("PartialEdit_E1E2.csv", "E1/../x.wav,0.1,0.2,0.3\n", "line 3: .* cannot be a recording of the corpus"),
            ("PartialEdit_E1E2.csv", "E1/p225/x.wav,0.1,end,0.3\n", "line 3: .*end"),
        ],
    ),
    "llamapartialspoof": Miniature(
        {
            "eval": _part(
                "",
                _bonafide("R01TTS.0.a/dev-clean_1462_170145_000020_000002.wav", "dev-clean_1462_170145_000020_000002", speaker="1462"),
                _spoof("R01TTS.0.a/dev01-cosyvoice-full_1462_170145_000020_000002.wav",
                       "dev01-cosyvoice-full_1462_170145_000020_000002",
                       speaker="1462", attack="cosyvoice", attack_type="full"),
                _spoof("R01TTS.0.b/dev01-xtts-partial-cp_1272_128104_000007_000001.wav",
                       "dev01-xtts-partial-cp_1272_128104_000007_000001",
                       speaker="1272", attack="xtts", attack_type="partial-cp"),
            )
        },
        {
            "label_R01TTS.0.a.txt": (
                "dev-clean_1462_170145_000020_000002 0.1000 bonafide 0.0000-0.1000-bonafide\n"
                "dev01-cosyvoice-full_1462_170145_000020_000002 0.1000 spoof 0.0000-0.1000-spoof\n"
            ),
            "label_R01TTS.0.b.txt": (
                "dev01-xtts-partial-cp_1272_128104_000007_000001 0.1000 spoof 0.0000-0.0300-bonafide 0.0300-0.1000-spoof\n"
            ),
        },
        malformed=[
            ("label_R01TTS.0.b.txt", "x 0.1 spoof\n", "line 2: expected id, duration, label and segments"),
            ("label_R01TTS.0.b.txt", "x 0.1 spoof 0.0-0.1\n", "line 2: unknown label of a segment"),
            ("label_R01TTS.0.b.txt", "x 0.1 fake 0.0-0.1-spoof\n", "line 2: unknown label 'fake'"),
        ],
    ),
    "hq_mpsd": Miniature(
        {
            "eval": _part(
                "",
                _bonafide("English/Bonafide/a.flac", language="English"),
                _spoof("English/Fully_Fake/a.flac", attack_type="Fully_Fake", language="English"),
                _spoof("English/Partial_Fake_Noisy/a.flac", attack_type="Partial_Fake_Noisy", language="English"),
                _spoof("German/Partial_Fake_Clean/b.flac", attack_type="Partial_Fake_Clean", language="German"),
            )
        },
        besides=["English/Other/c.flac"],
    ),
    "speechfake": Miniature(
        {
            split: _part(
                "",
                _bonafide(f"Real/VCTK-Corpus/{split}_1.wav", language="en"),
                _spoof(f"BD/BigVGAN/VCTK/{split}_2.wav", attack="BigVGAN", attack_type="NV", language="en"),
            )
            for split in ("train", "dev", "eval")
        },
        {
            f"metadata/experiments/baseline/{name}_all.csv": (
                "file,label,generator,model,speaker,language\n"
                f"Real/VCTK-Corpus/{split}_1.wav,bonafide,Real,VCTK,p225,en\n"
                f"BD/BigVGAN/VCTK/{split}_2.wav,spoof,NV,BigVGAN,p225,en\n"
            )
            for split, name in (("train", "train"), ("dev", "dev"), ("eval", "test"))
        },
        malformed=[("metadata/experiments/baseline/test_all.csv", "BD/x.wav,fake,NV,x,p1,en\n", "line 4: unknown label 'fake'")],
    ),
    **{
        f"at_add_track{number}": Miniature(
            {
                split: _part(f"T{number}/{split}/", _bonafide(f"{split}_1.wav"), _spoof(f"{split}_2.wav"))
                for split in ("train", "dev", "eval")
            },
            {
                f"T{number}/label/{split}.csv": f"\ufeffname,label\n{split}_1.wav,real\n{split}_2.wav,fake\n"
                for split in ("train", "dev", "eval")
            },
            malformed=[(f"T{number}/label/eval.csv", "a.wav,genuine\n", "line 4: unknown label 'genuine'")],
        )
        for number in (1, 2)
    },
}  # fmt: skip
