"""The further corpora in miniature: their files and lists as distributed, and the trials in them."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
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


def _mlaad(model, name):
    original = f"en_US/by_book/female/judy/book/wavs/{name}.wav"
    return f'./fake/en/{model}/{name}.wav|{original}|en|True|1.0|LJSpeech|tts/{model}|VITS|"Well, | yes."\n'


_MLAAD = "path|original_file|language|is_original_language|duration|training_data|model_name|architecture|transcript\n"
_SPOOFCELEB = "file,speaker,attack\na00/{1}1/v-1-001.flac,{1}1,a00\na07/{1}2/v-2-001.flac,{1}2,a07\n"
_DEEPFAKE_EVAL = """\
Filename,Date,Ground Truth,Public Comments,Finetuning Set
a 1.mp3,2024-04-23,Fake,"lip sync, off",Train
b.wav,2024-05-14,Real,,Train
c.wav,2024-05-14,Fake,,Test
d.wav,2024-05-15,Real,,Test
e.wav,2024-05-15,Unknown,,Test
f.wav,2024-05-15,Real,,
"""


def _trials(text, splits=None):
    """Split → file → trial, of lines ``split file label field=value …``.

    The id is by default the file without suffix, from ``folder`` on. With ``splits``, the lines are written for each split, its
    words in place of {0}, {1}, ….
    """
    if splits is not None:
        text = "".join(text.format(*words, split=split) for split, words in splits.items())
    trials = {}
    for line in text.splitlines():
        split, file, label, *fields = shlex.split(line)
        facts = dict(value.split("=") for value in fields)
        folder = facts.pop("folder", "")
        id = facts.pop("id", file.removeprefix(folder).rpartition(".")[0])
        models = facts.pop("enrolment_models", None)
        extra = (("enrolment_models", models),) if models else ()
        trials.setdefault(split, {})[file] = Trial(id, label=label, extra=extra, **facts)
    return trials


_TRAIN_DEV_EVAL = {"train": (), "dev": (), "eval": ()}
_ASVSPOOF5 = """\
E_1 {1}_1 F - - - AC3 A05 spoof -
E_2 {1}_2 M - 0 - - bonafide bonafide -
E_3 {1}_3 M C05 3 77 AC1 A17 spoof -
E_2 {1}_4 M - - - - bonafide bonafide -
"""
_ASVSPOOF5_SPLITS = {
    "train": ("ASVspoof5.train.tsv", "T", "flac_T"),
    "dev": ("ASVspoof5_protocols/ASVspoof5.dev.track_1.tsv", "D", "flac_D"),
    "eval": ("protocols/ASVspoof5.eval.track_1.tsv", "E", "flac_E_eval"),
}
_CTRSVDD = """\
m4singer S_0110 S_0110_{0}_1 - - bonafide
acesinger S_0097 S_0097_{0}_1 - A06 deepfake
m4singer S_0110 S_0110_{0}_2 - - bonafide
acesinger S_0097 S_0097_{0}_2 - A06 deepfake
"""
_CTRSVDD_SPLITS = {"train": ("train", "train_set"), "dev": ("dev", "dev"), "eval": ("test", "test_set/test_set")}
_SPOOFCELEB_SPLITS = {"train": ("train", "t"), "dev": ("development", "d"), "eval": ("evaluation", "e")}
_ADD2022_SPLITS = {
    "train": ("ADD_train_dev/train", "ADD_T"),
    "dev": ("ADD_train_dev/dev", "ADD_D"),
    "track1": ("track1test", "ADD_E1"),
    "track3_r1": ("track3test", "ADD_E3"),
    "track3_r2": ("track3_r2/whatever", "ADD_E3R2"),
}
_ADD2023_SPLITS = {
    "train": ("train", "ADD2023_T1.2_T"),
    "dev": ("dev", "ADD2023_T1.2_D"),
    "round1": ("testR1", "ADD2023_T1.2R1_E"),
    "round2": ("testR2", "ADD2023_T1.2R2_E"),
}
_ADD2023_TRACK3_SPLITS = {"train": ("train", "T"), "dev": ("dev", "D"), "eval": ("test", "E")}
_CLAIM_SPLITS = {"dev": ("dev", "D", "flac_D"), "eval": ("eval", "E", "flac_E_eval")}
_SPOOFCELEB_CLAIM_SPLITS = {"dev": ("development", "d"), "eval": ("evaluation", "e")}
_LIBRISEVOC_SPLITS = {"train": ("train", "27"), "dev": ("dev", "40"), "eval": ("test", "87")}
_FAMOUS_FIGURES = """\
AudioName\tSpeaker\tSource\tLabel\tAudioPath
A_B_1\tA_B\t-\tBonafide\t/nfs/data/famousfigures/A_B/-/A_B_1.wav
A_B_1\tA_B\tCOZYVOICE2\tspoof\t/nfs/data/famousfigures/A_B/COZYVOICE2/A_B_1.wav
"""
_NOISE_ADDITION = "protocols/ASVspoofLauneredDatabase_Noise_Addition.txt"
_RESAMPLING = "protocols/ASVspoofLauneredDatabase_Resampling.txt"
_SPEECHFAKE = """\
file,label,generator,model,speaker,language
Real/VCTK-Corpus/{split}_1.wav,bonafide,Real,VCTK,p225,en
BD/BigVGAN/VCTK/{split}_2.wav,spoof,NV,BigVGAN,p225,en
"""


def _lists(name, text, splits):
    """Name → text of the list of each split."""
    return {name.format(*words, split=split): text.format(*words, split=split) for split, words in splits.items()}


_SASV_2022 = Miniature(
    _trials(
        """\
{split} ASVspoof2019_LA_{0}/flac/{1}_1.flac bonafide id=LA_1:{1}_1 speaker=LA_1 claim=target
{split} ASVspoof2019_LA_{0}/flac/{1}_2.flac bonafide id=LA_1:{1}_2 speaker=LA_1 claim=nontarget
{split} ASVspoof2019_LA_{0}/flac/{1}_3.flac spoof id=LA_2:{1}_3 speaker=LA_2 claim=spoof attack=A07
""",
        _CLAIM_SPLITS,
    ),
    _lists(
        "ASVspoof2019_LA_asv_protocols/ASVspoof2019.LA.asv.{0}.gi.trl.txt",
        "LA_1 {1}_1 bonafide target\nLA_1 {1}_2 bonafide nontarget\nLA_2 {1}_3 A07 spoof\n",
        _CLAIM_SPLITS,
    ),
    malformed=[
        ("ASVspoof2019_LA_asv_protocols/ASVspoof2019.LA.asv.eval.gi.trl.txt", f"LA_2 E_1 {line}\n", message)
        for line, message in (
            ("bonafide other", "line 4: 'E_1' has the claim 'other': expected target, nontarget, spoof"),
            ("A07 target", "'E_1' is target and A07 at once"),
            ("A07 spoof\nLA_2 E_1 A07 spoof", "lists 1 utterance more than once: LA_2:E_1"),
        )
    ],
)


_TRACK_2 = Miniature(
    _trials(
        """\
{split} {2}/{1}_1.flac bonafide id={1}_A:{1}_1 speaker={1}_A gender=F claim=target
{split} {2}/{1}_2.flac spoof id={1}_A:{1}_2 speaker={1}_A gender=F claim=spoof attack=A17
""",
        _CLAIM_SPLITS,
    ),
    _lists(
        "ASVspoof5.{0}.track_2.trial.tsv",
        "{1}_A {1}_1 F bonafide target\n{1}_A {1}_2 F A17 spoof\n",
        _CLAIM_SPLITS,
    ),
)
_SPOOFCELEB_SASV = Miniature(
    _trials(
        """\
{split} flac/{0}/a00/{1}1/v-1.flac bonafide id=a00/{1}1/e:a00/{1}1/v-1 speaker=a00/{1}1/e claim=target
{split} flac/{0}/a07/{1}1/v-2.flac spoof id={1}1:a07/{1}1/v-2 speaker={1}1 claim=spoof attack=a07
""",
        _SPOOFCELEB_CLAIM_SPLITS,
    ),
    _lists(
        "protocol/sasv_{0}_evaluation_protocol.csv",
        "enrol,test,label\na00/{1}1/e.flac,a00/{1}1/v-1.flac,target\n{1}1,a07/{1}1/v-2.flac,spoof\n",
        _SPOOFCELEB_CLAIM_SPLITS,
    ),
    malformed=[
        (
            "protocol/sasv_evaluation_evaluation_protocol.csv",
            "e1,a00/e1/v-3.flac,maybe\n",
            "line 4: .* the claim 'maybe'",
        ),
    ],
)
_JSPAW2 = Miniature(
    {
        **_trials(
            """\
