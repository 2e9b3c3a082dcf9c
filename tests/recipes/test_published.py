"""The packaged recipes: their published values, and two training steps of each on a small corpus."""

import json
import math
import re
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from builders import noise_folders, tiny_corpus

from nes2net import Detector, InputError
from nes2net.published_models import PUBLISHED_MODELS
from nes2net.recipes.reading import load_recipe
from nes2net.recipes.recipe import Recipe, recipe_from_dict
from nes2net.scoring.score_file import write_scores
from nes2net.training.run import train
from nes2net.training.seeding import seed_everything
from nes2net.training.start import adapted

CONFIGS = Path(__file__).parents[2] / "configs"

#: Section → values of the first recipe, typed a second time here. Every other key has the toolkit's default.
NES2NET_X = {
    "data": {
        "corpus": "asvspoof2019_la",
        "num_samples": 64600,
        "crop": "head",
        "chunk_samples": [16000, 96000],
        "min_piece": 8000,
    },
    "augment": {"algo": 4, "parameters": {}, "noise_probability": 0.0, "specmix": None, "rng": "utterance"},
    "train": {
        "epochs": 100,
        "batch_size": 12,
        "accumulate": 1,
        "optimizer": "adam",
        "logistic_c": 1e6,
        "lr": 2.5e-7,
        "weight_decay": 1e-4,
        "adam_betas": [0.9, 0.999],
        "adam_eps": 1e-8,
        "amsgrad": False,
        "schedule": "constant",
        "t_max": 5,
        "decay_epochs": 5,
        "decay_factor": 0.5,
        "warmup_steps": 0,
        "warmup_from_zero": False,
        "max_grad_norm": None,
        "loss": {"name": "cross_entropy", "class_weights": [0.1, 0.9]},
        "precision": "fp32",
        "freeze_frontend_epochs": 0,
        "frontend_mode": "eval",
        "keep": "improved",
    },
    "segments": {
        "resolutions": [],
        "loss": {"name": "cross_entropy", "class_weights": [0.5, 0.5]},
        "utterance_weight": 1.0,
        "boundary_share": None,
    },
    "validation": {
        "augmented": True,
        "whole_utterances": False,
        "first_epoch": 1,
        "epochs": "all",
        "select_on": "loss",
        "patience": None,
        "mode": "eval",
    },
}


def changed(values=NES2NET_X, **sections):
    return {name: {**section, **sections.get(name, {})} for name, section in values.items()}


