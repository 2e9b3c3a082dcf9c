"""The published detectors: their architectures, how their authors score, their licences and training data.

``PublishedModel`` has the fields; functions describe families of models that share most facts;
``PUBLISHED`` is the table of all models.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Literal

from nes2net.lib.output.sheet import Facts
from nes2net.models.checkpoints.published_file import PublishedFile

if TYPE_CHECKING:
    from nes2net.lib.parts.options import ModelConfig, Options

# Numbers of samples that authors of published detectors score. The authors of DF Arena, MultiAPI, Spectra and
# Spoof-SUPERB score ``_CROP`` samples.
_CROP = 64_600
_MAMBO_CROP = 66_800
_DEEPFENSE_CROP = 64_000


@dataclass(frozen=True)
class PublishedModel:
    """A published detector.

    Corpora are named as in ``nes2net info``, others as by their authors. A known split follows
    after a colon: ``"asvspoof2019_la:train"``.
    """

    config: ModelConfig
    """The architecture, for :meth:`nes2net.Detector.from_config`, with score rule and normalisation."""
    source: str
    """Publication, and the addresses of code or weights."""
    licence: str = "not stated"
    code_licence: str = "none"
    trained_on: tuple[str, ...] = ()
    """Corpora whose trials trained the detector."""
    selected_on: tuple[str, ...] = ()
    """Corpora on which the epoch was selected."""
    until: int | None = None
    """Year of the newest attacks that may be in the training data, of the newest corpus or of publication."""
    num_samples: int | Literal["corpus"] | None = "corpus"
    """Number of samples that the authors score; shorter utterances are repeated. None for whole
    utterances; ``"corpus"`` if it depends on the corpus.
    """
    crop: Literal["head", "random"] = "head"
    """Where the authors begin to read the ``num_samples`` samples."""
    scored_in: str = ""
    """Files of the authors' code, or a card, that show how they score. If empty, :attr:`scored` is an assumption."""
    code: str = ""
    """Published code that wrote the checkpoint; empty if the names of the tensors show it."""
    file: PublishedFile | None = None
    """The file that a program can download. None if only a person can, or if the publisher does not
    say which of its files is the detector's.
    """
    tensors_sha256: str = ""
    """SHA-256 of the tensors (:func:`nes2net.models.checkpoints.base.base_digest`), for any file."""
    by_hand: str = ""
    """Where a person finds the file, if it is released but no program can download it."""
    parameters: int | None = None
    """Trainable parameters; None only if :attr:`file` is None."""
    good_for: str = ""
    """The purpose for which a user may choose this detector; empty only if :attr:`file` is None."""
    notes: tuple[str, ...] = ()

    @property
    def scored(self) -> str:
        """How the authors score, in words.

        >>> PUBLISHED["df_arena_1b"].scored
        'the first 64,600 samples, shorter utterances repeated; probability'
        >>> PublishedModel({"backend": "aasist"}, "a paper without code", "not stated", num_samples=None).scored
        'whole utterances; logit (assumption)'
        """
        if self.num_samples is None:
            score_length = "whole utterances"
        elif self.num_samples == "corpus":
            score_length = "the first samples, as many as the corpus uses"
        elif self.crop == "head":
            score_length = f"the first {self.num_samples:,} samples, shorter utterances repeated"
        else:
            score_length = f"{self.num_samples:,} samples from a random start, shorter utterances repeated"
        assumption = "" if self.scored_in else " (assumption)"
        return f"{score_length}; {self.score_rule}{assumption}"

    @property
    def score_rule(self) -> str:
        """The rule that computes the score (:data:`nes2net.models.backends.base.ScoreRule`); stated if it is not "logit"."""
        return self._options_of("backend").get("score_rule", "logit")

    @property
    def trained(self) -> str:
        """Names of one or two training corpora, or else their number.

        >>> PUBLISHED["AASIST"].trained, PUBLISHED["df_arena_1b"].trained, PUBLISHED["spectra_0"].trained
        ('asvspoof2019_la:train', '9 corpora', 'not stated')
        """
        if len(self.trained_on) > 2:
            return f"{len(self.trained_on)} corpora"
        return ", ".join(self.trained_on) or "not stated"

    def _options_of(self, role: str) -> Options:
        options = self.config[role]
        return {"name": options} if isinstance(options, str) else options

    @property
    def frontend(self) -> str:
        return self._options_of("frontend")["name"]

    @property
    def backend(self) -> str:
        return self._options_of("backend")["name"]

    @property
    def non_commercial(self) -> bool:
        """Whether the licence of the weights forbids commercial use."""
        return "NC" in self.licence or "non-commercial" in self.licence

    def facts(self) -> Facts:
        """Return the facts for the record beside a score file, as plain data."""
        return {
            "source": self.source,
            "licence": self.licence,
            "code_licence": self.code_licence,
            "scored": self.scored,
            "trained_on": list(self.trained_on),
            "selected_on": list(self.selected_on),
        }