eval jspaw2/ASV/F001_R1_E2_M2_BU.wav bonafide id=F001_R1_E2_M2_BT:F001_R1_E2_M2_BU speaker=F001 claim=target
eval jspaw2/ASV/F002_R1_E2_M2_BU.wav bonafide id=F001_R1_E2_M2_BT:F002_R1_E2_M2_BU speaker=F001 claim=nontarget
"""
        ),
        **_trials(
            """\
{split} jspaw2/ASV/F001_R1_E2_M2_BU.wav bonafide id=F001_R1_E2_M2_BT:F001_R1_E2_M2_BU speaker=F001 claim=target
{split} jspaw2/LA/{0}/M021_R4_E4_{0}_BW.wav spoof id=M021_R4_E4_{0}_BW:M021_R3_E2_M2_BW speaker=M021 claim=spoof attack={0}
""",
            {f"l{number}": (f"L{number}",) for number in (3, 4, 5)},
        ),
    },
    {
        "protocols/ASV_eval.txt": "1 F001_R1_E2_M2_BT.wav F001_R1_E2_M2_BU.wav\n0 F001_R1_E2_M2_BT.wav F002_R1_E2_M2_BU.wav\n",
        **{
            f"protocols/ASV_LA/ASV_eval_L{number}.txt": (
                f"1 F001_R1_E2_M2_BT.wav F001_R1_E2_M2_BU.wav\n0 M021_R4_E4_L{number}_BW.wav M021_R3_E2_M2_BW.wav\n"
            )
            for number in (3, 4, 5)
        },
    },
    malformed=[("protocols/ASV_eval.txt", "2 a.wav b.wav\n", "line 3: unknown claim '2'; expected one of 1, 0")],
)


CORPORA = {
    "asvspoof5": Miniature(
        _trials(
            """\
{split} {2}/{1}_1.flac spoof folder={2}/ speaker=E_1 attack=A05 gender=F attack_type=AC3 codec=none
{split} {2}/{1}_2.flac bonafide folder={2}/ speaker=E_2 gender=M codec=none
{split} {2}/{1}_4.flac bonafide folder={2}/ speaker=E_2 gender=M codec=none
{split} {2}/{1}_3.flac spoof folder={2}/ speaker=E_3 attack=A17 gender=M attack_type=AC1 codec=C05 quality=3 seed=77
""",
            _ASVSPOOF5_SPLITS,
        ),
        _lists("{0}", _ASVSPOOF5, _ASVSPOOF5_SPLITS),
        besides=["flac_E_eval/E_A0001.flac"],
        malformed=[
            (_ASVSPOOF5_SPLITS["eval"][0], "E_4 E_4 F - - - AC3 A05 spoof\n", "line 5: expected 10 fields"),
        ],
    ),
    "ctrsvdd": Miniature(
        _trials(
            """\
{split} {1}/S_0110_{0}_1.flac bonafide folder={1}/ speaker=S_0110 source=m4singer
{split} {1}/S_0110_{0}_2.flac bonafide folder={1}/ speaker=S_0110 source=m4singer
{split} {1}/S_0097_{0}_1.flac spoof folder={1}/ speaker=S_0097 attack=A06 source=acesinger
{split} {1}/S_0097_{0}_2.flac spoof folder={1}/ speaker=S_0097 attack=A06 source=acesinger
""",
            _CTRSVDD_SPLITS,
        ),
        _lists("{0}.txt", _CTRSVDD, _CTRSVDD_SPLITS),
    ),
    "mlaad": Miniature(
        _trials(
            """\