LORA = changed(
    train={
        "adapt": {"kind": "lora", "rank": 8, "alpha": 16, "targets": "attention", "dropout": 0.0},
        "epochs": 50,
        "precision": "bf16",
        "optimizer": "adamw",
        "lr": 2e-4,
        "schedule": "cosine",
        "warmup_steps": 500,
        "max_grad_norm": 1.0,
    },
)
SEGMENTS = changed(
    data={"corpus": "partialspoof", "crop": "random"},
    segments={"resolutions": [20], "boundary_share": 0.5},
    validation={"select_on": "segment_eer"},
)
MULTIRES = changed(
    data={"corpus": "partialspoof", "num_samples": 634880, "crop": "pieces", "min_piece": 5200},
    augment={"algo": 0},
    train={
        "epochs": 5000,
        "batch_size": 8,
        "lr": 1e-5,
        "weight_decay": 0.0,
        "schedule": "step",
        "decay_epochs": 10,
        "loss": "p2sgrad",
    },
    segments={"resolutions": [20, 40, 80, 160, 320, 640], "loss": "cosine_error"},
    validation={"patience": 50},
)
MPIF = changed(
    data={"num_samples": 80000},
    augment={
        "algo": 0,
        "specmix": {"frequency_bands": 3, "time_bands": 0, "gamma": 0.3, "probability": 0.5, "mix_labels": True},
    },
    train={
        "epochs": 32,
        "batch_size": 64,
        "lr": 3.9528e-3,
        "adam_betas": [0.9, 0.98],
        "adam_eps": 1e-9,
        "amsgrad": True,
        "schedule": "inverse_sqrt",
        "warmup_steps": 1000,
        "loss": {
            "name": "angular_softmax",
            "class_weights": [1.0, 1.0],
            "margin": 4,
            "lambda_min": 5.0,
            "lambda_max": 1500.0,
            "lambda_decay": 0.1,
        },
    },
)
LOGISTIC = changed(
    data={"num_samples": None},
    augment={"algo": 0},
    train={"epochs": 1, "optimizer": "logistic", "loss": {"name": "focal", "gamma": 0.0, "alpha": 1.0}},
    validation={"whole_utterances": True},
)
DISTILLATION = changed(
    augment={"algo": 5},
    train={
        "lr": 1e-5,
        "loss": "cross_entropy",
        "task": {"name": "distillation", "distance": "cosine", "student_init": "teacher"},
    },
    validation={"augmented": False, "select_on": "eer"},
)
SYSTEMS = ("cqcc_gmm", "lfcc_gmm", "lfcc_lcnn", "rawnet2")
ENSEMBLE = changed(
    data={
        "train_split": "dev",
        "dev_corpus": "asvspoof2021_la",
        "dev_split": "eval",
        "dev_phase": "progress",
        "train_scores": [f"{system}_2019_dev.txt" for system in SYSTEMS],
        "dev_scores": [f"{system}_2021_la.txt" for system in SYSTEMS],
        "num_samples": 66800,
    },
    augment={"algo": 0},
    train={"epochs": 60, "batch_size": 30, "lr": 1e-4, "plateau_patience": 3, "freeze_frontend": True},
    validation={"augmented": False, "patience": 9},
)
MOE = changed(
    data={"crop": "random"},
    augment={"algo": 3},
    train={
        "epochs": 50,
        "batch_size": 4,
        "optimizer": "adamw",
        "lr": 1e-5,
        "schedule": "cosine_epochs",
        "t_max": 50,
        "warmup_epochs": 3,
        "loss": {"name": "cross_entropy", "class_weights": [0.1, 0.9], "normalize": False},
        "freeze_frontend": True,
    },
    validation={"augmented": False, "patience": 3},
)
GLOBAL_FEATURE = changed(
    data={"num_samples": 64000, "crop": "pieces"},
    augment={"algo": 0},
    train={
        "batch_size": 8,
        "lr": 1e-6,
        "weight_decay": 0.0,
        "schedule": "step",
        "loss": {"name": "cross_entropy", "class_weights": [1.0, 1.0]},
    },
    validation={"patience": 10},
)
MFA = changed(
    augment={"algo": 3},
    train={"batch_size": 14, "lr": 3e-6},
    validation={"augmented": False},
)
AASIST2 = changed(
    data={"crop": "dynamic"},
    augment={"algo": 0},
    train={"lr": 1e-6, "loss": {"name": "am_softmax", "scale": 15.0, "margin": 0.2}},
)
LARGE_MARGIN = changed(
    AASIST2,
    train={
        "init_from": "aasist2_first_stage.pth",
        "epochs": 5,
        "lr": 1e-7,
        "loss": {"name": "am_softmax", "scale": 15.0, "margin": ["duration", 0.06, 0.14]},
    },
)
FIR_NB, FIR_WB = (
    changed(
        augment={"algo": 0, "fir": {"band": band, "probability": 0.5, "taps": 101}},
        train={
            "epochs": 50,
            "batch_size": 32,
            "lr": 1e-3,
            "weight_decay": 0.0,
            "freeze_frontend": True,
            "loss": {"name": "oc_softmax", "scale": 20.0, "bonafide_margin": 0.9, "spoof_margin": 0.2},
        },
    )
    for band in ("telephone", "wide")
)
PROTOTYPES = changed(
    augment={
        "algo": 0,
        "latent": {
            "kinds": ["noise", "affine", "mixup", "interpolation", "extrapolation"],
            "probability": 0.5,
            "noise": 0.1,
            "affine": 0.1,
            "mixup": 0.5,
            "factor": 0.5,
        },
    },
    train={
        "lr": 1e-6,
        "loss": {
            "name": "prototypes",
            "scale": 20.0,
            "margin": 0.2,
            "collapse_penalty": 0.1,
            "separation_penalty": 0.1,
        },
    },
)
ASVSPOOF5 = changed(
    data={"corpus": "asvspoof5", "crop": "random"},
    augment={"algo": 0, "noise_probability": 0.5},
    train={"batch_size": 64, "lr": 1e-6, "schedule": "cosine", "min_lr": 1e-7},
    validation={"first_epoch": 11, "select_on": "min_dcf", "patience": 5},
)
CTRSVDD = changed(
    data={"corpus": "ctrsvdd", "num_samples": 64000, "crop": "random_tiled"},
    augment={"algo": 8},
    train={
        "epochs": 75,
        "batch_size": 34,
        "optimizer": "adamw",
        "lr": 1e-6,
        "schedule": "cosine_epochs",
        "min_lr": 1e-9,
        "loss": {"name": "focal", "gamma": 2.0, "alpha": 0.25, "label_smoothing": 0.1},
    },
    validation={"augmented": False, "whole_utterances": True, "epochs": "around_minima", "select_on": "eer"},
)
#: Recipe → name, seed, values, comment.
PUBLISHED = {
    "asvspoof2019_nes2net_x": ("wav2vec2_Nes2Net_X", 12345, NES2NET_X, None),
    "asvspoof2019_nes2net_x_lora": ("wav2vec2_Nes2Net_X_LoRA", 12345, LORA, None),
    "asvspoof2019_nes2net_x_xlsr_1b_lora": (
        "wav2vec2_1B_Nes2Net_X_LoRA",
        12345,
        changed(LORA, train={"lr": 1e-4}),
        None,
    ),
    "asvspoof2019_aasist_rawboost4": ("wav2vec2_AASIST", 12345, NES2NET_X, None),
    "asvspoof2019_aasist_rawboost5": ("wav2vec2_AASIST", 12345, changed(augment={"algo": 5}), None),
    "partialspoof_nes2net_x": (
        "wav2vec2_Nes2Net_X",
        12345,
        changed(data={"corpus": "partialspoof"}),
        "partialspoof",
    ),
    "partialspoof_nes2net_x_segments": ("wav2vec2_Nes2Net_X_segments", 12345, SEGMENTS, None),
    "partialspoof_multires_gmlp": ("w2v2_large_multires_gMLP", 1, MULTIRES, None),
    "asvspoof2019_mpif_res2net": ("mpif_res2net", 12345, MPIF, None),
    "asvspoof2019_logistic": ("XLSR_Logistic", 12345, LOGISTIC, None),
    "asvspoof2019_one_class_distillation": ("wav2vec2_AASIST_OCKD", 12345, DISTILLATION, None),
    "asvspoof2019_ensemble": ("Ensembling", 1, ENSEMBLE, None),
    "asvspoof2019_moe_aasist": ("moe_AASIST", 888, MOE, None),
    "asvspoof2019_gf": ("ssl_GF", 1, GLOBAL_FEATURE, None),
    "asvspoof2019_lgf": ("ssl_LGF", 1, GLOBAL_FEATURE, None),
    "asvspoof2019_llgf": ("ssl_LLGF", 1, GLOBAL_FEATURE, None),
    "asvspoof2019_mfa": ("wavlm_MFA", 1234, MFA, None),
    "asvspoof2019_aasist2": ("wav2vec2_AASIST2", 1234, AASIST2, None),
    "asvspoof2019_aasist2_large_margin": ("wav2vec2_AASIST2_large_margin", 1234, LARGE_MARGIN, None),
    "asvspoof2019_fir_nb": ("wav2vec2_FIR_NB", 1234, FIR_NB, None),
    "asvspoof2019_fir_wb": ("wav2vec2_FIR_WB", 1234, FIR_WB, None),
    "asvspoof2019_prototypes": ("wav2vec2_LSR_LSA", 1234, PROTOTYPES, None),
    "asvspoof5_nes2net_x": ("wavlm_nes2net", 1234, ASVSPOOF5, None),
    "asvspoof5_aasist": ("wavlm_aasist", 1234, ASVSPOOF5, None),
    **{
        f"ctrsvdd_{backend}_{aggregation}": (name, 42, CTRSVDD, comment)
        for backend, name in (
            ("nes2net", "WavLM_Nes2Net"),
            ("nes2net_x", "WavLM_Nes2Net_X"),
            ("nes2net_x_selu", "WavLM_Nes2Net_X_SeLU"),
        )
        for aggregation, comment in (("sea", "SEA"), ("attm", "AttM"), ("weighted_sum", "WeightedSum"))
    },
}

