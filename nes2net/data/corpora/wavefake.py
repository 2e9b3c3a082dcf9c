"""WaveFake, with LJSpeech and JSUT as its bona fide part."""

from nes2net.data.corpora.corpus import Counts, Download
from nes2net.data.corpora.folders import FolderCorpus, Place
from nes2net.data.corpora.trial import BONAFIDE, SPOOF

_LJSPEECH = {"source": "ljspeech", "speaker": "LJ"}
_JSUT = {"source": "jsut", "speaker": "JSUT"}

CORPUS = FolderCorpus(
    title="WaveFake",
    notes="""
    Frank and Schönherr, "WaveFake: A Data Set to Facilitate Audio Deepfake Detection", NeurIPS
    2021.

    Layout: the spoofed recordings are <root>/generated_audio/CORPUS_SYSTEM/*.wav, where CORPUS is
    ljspeech or jsut. The folder common_voices_prompts_from_conformer_fastspeech2_pwg_ljspeech holds
    spoofed recordings of other texts. The bona fide recordings are the originals that the vocoders
    resynthesised. These originals come from other publishers. The originals are in
    <root>/LJSpeech-1.1/wavs and <root>/jsut_ver1.1/basic5000/wav. Both folders may also be below
    <root>/real_audio. A trial's source is the corpus from which the recording, or its voice, comes.

    The corpus has no official parts: each paper has its own split, so all trials are eval. To
    divide the corpus, use a list of your own (corpus generic). According to the paper, there are
    117,985 generated recordings. A later list of the archive has 134,266 generated recordings. The
    paper averages the EER over systems (aEER). Here the EER is computed from all trials by
    ASVspoof's rule. The HTML page of an evaluation has the EER of each system.
    """,
    places=(
        Place("generated_audio/common_voices_prompts_from_{attack}_ljspeech/*", SPOOF, _LJSPEECH),
        Place("generated_audio/ljspeech_{attack}/*", SPOOF, _LJSPEECH),
        Place("generated_audio/jsut_{attack}/*", SPOOF, _JSUT),
        Place("LJSpeech-1.1/wavs/*", BONAFIDE, _LJSPEECH),
        Place("real_audio/LJSpeech-1.1/wavs/*", BONAFIDE, _LJSPEECH),
        Place("jsut_ver1.1/basic5000/wav/*", BONAFIDE, _JSUT),
        Place("real_audio/jsut_ver1.1/basic5000/wav/*", BONAFIDE, _JSUT),
    ),
    roots=(".", "WaveFake"),
    remedy="give `root` the folder that holds generated_audio and, for the bona fide part, LJSpeech-1.1 and jsut_ver1.1",
    # The bona fide recordings are 13,100 of LJSpeech, and 5,000 of basic5000 of JSUT.
    counts={"eval": Counts(152366, 18100, 134266)},
    editions={"the paper": {"eval": Counts(136085, 18100, 117985)}},
    counts_from="a published list of the archive, with all of LJSpeech and of JSUT's basic5000",
    obtain={
        "audio": "generated_audio.zip from https://zenodo.org/records/5642694; LJSpeech-1.1 from "
        "https://keithito.com/LJ-Speech-Dataset/; JSUT 1.1 from https://sites.google.com/site/shinnosuketakamichi/publication/jsut",
        "protocol": "none; the folders of the audio are the labels",
    },
    downloads=(
        Download("https://zenodo.org/records/5642694/files/generated_audio.zip", "the spoofed recordings"),
        Download(
            "https://data.keithito.com/data/speech/LJSpeech-1.1.tar.bz2",
            "bona fide recordings, LJSpeech",
            size=2748572632,
            digests={"sha256": "be1a30453f28eb8dd26af4101ae40cbf2c50413b1bb21936cbcdc6fae3de8aa5"},
            licence="public domain",
        ),
    ),
    licence="CC BY-SA 4.0; LJSpeech: public domain; JSUT: see its page",
    source="https://arxiv.org/abs/2111.02813",
)