train fake/en/bark/x_2.wav spoof attack=Bark
dev fake/en/bark/x_3.wav spoof attack=Bark
eval fake/en/bark/x_1.wav spoof attack=tts/bark attack_type=VITS language=en
eval fake/en/vits/x_1.wav spoof attack=tts/vits attack_type=VITS language=en
eval real/en_US/by_book/female/judy/book/wavs/x_1.wav bonafide speaker=judy language=en_US
"""
        ),
        {
            "train.csv": "path,model_name\n./fake/en/bark/x_2.wav,Bark\n./fake/en/bark/x_2.wav,Bark\n",
            "dev.csv": "path,model_name\n./fake/en/bark/x_3.wav,Bark\n",
            "fake/en/bark/meta.csv": _MLAAD + _mlaad("bark", "x_1"),
            "fake/en/vits/meta.csv": _MLAAD + _mlaad("vits", "x_1"),
        },
        besides=["real/en_US/by_book/female/judy/book/wavs/x_2.wav"],
        malformed=[
            ("fake/en/bark/meta.csv", _mlaad("bark", "../../../../x"), "line 3: '.*' cannot be a recording of the corpus"),
        ],
    ),
    "spoofceleb": Miniature(
        _trials(
            """\
{split} flac/{0}/a00/{1}1/v-1-001.flac bonafide folder=flac/{0}/ speaker={1}1
{split} flac/{0}/a07/{1}2/v-2-001.flac spoof folder=flac/{0}/ speaker={1}2 attack=a07
""",
            _SPOOFCELEB_SPLITS,
        ),
        _lists("metadata/{0}.csv", _SPOOFCELEB, _SPOOFCELEB_SPLITS),
        malformed=[("metadata/evaluation.csv", "/a00/id1/x.flac,id1,a00\n", "line 4: '/a00/id1/x.flac' cannot be a recording")],
    ),
    "deepfake_eval_2024": Miniature(
        _trials(
            """\