_AASIST2 = {"name": "aasist2", "width": 14, "scale": 8, "head": "cosine", "num_logits": 2}
_ASP_COSINE = {
    "name": "asp_cosine",
    "num_layers": 24,
    "hidden_dim": 128,
    "layer_weights": "sum",
    "head": "one_class",
    "num_logits": 2,
}
_NES2NET_X = {"name": "nes2net_x", "nes_ratio": [8, 8], "dilation": 2, "pool": "mean", "se_ratio": 1, "num_logits": 2}
_GLOBAL_FEATURE = {"hidden_dim": 128, "num_logits": 2}


def model(backend, frontend="xlsr_300m", aggregation="last"):
    parts = {"frontend": frontend, "aggregation": aggregation, "backend": backend}
    return {role: {"name": part} if isinstance(part, str) else part for role, part in parts.items()}


#: Name → model of the recipes that train another one than a model of PUBLISHED_MODELS.
MODELS = {
    "mpif_res2net": model(
        {
            "name": "mpif_res2net",
            "num_frames": 600,
            "stem_channels": 16,
            "stem_convolutions": 3,
            "planes": [16, 32, 64, 128],
            "blocks": [2, 2, 2, 2],
            "strides": [1, 2, 2, 2],
            "expansion": 2,
            "base_width": 26,
            "scale": 8,
            "fusion": True,
            "perspectives": ["channel", "time", "frequency"],
            "fusion_reduction": 4,
            "attention_kernel": 3,
            "head": "angular",
            "num_logits": 2,
        },
        {
            "name": "lps",
            "n_fft": 1728,
            "hop_length": 130,
            "window": "blackman",
            "pre_emphasis": 0.97,
            "num_bins": 45,
            "normalize": False,
            "num_samples": 80000,
        },
    ),
    # what the paper leaves open is assumed
    "XLSR_Logistic": model({"name": "logistic", "num_logits": 1}, "xlsr_2b"),
    "wav2vec2_AASIST_OCKD": model(
        {"name": "one_class_distillation", "backend": {"name": "aasist"}, "frontend_level": True},
        {"name": "teacher_student", "teacher": {"name": "xlsr_300m"}, "student": {"encoder_layers": 6}},
    ),
    "Ensembling": model(
        {
            "name": "ensemble",
            "kind": "fusion",
            "num_layers": 24,
            "projection_dim": 128,
            "hidden_dim": 80,
            "lstm_layers": 3,
            "num_scores": 4,
        },
        {"name": "xlsr_300m", "normalize": True},
    ),
    "moe_AASIST": model(  # the published file has no tensors of pre-training, so PUBLISHED_MODELS differs
        {"name": "aasist", "num_logits": 2, "score_rule": "probability"},
        aggregation={
            "name": "moe",
            "experts_per_layer": 4,
            "top_k": 2,
            "hidden_dim": 128,
            "noise_epsilon": 0.01,
            "underflow": "exact",
            "balance_weight": 0.0,
        },
    ),
    "ssl_GF": model({"name": "gf", **_GLOBAL_FEATURE}, "xlsr_53"),
    "ssl_LGF": model({"name": "lgf", **_GLOBAL_FEATURE}, "xlsr_53"),
    "ssl_LLGF": model({"name": "llgf", **_GLOBAL_FEATURE, "dropout": 0.7}, "xlsr_53"),
    "wavlm_MFA": model(
        {"name": "mfa", "num_layers": 24, "variant": "paper", "bottleneck_dim": 128, "num_logits": 2},
        {"name": "wavlm_large", "normalize": False},
    ),
    "wav2vec2_Nes2Net_X_LoRA": model(_NES2NET_X),
    "wav2vec2_1B_Nes2Net_X_LoRA": model(_NES2NET_X, "xlsr_1b"),
    "wav2vec2_AASIST2": model(_AASIST2),
    "wav2vec2_AASIST2_large_margin": model(_AASIST2),
    "wav2vec2_FIR_NB": model(_ASP_COSINE),
    "wav2vec2_FIR_WB": model(_ASP_COSINE),
    "wav2vec2_LSR_LSA": model(
        {"name": "aasist", "head": {"name": "prototypes", "spoof_prototypes": 20}, "num_logits": 2}
    ),
    "wav2vec2_Nes2Net_X_segments": model({**_NES2NET_X, "pool": None, "score_rule": "difference"}),
    "w2v2_large_multires_gMLP": model(
        {
            "name": "multires_gmlp",
            "num_layers": 25,
            "gmlp_layers": 5,
            "max_frames": 2001,
            "dropout": 0.7,
            "head": "p2sgrad",
        },
        {"name": "wav2vec2_large", "normalize": True},
    ),
}