#: XLS-R without the tensors that only pre-training uses; the transformers library saves XLS-R in this way.
_XLSR_ENCODER = {"name": "xlsr_300m", "pretraining_heads": False}
_WAVLM_LAST: ModelConfig = {"frontend": {"name": "wavlm_large", "normalize": False}, "aggregation": "last"}
_NES2NET = "arXiv 2504.05657, github.com/Liu-Tianchi"
_AASIST = "https://github.com/clovaai/aasist/raw/a04c9863f63d44471dde8a6abcb3b082b07cd1d1/models/weights"
_trained_on_2019 = partial(
    PublishedModel, trained_on=("asvspoof2019_la:train",), selected_on=("asvspoof2019_la:dev",), until=2019
)
_trained_on_asvspoof5 = partial(
    PublishedModel, trained_on=("asvspoof5:train",), selected_on=("asvspoof5:dev",), until=2024, scored_in="main.py"
)


def _ctrsvdd(backend: str) -> PublishedModel:
    options = {"name": backend, "dilation": 1, "num_logits": 1}
    return PublishedModel(
        {
            "frontend": {"name": "wavlm_large", "normalize": True, "feature_grad_mult": 0.0},
            "aggregation": "sea",
            "backend": options,
        },
        f"{_NES2NET}/Nes2Net",
        trained_on=("ctrsvdd:train",),
        selected_on=("ctrsvdd:dev",),
        until=2024,
        num_samples=None,
        scored_in="eval.py, eval.sh",
    )


def _antideepfake(frontend: str, hub: str, parameters: int) -> PublishedModel:
    """A linear layer on the mean over time; ``hub`` precedes ``-anti-deepfake`` in the repository's name."""
    return PublishedModel(
        {
            "frontend": {"name": frontend, "normalize": True},
            "aggregation": "last",
            "backend": {"name": "mean_linear", "score_rule": "probability"},
        },
        f"arXiv 2506.21090, hub nii-yamagishilab/{hub}-anti-deepfake",
        licence="CC BY-NC-SA 4.0",
        code_licence="BSD-3-Clause",
        trained_on=(
            "asvspoof2019_la:train",
            "asvspoof2019_la:eval",
            "asvspoof2021_la",
            "asvspoof2021_df",
            "asvspoof5:train",
            "asvspoof5:eval",
            "CFAD",
            "Codecfake",
            "CodecFake",
            "CVoiceFake",
            "DECRO",
            "DFADD",
            "Diffuse or Confuse",
            "DiffSSD",
            "DSD",
            "FLEURS-R",
            "HABLA",
            "LibriTTS-R",
            "LibriTTS-Vocoded",
            "MLAAD",
            "SpoofCeleb",
            "VoiceMOS",
            "VoxCeleb2-Vocoded",
            "WaveFake",
        ),
        selected_on=("asvspoof2019_la:dev", "asvspoof5:dev"),
        until=2025,
        num_samples=None,
        scored_in="evaluation.py, dataio/dataio.py",
        good_for="many languages, codecs and generators; not for commercial use",
        file=PublishedFile(f"hub:nii-yamagishilab/{hub}-anti-deepfake/model.safetensors"),
        parameters=parameters,
        notes=(
            "also trained on bona fide speech of AIShell3, CNCeleb2, FLEURS, LibriTTS, LJSpeech, MLS and VoxCeleb2; the "
            "epoch was selected on the development sets of all training corpora",
            "the checkpoints with -nda in the name, trained without RawBoost, are loaded in the same way",
            "the variants with a one-class head require the back-end's option head=one_class",
            "the authors state that the EERs that they published before October 2025 were computed wrongly",
        ),
    )