train 'audio-data/a 1.mp3' spoof id=a%201
train audio-data/b.wav bonafide id=b
eval audio-data/c.wav spoof id=c
eval audio-data/d.wav bonafide id=d
"""
        ),
        {"audio-metadata-publish.csv": _DEEPFAKE_EVAL},
        malformed=[
            ("audio-metadata-publish.csv", "g.wav,2024,Perhaps,,Test\n", "line 8: unknown label 'Perhaps'; expected one of Real, Fake"),
            ("audio-metadata-publish.csv", "g.wav,2024,Real,,Tset\n", "line 8: unknown phase 'Tset'; expected one of Train, Test"),
        ],
    ),
    "codecfake": Miniature(
        _trials(
            """\
train train/S1.wav bonafide id=S1
train train/F01_S1.wav spoof id=F01_S1 attack=F01
dev dev/S2.wav bonafide id=S2
dev dev/F06_S2.wav spoof id=F06_S2 attack=F06
eval test/C1/S3.wav bonafide id=C1/S3 source=C1
eval test/C1/F01_S3.wav spoof id=C1/F01_S3 attack=F01 source=C1
eval C7/S3.wav bonafide source=C7
eval A3_fake/L1.wav spoof id=A3/L1 attack=L source=A3
"""
        ),
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
        _trials(
            """\