def test_there_is_a_recipe_per_published_row():
    assert {path.stem for path in CONFIGS.glob("*.yaml")} == set(PUBLISHED)


@pytest.mark.parametrize("name", PUBLISHED)
def test_values_are_the_published(name):
    model_name, seed, values, comment = PUBLISHED[name]
    recipe = load_recipe(CONFIGS / f"{name}.yaml")
    of = values["train"]
    tag = f"unknown_{model_name}_e{of['epochs']}_bz{of['batch_size']}_lr{of['lr']}_algo{values['augment']['algo']}"
    tag = "_".join(filter(None, (tag, f"seed{seed}", comment)))
    assert (recipe.name, recipe.seed, recipe.tag) == (model_name, seed, tag)
    written, defaults = recipe.written(), Recipe().written()
    for section in NES2NET_X:
        assert written[section] == {**defaults[section], **values[section]}, section
    xlsr, wavlm = "xlsr2_300m.pt", "WavLM-Large.pt"
    pretrained = {"wav2vec2": xlsr, "moe": xlsr, "ssl": "xlsr_53_56k.pt", "wavlm": wavlm, "mpif": None}
    pretrained |= {"ensembling": xlsr, "xlsr": "xlsr2_2B_1000k.pt", "w2v2": "w2v_large_lv_fsh_swbd_cv.pt"}
    pretrained["wav2vec2"] = "xlsr2_960m_1000k.pt" if "_1B_" in model_name else xlsr
    expected = None if recipe.train.task is not None else pretrained[model_name.lower().partition("_")[0]]
    assert written["ssl_checkpoint"] == expected
    assert recipe_from_dict(written) == recipe == recipe_from_dict(recipe.to_dict())


