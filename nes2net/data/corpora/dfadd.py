"""DFADD, deepfakes of diffusion and flow-matching systems."""

from nes2net.data.corpora.corpus import Counts
from nes2net.data.corpora.folders import FolderCorpus, Place
from nes2net.data.corpora.trial import BONAFIDE, SPOOF

CORPUS = FolderCorpus(
    title="DFADD",
    notes="""
    Du et al., "DFADD: The Diffusion and Flow-Matching Based Audio Deepfake Dataset", SLT 2024.

    Layout of the archives of April 2025, which correct earlier archives:
    <root>/DATASET_{GradTTS,NaturalSpeech2,StyleTTS2,MatchaTTS,PflowTTS}/{train,valid,test}/*.wav,
    and the bona fide recordings, from VCTK, in DATASET_VCTK_BONAFIDE (or VCTK_BONAFIDE). A file
    name begins with its speaker (p345_251_pflow.wav).

    The paper counts 163,500 spoofed and 44,455 bona fide recordings in all. Here only the
    evaluation part has official numbers: 755 bona fide and 3,000 spoofed recordings, as benchmarks
    report.
    """,
    places=(
        Place("DATASET_VCTK_BONAFIDE/{phase}/{speaker}_*", BONAFIDE),
        Place("VCTK_BONAFIDE/{phase}/{speaker}_*", BONAFIDE),
        Place("DATASET_{attack}/{phase}/{speaker}_*", SPOOF),
    ),
    split_folders={"train": "train", "valid": "dev", "test": "eval"},
    roots=(".", "DFADD"),
    remedy="give `root` the folder that holds DATASET_GradTTS",
    counts={"eval": Counts(3755, 755, 3000)},
    counts_from="what benchmarks report",
    obtain={
        "audio": "the zip archives of https://huggingface.co/datasets/isjwdu/DFADD, unpacked into one folder",
        "protocol": "none; the folders of the audio are the labels",
    },
    licence="MIT (stated by the Speech Anti-Spoofing Arena); the bona fide recordings (VCTK): CC BY 4.0",
    source="https://arxiv.org/abs/2409.08731",
)