eval LJSpeech-1.1/wavs/LJ001-0001.wav bonafide speaker=LJ source=ljspeech
eval jsut_ver1.1/basic5000/wav/BASIC5000_1.wav bonafide speaker=JSUT source=jsut
eval generated_audio/{0}/gen_0.wav spoof attack=conformer_fastspeech2_pwg speaker=LJ source=ljspeech
eval generated_audio/jsut_multi_band_melgan/BASIC5000_1_gen.wav spoof attack=multi_band_melgan speaker=JSUT source=jsut
eval generated_audio/ljspeech_melgan_large/LJ001-0001_gen.wav spoof attack=melgan_large speaker=LJ source=ljspeech
""",
            {"eval": ("common_voices_prompts_from_conformer_fastspeech2_pwg_ljspeech",)},
        ),
        besides=["jsut_ver1.1/onomatopee300/wav/ONOMATOPEE300_1.wav"],
    ),
    "fake_or_real": Miniature(
        _trials(
            """\
{split} for-norm/{0}/fake/file1.mp3_norm.wav spoof folder=for-norm/
{split} for-norm/{0}/real/file2.mp3 bonafide id={0}/real/file2.mp3
{split} for-norm/{0}/real/file2.wav bonafide id={0}/real/file2.wav
""",
            {"train": ("training",), "dev": ("validation",), "eval": ("testing",)},
        ),
        besides=["for-norm/backup/real/file9.wav"],
    ),
    "dfadd": Miniature(
        _trials(
            """\
{split} DATASET_PflowTTS/{0}/p345_251_pflow.wav spoof speaker=p345 attack=PflowTTS
{split} DATASET_VCTK_BONAFIDE/{0}/p226_001.wav bonafide speaker=p226
""",
            {"train": ("train",), "dev": ("valid",), "eval": ("test",)},
        ),
    ),
    "add2022": Miniature(
        _trials("{split} {0}/{1}_1.wav bonafide folder={0}/\n{split} {0}/{1}_2.wav spoof folder={0}/\n", _ADD2022_SPLITS),
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
        _trials(
            """\
{split} Track1.2/{0}/wav/{1}_1.wav bonafide folder=Track1.2/{0}/wav/
{split} Track1.2/{0}/wav/{1}_2.wav spoof folder=Track1.2/{0}/wav/
""",
            _ADD2023_SPLITS,
        ),
        _lists("Track1.2/{0}/label.txt", "{1}_1.wav genuine\n{1}_2.wav fake\n", _ADD2023_SPLITS),
        split="round2",
    ),
    "add2023_track3": Miniature(
        _trials(
            """\
{split} Track3/{0}/wav/ADD2023_T3_{1}_1.wav bonafide folder=Track3/{0}/wav/
{split} Track3/{0}/wav/ADD2023_T3_{1}_2.wav spoof folder=Track3/{0}/wav/ attack=6
""",
            _ADD2023_TRACK3_SPLITS,
        ),
        _lists("Track3/{0}/label.txt", "ADD2023_T3_{1}_1.wav 0\nADD2023_T3_{1}_2.wav 6\n", _ADD2023_TRACK3_SPLITS),
        malformed=[("Track3/test/label.txt", "ADD2023_T3_E_3.wav 8\n", "line 3: .*label")],
    ),
    "compspoof": Miniature(
        _trials(
            "{split} {split}/bonafide_1.wav bonafide\n{split} {split}/spoof_2.wav spoof attack=spoof_bonafide\n",
            _TRAIN_DEV_EVAL,
        ),
        _lists(
            "CompSpoof_{split}.txt",
            "{split}/bonafide_1.wav - - original\n{split}/spoof_2.wav a.flac b.mp3 spoof_bonafide\n",
            _TRAIN_DEV_EVAL,
        ),
        malformed=[("CompSpoof_eval.txt", "eval/x.wav a b fake\n", "line 3: .*label")],
    ),
    "stopa": Miniature(
        _trials(
            """\