def with_two_layers(config):
    """The same model with less to build."""
    frontend = config["frontend"]
    given = {"name": frontend} if isinstance(frontend, str) else frontend
    return {**config, "frontend": {**given, "encoder_layers": 2}}


@pytest.mark.parametrize("name", PUBLISHED)
def test_models_are_the_published(name):
    recipe = load_recipe(CONFIGS / f"{name}.yaml")
    if recipe.name in MODELS:
        assert recipe.model == MODELS[recipe.name]
        return
    published = {"aggregation": "last", **PUBLISHED_MODELS[recipe.name]}
    if name.startswith("ctrsvdd_"):
        backend, aggregation = re.fullmatch("ctrsvdd_(nes2net(?:_x)?(?:_selu)?)_(.*)", name).groups()
        assert recipe.model["backend"]["name"] == backend
        published["aggregation"] = aggregation
    with torch.device("meta"):
        ours, theirs = (Detector.from_config(with_two_layers(config)) for config in (recipe.model, published))
    for part in ("frontend", "aggregation"):
        assert ours.config[part] == theirs.config[part]
    assert repr(ours.backend) == repr(theirs.backend)  # with the values that its config leaves out
    assert {k: v.shape for k, v in ours.state_dict().items()} == {k: v.shape for k, v in theirs.state_dict().items()}


@pytest.mark.parametrize("name", PUBLISHED)
def test_every_value_names_its_source(name):
    lines = (CONFIGS / f"{name}.yaml").read_text().splitlines()
    values = [line for line in lines if line.strip() and not line.startswith("#") and not line.rstrip().endswith(":")]
    assert values and not [line for line in values if " # " not in line and "name: mpif_res2net" not in line]


