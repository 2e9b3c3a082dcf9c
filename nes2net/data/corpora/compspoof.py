"""CompSpoof: mixtures of speech and environmental sound; each component is bona fide or spoofed."""

from nes2net.data.corpora.corpus import Download
from nes2net.data.corpora.layout import Columns, Files, ListedCorpus
from nes2net.data.corpora.trial import BONAFIDE, SPOOF

_MIXED = ("bonafide_bonafide", "spoof_bonafide", "bonafide_spoof", "spoof_spoof")

CORPUS = ListedCorpus(
    title="CompSpoof",
    notes="""
    Zhang et al., "CompSpoof: A Dataset and Joint Learning Framework for Component-Level Audio
    Anti-spoofing Countermeasures", arXiv 2509.15804.

    Layout: <root>/CompSpoof_{train,dev,eval}.txt with lines mixed_audio speech_source env_source
    class, whose files lie below <root>. A trial is the mixed audio. The class original is bona
    fide. The other classes are the attack of a spoofed trial: bonafide_bonafide, spoof_bonafide,
    bonafide_spoof and spoof_spoof. The first word is the class of the speech, and the second word
    is the class of the environmental sound. So the task source_tracing with bonafide: true has five
    classes.
    """,
    rows=Columns(
        file="file",
        fields={"label": "class", "attack": "class"},
        labels={"original": BONAFIDE, **dict.fromkeys(_MIXED, SPOOF)},
        words={"attack": {"original": None}},
        names="file, -, -, class",
    ),
    parts={
        split: Files(
            protocols=(f"CompSpoof_{split}.txt",),
            audio=(".", "CompSpoof"),
            folders=(".", "CompSpoof"),
            remedy="give `root` the folder of the lists, into which CompSpoof.tar.gz was unpacked",
        )
        for split in ("train", "dev", "eval")
    },
    obtain={
        "audio": "CompSpoof.tar.gz and the lists (CompSpoof_*.txt) from "
        "https://huggingface.co/datasets/XuepingZhang/CompSpoof, unpacked into one folder",
        "protocol": "CompSpoof_train.txt, CompSpoof_dev.txt and CompSpoof_eval.txt in the same place",
    },
    downloads=(Download("hub:XuepingZhang/CompSpoof", "all recordings and the lists"),),
    licence="as stated on https://huggingface.co/datasets/XuepingZhang/CompSpoof",
    source="https://arxiv.org/abs/2509.15804",
)