enrolled wav/AA01/dev/e_1.wav spoof folder=wav/ attack=AA01 'enrolment_models=AA01-co-1 AA01-nc-10'
enrolled wav/AA03/dev/e_2.wav spoof folder=wav/ attack=AA03 enrolment_models=AA03-co-1
eval wav/AA01/eval/x_1.wav spoof folder=wav/ attack=AA01
eval wav/AA02/eval/x_1.wav spoof folder=wav/ attack=AA02
"""
        ),
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
        _trials(
            """\
{split} gt/{1}_1_0_0.wav bonafide speaker={1}
{split} diffwave/{1}_1_0_0_gen.wav spoof speaker={1} attack=diffwave
{split} melgan/{1}_1_0_0_gen.wav spoof speaker={1} attack=melgan
{split} parallel_wave_gan/{1}_1_0_0_gen.wav spoof speaker={1} attack=parallel_wave_gan
{split} wavegrad/{1}_1_0_0_gen.wav spoof speaker={1} attack=wavegrad
{split} wavenet/{1}_1_0_0_gen.wav spoof speaker={1} attack=wavenet
{split} wavernn/{1}_1_0_0_gen.wav spoof speaker={1} attack=wavernn
""",
            _LIBRISEVOC_SPLITS,
        ),
        _lists("{0}.txt", "{1}_1_0_0.wav\n", _LIBRISEVOC_SPLITS),
        malformed=[
            ("test.txt", "../87_1_0_1.wav\n", "line 2: '../87_1_0_1.wav' cannot be an utterance id"),
            ("test.txt", "87_1_0_0.wav\n", "7 utterances more than once"),
        ],
    ),
    "habla": Miniature(
        _trials(
            """\
eval {0}/CycleGAN/Peru-Chile/pem_1-clf_2/CycleGAN-pem_1_3-clf_2_4.wav spoof folder={0}/ attack=CycleGAN speaker=clf_2
eval {0}/Real/Chile/clf_2/clf_2_5.wav bonafide folder={0}/ speaker=clf_2 language=Chile
eval {0}/TTS-VC/TTS-Diff/Peru-Chile/TTS-Diff-pem_1_6.wav spoof folder={0}/ attack=TTS-Diff
eval {0}/TTS-VC/TTS-StarGAN/Peru-Chile/pem_1-clf_2/x.wav spoof folder={0}/ attack=TTS-StarGAN
eval {0}/TTS/Chile/TTS-clf_2_7.wav spoof folder={0}/ attack=TTS
""",
            {"eval": ("FinalDataset_16khz",)},
        ),
        besides=["FinalDataset_16khz/Notes/a.wav"],
    ),
    "asvspoof_laundered": Miniature(
        _trials(
            """\
eval flac/LA_E_1_babble_0.flac bonafide folder=flac/ speaker=LA_0001 transmission=Noise_Addition codec=babble_0
eval flac/LA_E_2_babble_0.flac spoof folder=flac/ speaker=LA_0002 attack=A07 transmission=Noise_Addition codec=babble_0
eval flac/LA_E_2_resample_8000.flac spoof folder=flac/ speaker=LA_0002 attack=A07 transmission=Resampling codec=resample_8000
"""
        ),
        {
            _NOISE_ADDITION: (
                "LA_0001 LA_E_1_babble_0 - bonafide Noise_Addition babble_0\n"
                "LA_0002 LA_E_2_babble_0 A07 spoof Noise_Addition babble_0\n"
            ),
            _RESAMPLING: "LA_0002 LA_E_2_resample_8000 A07 spoof Resampling resample_8000\n",
        },
        malformed=[
            (_RESAMPLING, "LA_0002 LA_E_3 A07 spoof Resampling\n", r"Resampling\.txt, line 2: expected 6 fields"),
            (_RESAMPLING, "1 LA_E_2_babble_0 A07 spoof Resampling x\n", "more than once: LA_E_2_babble_0"),
        ],
    ),
    "famous_figures": Miniature(
        _trials(
            """\
eval A_B/Bonafide/A_B_1.wav bonafide speaker=A_B
eval A_B/COZYVOICE2/A_B_1.wav spoof speaker=A_B attack=COZYVOICE2
"""
        ),
        {"protocol.txt": _FAMOUS_FIGURES},
        malformed=[
            ("protocol.txt", "A_B_2\tA_B\t-\tbonafide\tA_B_2.wav\n", "line 4: expected a path SPEAKER/SOURCE/NAME.wav"),
        ],
    ),
    "partialedit": Miniature(
        _trials(
            """\