def test_training_asks_for_the_folders_of_noise():
    """The recipe itself can be read without them."""
    recipe = load_recipe(CONFIGS / "asvspoof5_nes2net_x.yaml")
    with pytest.raises(InputError, match=r"`augment\.musan=.*`augment\.rir=.*`augment\.noise_probability=0`"):
        recipe.check_noise()
    load_recipe(CONFIGS / "asvspoof5_nes2net_x.yaml", ["augment.noise_probability=0"]).check_noise()


# Two steps of each

CONVOLUTIONS = "[[16, 16, 8], [16, 4, 4], [16, 4, 4], [16, 4, 2]]"
SIZE = f"encoder_layers: 5, encoder_embed_dim: 64, encoder_ffn_embed_dim: 64, conv_feature_layers: {CONVOLUTIONS}"
#: The same kind of front-end, small.
SMALL = {
    **dict.fromkeys(("xlsr_300m", "xlsr_53", "xlsr_1b", "xlsr_2b"), f"model.frontend={{name: wav2vec2_small, {SIZE}}}"),
    "wavlm_large": f"model.frontend={{name: wavlm, normalize: %s, encoder_attention_heads: 4, {SIZE}}}",
    "wav2vec2_large": f"model.frontend={{name: wav2vec2_small, normalize: %s, {SIZE.replace('64', '128')}}}",
}
#: With a hop of 20 ms instead of 16, which frames of 20 ms need.
CONVOLUTIONS_OF_20_MS = CONVOLUTIONS.replace("[16, 4, 4], [16, 4, 2]", "[16, 5, 5], [16, 4, 2]")


@pytest.fixture(scope="module")
def corpora_root(tmp_path_factory):
    """Each corpus in its own layout, four clips in each part, and folders of noise."""
    root = tiny_corpus.make_all(tmp_path_factory.mktemp("corpora"))
    noise_folders.make_musan(root / "noise")
    noise_folders.make_rirs(root / "rir")
    return root


def overrides(recipe, root, tmp_path):
    """Make the recipe small: its folders, front-end, batch size, epochs and length."""
    frontend, corpus = recipe.model["frontend"], recipe.data.corpora[0].name
    changes = [
        f"data.root={root if corpus == 'asvspoof2019_la' else root / corpus}",
        "data.num_workers=0",
        "train.batch_size=2",
        "train.epochs=1",
        f"output={tmp_path / 'models'}",
        f"logs={tmp_path / 'logs'}",
    ]
    if frontend["name"] == "teacher_student":
        teacher = {"name": "wav2vec2_small", **yaml.safe_load(f"{{{SIZE}}}")}
        system = Detector.from_config({"frontend": teacher, "backend": recipe.model["backend"]["backend"]})
        system.save(tmp_path / "teacher.pth")
        changes += [f"model.frontend.teacher={teacher}", "model.frontend.student.encoder_layers=2"]
        changes += [f"train.task.teacher={tmp_path / 'teacher.pth'}", "data.num_samples=8000"]
    elif frontend["name"] == "lps":
        changes.append("model.backend.planes=[4, 8, 8, 8]")
    else:
        small = SMALL[frontend["name"]]
        changes += [small % str(frontend["normalize"]).lower() if "%s" in small else small, "ssl_checkpoint=null"]
        if recipe.data.num_samples is not None and recipe.data.crop != "pieces":
            changes.append("data.num_samples=8000")
    if recipe.segments.resolutions:
        changes = [change.replace(CONVOLUTIONS, CONVOLUTIONS_OF_20_MS) for change in changes]
    if recipe.model["backend"]["name"] == "multires_gmlp":
        changes.append(
            "model.backend={name: multires_gmlp, num_layers: 6, gmlp_layers: 1, max_frames: 160, head: p2sgrad}"
        )
    if recipe.data.crop == "dynamic":
        changes.append("data.chunk_samples=[6000, 12000]")
    if recipe.model["backend"]["name"] in ("mfa", "asp_cosine", "ensemble"):
        changes.append("model.backend.num_layers=5")
    if recipe.model["backend"]["name"] == "aasist2":
        changes.append("model.backend.scale=3")
    if recipe.train.init_from:
        changes.append(f"train.init_from={tmp_path / 'before.pth'}")
    if recipe.data.train_scores:
        changes += [f"data.dev_root={root}", "data.dev_phase=eval"]
        changes += system_scores(root, tmp_path, len(recipe.data.train_scores))
    if recipe.augment.noise_probability:
        changes += [f"augment.musan={root / 'noise'}", f"augment.rir={root / 'rir'}"]
    return changes