def _df_arena(frontend: str, size: str, file: PublishedFile, parameters: int) -> PublishedModel:
    return PublishedModel(
        {
            "frontend": {"name": frontend, "pretraining_heads": False, "normalize": False},
            "backend": {"name": "raptor", "score_rule": "probability"},
        },
        f"arXiv 2603.06164, hub Speech-Arena-2025/DF_Arena_{size}_V_1",
        licence="non-commercial (see the card)",
        code_licence="non-commercial (see the card)",
        trained_on=(
            "asvspoof2019_la",
            "asvspoof5",
            "ctrsvdd",
            "CodecFake",
            "DFADD",
            "EnvSDD",
            "LibriSeVoc",
            "MLAAD",
            "SpoofCeleb",
        ),
        num_samples=_CROP,
        scored_in="the code beside its files on the hub; card of its copy at hub SpeechAntiSpoofingBenchmarks",
        until=2025,
        good_for="speech, singing and sounds around it, from many corpora; not for commercial use",
        file=file,
        parameters=parameters,
        notes=("the card names the training corpora, but not their parts",),
    )


def _spectra(
    repository: str,
    backend: str | Options,
    parameters: int,
    threshold: str,
    revision: str = "main",
    size: int | None = None,
    sha256: str = "",
) -> PublishedModel:
    return PublishedModel(
        {"frontend": {**_XLSR_ENCODER, "normalize": False, "pre_emphasis": 0.97}, "backend": backend},
        f"hub {repository}",
        licence="Apache-2.0 (by the metadata of the card) or MIT (by its text)",
        code_licence="Apache-2.0",
        num_samples=_CROP,
        scored_in="the code beside its file on the hub, the logs of the Speech Anti-Spoofing Arena",
        until=2026,
        good_for="speech with today's voices; may be used commercially",
        file=PublishedFile(f"hub:{repository}@{revision}/model.safetensors", size, sha256),
        parameters=parameters,
        notes=(
            "the training data are not published",
            "the example on its card crops at a random position",
            f"the example on its card decides at the threshold {threshold}",
        ),
    )


#: The back-end of DeepFense's AASIST keeps 0.7 of the temporal nodes; the code of AASIST's authors keeps 0.5.
_DEEPFENSE_AASIST = {"name": "aasist", "pool_ratios": [0.5, 0.7, 0.5]}


def _deepfense(frontend: str, backend: Options) -> PublishedModel:
    encoder = {"name": frontend, "pretraining_heads": False}
    return PublishedModel(
        {"frontend": encoder, "aggregation": "last", "backend": {**backend, "score_rule": "difference"}},
        "github.com/Yaselley/deepfense-framework, Hugging Face organisation DeepFense",
        code_licence="Apache-2.0",
        num_samples=_DEEPFENSE_CROP,
        scored_in="deepfense/models/losses/cross_entropy.py, deepfense/config/experiments",
        code="deepfense",
        notes=(
            "nes2net and newer code of DeepFense score by the difference of the logits, release 0.2.2 by the bona fide logit; "
            "the source does not state which rule gave the published figures",
            "the hub has one file for each training corpus and seed; the name of a file begins with its training corpus",
            "nes2net knows the names and shapes of the tensors from files that release 0.2.2 of DeepFense writes, because no "
            "published file was available",
        ),
    )