eval E1/p225/p225_001_edited_partial_16k.wav spoof attack=E1 speaker=p225
eval E2/p226/p226_002_edited_partial_16k.wav spoof attack=E2 speaker=p226
"""
        ),
        {
            "PartialEdit_E1E2.csv": (
                "E1/p225/p225_001_edited_partial_16k.wav,0.02,0.05,0.1\n"
                "E2/p226/p226_002_edited_partial_16k.wav,0.01,0.02,0.06,0.07,0.1\n"
            )
        },
        malformed=[
            ("PartialEdit_E1E2.csv", "E1/p225/x.wav,0.1,0.2\n", "line 3: expected a file, start and end of each region"),
            ("PartialEdit_E1E2.csv", "E1/../x.wav,0.1,0.2,0.3\n", "line 3: .* cannot be a recording of the corpus"),
            ("PartialEdit_E1E2.csv", "E1/p225/x.wav,0.1,end,0.3\n", "line 3: .*end"),
        ],
    ),
    "llamapartialspoof": Miniature(
        _trials(
            """\
eval {0}a/dev-clean_1462_170145_000020_000002.wav bonafide folder={0}a/ speaker=1462
eval {0}a/dev01-cosyvoice-full_1462_170145_000020_000002.wav spoof folder={0}a/ speaker=1462 attack=cosyvoice attack_type=full
eval {0}b/dev01-xtts-partial-cp_1272_128104_000007_000001.wav spoof folder={0}b/ speaker=1272 attack=xtts attack_type=partial-cp
""",
            {"eval": ("R01TTS.0.",)},
        ),
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
        _trials(
            """\
eval English/Bonafide/a.flac bonafide language=English
eval English/Fully_Fake/a.flac spoof attack_type=Fully_Fake language=English
eval English/Partial_Fake_Noisy/a.flac spoof attack_type=Partial_Fake_Noisy language=English
eval German/Partial_Fake_Clean/b.flac spoof attack_type=Partial_Fake_Clean language=German
"""
        ),
        besides=["English/Other/c.flac"],
    ),
    "speechfake": Miniature(
        _trials(
            """\
{split} Real/VCTK-Corpus/{split}_1.wav bonafide language=en
{split} BD/BigVGAN/VCTK/{split}_2.wav spoof attack=BigVGAN attack_type=NV language=en
""",
            _TRAIN_DEV_EVAL,
        ),
        _lists(
            "metadata/experiments/baseline/{0}_all.csv",
            _SPEECHFAKE,
            {"train": ("train",), "dev": ("dev",), "eval": ("test",)},
        ),
        malformed=[("metadata/experiments/baseline/test_all.csv", "BD/x.wav,fake,NV,x,p1,en\n", "line 4: unknown label 'fake'")],
    ),
    **{
        f"at_add_track{number}": Miniature(
            _trials(
                "{split} {0}{split}/{split}_1.wav bonafide id={split}_1\n{split} {0}{split}/{split}_2.wav spoof id={split}_2\n",
                dict.fromkeys(_TRAIN_DEV_EVAL, (f"T{number}/",)),
            ),
            _lists(
                f"T{number}/label/{{split}}.csv", "\ufeffname,label\n{split}_1.wav,real\n{split}_2.wav,fake\n", _TRAIN_DEV_EVAL
            ),
            malformed=[(f"T{number}/label/eval.csv", "a.wav,genuine\n", "line 4: unknown label 'genuine'")],
        )
        for number in (1, 2)
    },
    "asvspoof2019_la_sasv": _SASV_2022,
    "asvspoof5_track2": _TRACK_2,
    "spoofceleb_sasv": _SPOOFCELEB_SASV,
    "jspaw2": _JSPAW2,
}  # fmt: skip