def system_scores(root, tmp_path, count):
    """Score files of other systems for the training and the development set of the ensemble."""
    rng, changes = np.random.default_rng(0), []
    lists = {"train_scores": "ASVspoof2019.LA.cm.dev.trl.txt", "dev_scores": "ASVspoof2021.LA.cm.eval.trl.txt"}
    for key, protocol in lists.items():
        lines = (root / "ASVspoof_LA_cm_protocols" / protocol).read_text().splitlines()
        ids = [line.split()[1 if key == "train_scores" else 0] for line in lines]
        files = [tmp_path / f"{key}_{number}.txt" for number in range(count)]
        for file in files:
            write_scores(file, ids, rng.standard_normal(len(ids)))
        changes.append(f"data.{key}=[{', '.join(map(str, files))}]")
    return changes


#: Of each kind of recipe, one that is trained, and whether it takes seconds. The others differ in the back-end or
#: the aggregation, every one of which trains in test_matrix.py, or in a number; MPIF-Res2Net's trains in
#: test_specmix_training.py.
TRAINED = {
    "asvspoof2019_aasist2_large_margin": True,
    "asvspoof2019_aasist_rawboost5": True,
    "asvspoof2019_ensemble": False,
    "asvspoof2019_fir_wb": True,
    "asvspoof2019_llgf": True,
    "asvspoof2019_logistic": False,
    "asvspoof2019_mfa": True,
    "asvspoof2019_moe_aasist": True,
    "asvspoof2019_nes2net_x": False,
    "asvspoof2019_nes2net_x_lora": True,
    "asvspoof2019_one_class_distillation": True,
    "asvspoof2019_prototypes": True,
    "asvspoof5_nes2net_x": True,
    "ctrsvdd_nes2net_x_selu_sea": True,
    "partialspoof_multires_gmlp": True,
    "partialspoof_nes2net_x_segments": False,
}


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.slow if slow else ()) for name, slow in TRAINED.items()]
)
def test_two_steps_as_the_recipe_says(name, corpora_root, tmp_path):
    path = CONFIGS / f"{name}.yaml"
    recipe = load_recipe(path, overrides(load_recipe(path), corpora_root, tmp_path))
    if recipe.train.init_from:
        Detector.from_config(recipe.model).save(recipe.train.init_from)
    folder = train(recipe, device="cpu")
    assert folder.name == recipe.tag
    assert yaml.safe_load((folder / "recipe.yaml").read_text()) == recipe.written()

    (row,) = json.loads((folder / "history.json").read_text())
    passes = {"w_aug", "wo_aug"} if recipe.augment.algo and recipe.validation.augmented else {"wo_aug"}
    assert {key.removeprefix("val_loss_") for key in row if key.startswith("val_loss_")} == passes
    assert all(math.isfinite(value) for value in row.values()) and row["improved"]

    resume = torch.load(folder / "resume.pt", weights_only=True)
    probe = recipe.train.optimizer == "logistic"  # which takes no steps, and freezes all but the last layer
    steps = 1 if recipe.train.task is not None else 2  # of the bona fide half
    assert {state["step"].item() for state in resume["optimizer"]["state"].values()} == (set() if probe else {steps})
    seed_everything(recipe.seed)
    before = Detector.from_config(adapted(recipe.model, recipe.train.adapt))
    after = Detector.from_pretrained(folder / "epoch_1.pth", device="cpu")
    assert after.config == before.config
    assert ("score_ranges" in after.record) == bool(recipe.data.train_scores)
    frozen = recipe.train.freeze_frontend
    for part in ("aggregation", "backend", *(() if frozen else ("frontend",))):  # everything is trained
        weights = list(getattr(before, part).parameters())
        changed = any(not torch.equal(a, b) for a, b in zip(weights, getattr(after, part).parameters()))
        assert not weights or changed == (part == "backend" or not probe), part