def _spoof_superb(frontend: str, upstream: str = "", normalize: bool = True) -> PublishedModel:
    """A frozen encoder, the weighted sum of its layers, and a linear head."""
    return _trained_on_2019(
        {
            "frontend": {"name": frontend, "normalize": normalize, "repeat_last": True},
            "aggregation": "weighted_sum",
            "backend": {"name": "mean_linear", "projection_dim": 256, "score_rule": "logit"},
        },
        f"arXiv 2603.01482, github.com/issflab/spoof_SUPERB, hub issf/spoof-superb-models ({upstream or frontend})",
        code_licence="not stated",
        num_samples=_CROP,
        scored_in="spoof_superb/scoring/backends.py",
        notes=(
            "the published files contain only the weights of the sum over layers and the linear head, not the frozen encoder",
            "nes2net knows the names and shapes of the tensors from the code, because no published file was available",
        ),
    )


#: Name → published detector. A name ``WavLM_…`` stands for a CtrSVDD system, and a name ``wavlm_…`` for an ASVspoof 5
#: system. AASIST and AASIST-L read the waveform itself.
PUBLISHED: dict[str, PublishedModel] = {
    "wav2vec2_Nes2Net_X": _trained_on_2019(
        {"frontend": "xlsr_300m", "aggregation": "last", "backend": "nes2net_x"},
        f"{_NES2NET}/Nes2Net_ASVspoof_ITW",
        scored_in="main.py",
        notes=("the published figures on In-the-Wild are of whole utterances, scored in train mode",),
    ),
    "Nes2Net-X": _trained_on_2019(
        {"frontend": "xlsr_300m", "aggregation": "last", "backend": {"name": "nes2net_x", "num_logits": 1}},
        f"{_NES2NET}/Nes2Net_ASVspoof_ITW",
        scored_in="main.py, easy_inference_demo.py",
        by_hand="the README of github.com/Liu-Tianchi/Nes2Net_ASVspoof_ITW links it",
        notes=(
            "the released checkpoint (EER 1.65 % on ASVspoof 2021 DF) has one logit, and main.py requires "
            "the flag n_output_logits with the value 1; other commands recognise this by the shapes of the tensors",
        ),
    ),
    "wav2vec2_AASIST": _trained_on_2019(
        {"frontend": "xlsr_300m", "aggregation": "last", "backend": "aasist"},
        "arXiv 2202.12233, github.com/TakHemlata/SSL_Anti-spoofing",
        code_licence="MIT",
        scored_in="main_SSL_LA.py, main_SSL_DF.py, data_utils_SSL.py",
    ),
    "WavLM_Nes2Net": _ctrsvdd("nes2net"),
    "WavLM_Nes2Net_X": _ctrsvdd("nes2net_x"),
    "WavLM_Nes2Net_X_SeLU": _ctrsvdd("nes2net_x_selu"),
    "wavlm_nes2net": _trained_on_asvspoof5(
        {**_WAVLM_LAST, "backend": {"name": "nes2net_x", "dilation": 1, "se_floor": 2}},
        f"{_NES2NET}/Nes2Net_ASVspoof_ITW, branch asvspoof5",
    ),
    "wavlm_aasist": _trained_on_asvspoof5(
        {**_WAVLM_LAST, "backend": "aasist"},
        f"{_NES2NET}/Nes2Net_ASVspoof_ITW, branch asvspoof5",
    ),
    "moe_AASIST": _trained_on_2019(
        {
            "frontend": _XLSR_ENCODER,
            "aggregation": "moe",
            "backend": {"name": "aasist", "score_rule": "probability"},
        },
        "arXiv 2409.11909, github.com/john852517791/pytorch_lightning_FAD",
        code_licence="MIT",
        selected_on=("asvspoof2019_la:train",),
        scored_in="models/tl_model.py, utils/arg_parse.py",
        notes=("the authors selected the epoch by the lowest training loss, not on a development set",),
    ),
    "AASIST": _trained_on_2019(
        {"frontend": "waveform", "backend": "raw_aasist"},
        "arXiv 2110.01200, github.com/clovaai/aasist",
        licence="MIT",
        code_licence="MIT",
        scored_in="main.py, data_utils.py",
        file=PublishedFile(
            f"{_AASIST}/AASIST.pth", 1_281_532, "51d2d9cf0738172f61e2a384ec50a54a55363240f67c971ed55a92435bc1a1c0"
        ),
        tensors_sha256="fcb9968a4e169ad015f760e04be6307fe209dc02be6b00ebb5b80f0496ac481d",
        parameters=297_866,
        good_for="a first try, and small machines; it knows no attack since 2019",
    ),
    "AASIST-L": _trained_on_2019(
        {"frontend": "waveform", "backend": "raw_aasist_l"},
        "arXiv 2110.01200, github.com/clovaai/aasist",
        licence="MIT",
        code_licence="MIT",
        scored_in="main.py, data_utils.py",
        file=PublishedFile(
            f"{_AASIST}/AASIST-L.pth", 426_428, "814331d088032bb4c3fa61cc014789eadeed464209dd094ab3a2dd6ffbdce27a"
        ),
        tensors_sha256="0ec7e57e877c7021e114499814e17a7561d44dd5fdcb7190033f672c2e10eae1",
        parameters=85_306,
        good_for="AASIST in a third of the size",
    ),
    "antideepfake_w2v_small": _antideepfake("wav2vec2_base", "wav2vec-small", 94_372_482),
    "antideepfake_w2v_large": _antideepfake("wav2vec2_large", "wav2vec-large", 315_439_746),
    "antideepfake_mms_300m": _antideepfake("mms_300m", "mms-300m", 315_439_746),
    "antideepfake_mms_1b": _antideepfake("mms_1b", "mms-1b", 962_498_690),
    "antideepfake_xlsr_1b": _antideepfake("xlsr_1b", "xls-r-1b", 962_498_690),
    "antideepfake_xlsr_2b": _antideepfake("xlsr_2b", "xls-r-2b", 2_159_261_570),
    "antideepfake_hubert_xlarge": _antideepfake("hubert_xlarge", "hubert-xlarge", 962_495_106),
    "multiapi_nes2net_la": PublishedModel(
        {"frontend": "xlsr_300m", "aggregation": "last", "backend": "nes2net_la"},
        "arXiv 2512.07352, github.com/XuepingZhang/MultiAPI-Spoof",
        licence="CC BY-NC 4.0",
        code_licence="CC BY-NC 4.0",
        trained_on=("MultiAPI-Spoof",),
        selected_on=("in_the_wild",),
        until=2025,
        num_samples=_CROP,
        crop="random",
        scored_in="main1.py, data_utils.py",
        notes=("also trained on corpora that the published code does not list",),
    ),
    "df_arena_500m": _df_arena(
        "xlsr_300m",
        "500M",
        PublishedFile(
            "hub:Speech-Arena-2025/DF_Arena_500M_V_1@8258fa8e74ff9b8ad20d4c939c1a7f694a6e4080/pytorch_model.bin"
        ),
        436_190_853,
    ),
    "df_arena_1b": _df_arena(
        "xlsr_1b",
        "1B",
        PublishedFile(
            "hub:Speech-Arena-2025/DF_Arena_1B_V_1@fb6ce85de12c2c5a509d89114adaf827dd75f49f/pytorch_model.bin",
            sha256="780bc14fd4c15e65d58efdef728427cf03cd29cd60be528e97badf8c89087988",
        ),
        1_147_843_973,
    ),
    "spectra_0": _spectra("lab260/spectra_0", "spectra_ecapa", 318_332_226, "−1.0625009"),
    "spectra_aasist": _spectra(
        "lab260/Spectra-AASIST",
        "spectra_aasist",
        316_012_174,
        "−1.140625",
        "eb65c2662d9e646d72557b3f4bdd08b000068c7f",
        1_264_151_840,
        "2e2727a7397f78d28b0a2a2b8ee031ff08143b9c431ea7f06fc29a808b0180db",
    ),
    "spectra_aasist3": _spectra(
        "lab260/Spectra-AASIST3",
        {"name": "spectra_aasist", "layer": "kan"},
        318_948_883,
        "−1.460938",
        "bc0ded888080ddad493177bb53aa6f5b95219d7c",
        1_276_330_956,
        "327762caab3106ecee5f26b821ccdc6ab1fe34906a3e7042f416c87927df2088",
    ),
    "xlsr_mambo_3_hydra_n3": _trained_on_2019(
        {
            "frontend": {**_XLSR_ENCODER, "normalize": True},
            "aggregation": "last",
            "backend": {
                "name": "mambo",
                "topology": "mambo_3",
                "mixer": "hydra",
                "num_layers": 5,
                "num_mixers": 3,
                "score_rule": "difference",
            },
        },
        "arXiv 2601.02944, github.com/saki-ciallo/XLSR-MamBo",
        licence="MIT",
        code_licence="MIT",
        num_samples=_MAMBO_CROP,
        scored_in="eval_asv_txt.py",
        notes=(
            "the paper's best configuration; for others, set options of the back-end",
            "the authors score in bfloat16, and normalise the waveforms of a batch of 64 together; `dtype=bfloat16`, "
            "`batch_size=64` and the front-end's option normalize=batch give nearly the same scores",
        ),
    ),
    "deepfense_xlsr_nes2net": _deepfense("xlsr_300m", {"name": "nes2net", "se_ratio": 8}),
    "deepfense_xlsr_aasist": _deepfense("xlsr_300m", _DEEPFENSE_AASIST),
    "deepfense_xlsr_tcm": _deepfense(
        "xlsr_300m", {"name": "tcm", "embed_dim": 128, "num_blocks": 1, "kernel_size": 16}
    ),
    "deepfense_hubert_nes2net": _deepfense("hubert_large", {"name": "nes2net", "se_ratio": 8}),
    "deepfense_hubert_aasist": _deepfense("hubert_large", _DEEPFENSE_AASIST),
    "deepfense_hubert_tcm": _deepfense(
        "hubert_large", {"name": "tcm", "embed_dim": 128, "num_blocks": 1, "kernel_size": 16}
    ),
    "spoof_superb_xlsr_300m": _spoof_superb("xlsr_300m", "xls_r_300m"),
    "spoof_superb_wavlm_large": _spoof_superb("wavlm_large"),
    "spoof_superb_hubert_large": _spoof_superb("hubert_large", "hubert_large_ll60k"),
    "spoof_superb_unispeech_sat": _spoof_superb("unispeech_sat_large"),
    "spoof_superb_hubert_base": _spoof_superb("hubert", "hubert_base", normalize=False),
    "spoof_superb_wav2vec2_base": _spoof_superb("wav2vec2_base", "wav2vec2_base_960", normalize=False),
}

#: Name of a published model → its architecture.
PUBLISHED_MODELS = {name: model.config for name, model in PUBLISHED.items()}

#: Repository of the hub with several fitting checkpoints, which we could not read → what its
#: publisher says of them, and the licence. A file is recognised by names and shapes.
HUB_COLLECTIONS = {
    "nielsr/nes2net-checkpoints": ("checkpoints of Nes2Net, linked by its authors' README", "not stated"),
    "sukhdeveyash/XLS-R-SLS-Deepfake-Detection": ("SLS, trained again by others than its authors", "MIT"),
    "SpeechAntiSpoofingBenchmarks/AASIST": ("AASIST, as scored for the Speech Anti-Spoofing Arena", "not stated"),
}

#: Purpose → name of the detector to try first.
BEGIN_WITH = {
    "a small machine": "AASIST-L",
    "calls, and commercial use": "spectra_aasist",
    "research, with training data that are known": "antideepfake_w2v_large",
}
