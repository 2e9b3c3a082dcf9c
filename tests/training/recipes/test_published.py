"""The packaged recipes: their published values, and two training steps of each on a small corpus."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from builders import noise_folders, slow, tiny_corpus
from builders.runs import detector_of

from nes2net import Detector
from nes2net.models.published_models import PUBLISHED_MODELS
from nes2net.scoring.score_file import write_scores
from nes2net.training.losses.by_name import with_head
from nes2net.training.recipes.reading import apply_overrides, load_recipe
from nes2net.training.recipes.recipe import Recipe
from nes2net.training.run import train
from nes2net.training.seeding import seed_everything
from nes2net.training.start import with_adaptation

REPOSITORY = Path(__file__).parents[3]
CONFIGS = REPOSITORY / "configs"

#: Values of the first recipe by sections, typed a second time here. Every other key has the toolkit's default.
NES2NET_X = """seed=12345 comment=null ssl_checkpoint=xlsr2_300m.pt data: corpus=asvspoof2019_la num_samples=64600
    crop=head chunk_samples=[16000,96000] min_piece=8000 augment: algo=4 parameters={} noise_probability=0.0
    specmix=null rng=utterance train: epochs=100 batch_size=12 drop_last=true accumulate=1 optimizer=adam logistic_c=1e6
    lr=2.5e-7 weight_decay=1e-4 adam_betas=[0.9,0.999] adam_eps=1e-8 amsgrad=false schedule=constant t_max=5 decay_epochs=5
    decay_factor=0.5 warmup_steps=0 warmup_from_zero=false max_grad_norm=null loss.name=cross_entropy
    loss.class_weights=[0.1,0.9] precision=fp32 freeze_frontend_epochs=0 frontend_mode=eval keep=improved segments:
    resolutions=[] loss.name=cross_entropy loss.class_weights=[0.5,0.5] utterance_weight=1.0 boundary_share=null
    validation: augmented=true whole_utterances=false first_epoch=1 epochs=all select_on=loss ties=last patience=null
    precision=fp32 mode=eval frontend: name=xlsr_300m aggregation: name=last"""
LORA = """train: adapt.kind=lora adapt.rank=8 adapt.alpha=16 adapt.targets=attention adapt.dropout=0.0 epochs=50
    precision=bf16 optimizer=adamw schedule=cosine warmup_steps=500 max_grad_norm=1.0 backend: name=nes2net_x
    nes_ratio=[8,8] dilation=2 pool=mean se_ratio=1 num_logits=2"""
GLOBAL_FEATURE = """seed=1 ssl_checkpoint=xlsr_53_56k.pt data: num_samples=64000 crop=pieces augment: algo=0 train:
    batch_size=8 drop_last=false lr=1e-6 weight_decay=0.0 schedule=step loss.class_weights=[1.0,1.0] validation:
    ties=first patience=10 frontend: name=xlsr_53"""
AASIST2 = """seed=1234 data: crop=dynamic augment: algo=0 train: lr=1e-6 loss=am_softmax loss.scale=15.0 loss.margin=0.2
    backend: name=aasist2 width=14 scale=8 head=cosine num_logits=2"""
FIR = """seed=1234 augment: algo=0 fir.probability=0.5 fir.taps=101 train: epochs=50 batch_size=32 lr=1e-3
    weight_decay=0.0 freeze_frontend=true loss=oc_softmax loss.scale=20.0 loss.bonafide_margin=0.9 loss.spoof_margin=0.2
    backend: name=asp_cosine num_layers=24 hidden_dim=128 layer_weights=sum head=one_class num_logits=2"""
ASVSPOOF5 = """seed=1234 ssl_checkpoint=WavLM-Large.pt data: corpus=asvspoof5 crop=random augment: algo=0
    noise_probability=0.5 train: batch_size=64 lr=1e-6 schedule=cosine min_lr=1e-7 validation: first_epoch=11
    select_on=min_dcf patience=5"""
CTRSVDD = """seed=42 ssl_checkpoint=WavLM-Large.pt data: corpus=ctrsvdd num_samples=64000 crop=random_tiled augment:
    algo=8 train: epochs=75 batch_size=34 drop_last=false optimizer=adamw lr=1e-6 schedule=cosine_epochs min_lr=1e-9
    loss=focal loss.gamma=2.0 loss.alpha=0.25 loss.label_smoothing=0.1 validation: augmented=false
    whole_utterances=true epochs=around_minima select_on=eer ties=first"""
TRACING = """data: crop=random train: task=source_tracing task.field=attack epochs=50 lr=1e-6 loss=aam_softmax loss.scale=30
    loss.margin=0.2 validation: augmented=false select_on=trace_f1_error patience=10 backend: name=nes2net_x
    nes_ratio=[8,8] dilation=2 pool=mean se_ratio=1"""
#: Recipe → what differs from the first one. The model is that of PUBLISHED_MODELS by this name, or front-end XLS-R
#: 300M, the last layer and what is given here.
PUBLISHED = {
    "asvspoof2019_nes2net_x": "name=wav2vec2_Nes2Net_X",
    "asvspoof2019_nes2net_x_lora": f"name=wav2vec2_Nes2Net_X_LoRA {LORA} train: lr=2e-4",
    "asvspoof2019_nes2net_x_xlsr_1b_lora": f"""name=wav2vec2_1B_Nes2Net_X_LoRA ssl_checkpoint=xlsr2_960m_1000k.pt train:
        lr=1e-4 frontend: name=xlsr_1b {LORA}""",
    "asvspoof2019_source_tracing": f"""name=wav2vec2_Nes2Net_X_tracing {TRACING} train: task.aliases.A16=A04
        task.aliases.A19=A06""",
    "mlaad_source_tracing": f"name=wav2vec2_Nes2Net_X_tracing_MLAAD data: corpus=mlaad {TRACING} train: task.min_trials=10",
    "asvspoof2019_aasist_rawboost4": "name=wav2vec2_AASIST",
    "asvspoof2019_aasist_rawboost5": "name=wav2vec2_AASIST augment: algo=5",
    "partialspoof_nes2net_x": "name=wav2vec2_Nes2Net_X comment=partialspoof data: corpus=partialspoof",
    "partialspoof_nes2net_x_segments": """name=wav2vec2_Nes2Net_X_segments data: corpus=partialspoof crop=random
        segments: resolutions=[20] boundary_share=0.5 validation: select_on=segment_eer backend: name=nes2net_x
        nes_ratio=[8,8] dilation=2 pool=null se_ratio=1 num_logits=2 score_rule=difference""",
    "partialspoof_multires_gmlp": """name=w2v2_large_multires_gMLP seed=1 ssl_checkpoint=w2v_large_lv_fsh_swbd_cv.pt
        data: corpus=partialspoof num_samples=634880 crop=pieces min_piece=5200 augment: algo=0 train: epochs=5000
        batch_size=8 drop_last=false lr=1e-5 weight_decay=0.0 schedule=step decay_epochs=10 loss=p2sgrad segments:
        resolutions=[20,40,80,160,320,640] loss=cosine_error validation: ties=first patience=50 frontend:
        name=wav2vec2_large normalize=true feature_grad_mult=0.0 encoder_layerdrop=0.0 backend:
        name=multires_gmlp num_layers=25 gmlp_layers=5 max_frames=2001 dropout=0.7 head=p2sgrad""",
    "asvspoof2019_mpif_res2net": """name=mpif_res2net ssl_checkpoint=null data: num_samples=80000 augment: algo=0
        specmix.frequency_bands=3 specmix.time_bands=0 specmix.gamma=0.3 specmix.probability=0.5 specmix.mix_labels=true
        train: epochs=32 batch_size=64 lr=3.9528e-3 adam_betas=[0.9,0.98] adam_eps=1e-9 amsgrad=true
        schedule=inverse_sqrt warmup_steps=1000 loss=angular_softmax loss.class_weights=[1.0,1.0] loss.margin=4
        loss.lambda_min=5.0 loss.lambda_max=1500.0 loss.lambda_decay=0.1 frontend: name=lps n_fft=1728 hop_length=130
        window=blackman pre_emphasis=0.97 num_bins=45 normalize=false num_samples=80000 backend: name=mpif_res2net
        num_frames=600 stem_channels=16 stem_convolutions=3 planes=[16,32,64,128] blocks=[2,2,2,2] strides=[1,2,2,2]
        expansion=2 base_width=26 scale=8 fusion=true perspectives=[channel,time,frequency] fusion_reduction=4
        attention_kernel=3 head=angular num_logits=2""",
    # what the paper leaves open is assumed
    "asvspoof2019_logistic": """name=XLSR_Logistic ssl_checkpoint=xlsr2_2B_1000k.pt data: num_samples=null augment:
        algo=0 train: epochs=1 optimizer=logistic loss=focal loss.gamma=0.0 loss.alpha=1.0 validation:
        whole_utterances=true frontend: name=xlsr_2b backend: name=logistic num_logits=1""",
    "asvspoof2019_one_class_distillation": """name=wav2vec2_AASIST_OCKD ssl_checkpoint=null augment: algo=5 train:
        lr=1e-5 loss=cross_entropy task=distillation task.distance=cosine task.student_init=teacher validation:
        augmented=false select_on=eer frontend: name=teacher_student teacher.name=xlsr_300m student.encoder_layers=6
        backend: name=one_class_distillation backend.name=aasist frontend_level=true""",
    "asvspoof2019_ensemble": """name=Ensembling seed=1 data: train_split=dev dev_corpus=asvspoof2021_la dev_split=eval
        dev_phase=progress num_samples=66800
        train_scores=[cqcc_gmm_2019_dev.txt,lfcc_gmm_2019_dev.txt,lfcc_lcnn_2019_dev.txt,rawnet2_2019_dev.txt]
        dev_scores=[cqcc_gmm_2021_la.txt,lfcc_gmm_2021_la.txt,lfcc_lcnn_2021_la.txt,rawnet2_2021_la.txt] augment: algo=0
        train: epochs=60 batch_size=30 lr=1e-4 plateau_patience=3 freeze_frontend=true validation: augmented=false
        patience=9 frontend: normalize=true backend: name=ensemble kind=fusion num_layers=24 projection_dim=128
        hidden_dim=80 lstm_layers=3 num_scores=4""",
    # the published file has no tensors of pre-training, so PUBLISHED_MODELS differs
    "asvspoof2019_moe_aasist": """name=moe_AASIST seed=888 data: crop=random augment: algo=3 train: epochs=50
        batch_size=4 optimizer=adamw lr=1e-5 schedule=cosine_epochs t_max=50 warmup_epochs=3 loss.normalize=false
        freeze_frontend=true validation: augmented=false ties=first patience=3 aggregation: name=moe experts_per_layer=4 top_k=2
        hidden_dim=128 noise_epsilon=0.01 underflow=exact balance_weight=0.0 backend: name=aasist num_logits=2
        score_rule=probability""",
    **{
        f"asvspoof2019_{name}": f"""name=ssl_{name.upper()} {GLOBAL_FEATURE} backend: name={name} hidden_dim=128
            num_logits=2 {more}"""
        for name, more in (("gf", ""), ("lgf", ""), ("llgf", "backend: dropout=0.7"))
    },
    "asvspoof2019_mfa": """name=wavlm_MFA seed=1234 ssl_checkpoint=WavLM-Large.pt augment: algo=3 train: batch_size=14
        lr=3e-6 validation: augmented=false frontend: name=wavlm_large normalize=false backend: name=mfa num_layers=24
        variant=paper bottleneck_dim=128 num_logits=2""",
    "asvspoof2019_aasist2": f"name=wav2vec2_AASIST2 {AASIST2}",
    "asvspoof2019_aasist2_large_margin": f"""name=wav2vec2_AASIST2_large_margin {AASIST2} train:
        init_from=aasist2_first_stage.pth epochs=5 lr=1e-7 loss.margin=[duration,0.06,0.14]""",
    "asvspoof2019_fir_nb": f"name=wav2vec2_FIR_NB {FIR} augment: fir.band=telephone",
    "asvspoof2019_fir_wb": f"name=wav2vec2_FIR_WB {FIR} augment: fir.band=wide",
    "asvspoof2019_prototypes": """name=wav2vec2_LSR_LSA seed=1234 augment: algo=0 latent.probability=0.5
        latent.kinds=[noise,affine,mixup,interpolation,extrapolation] latent.noise=0.1 latent.affine=0.1
        latent.mixup=0.5 latent.factor=0.5 train: lr=1e-6 loss=prototypes loss.scale=20.0 loss.margin=0.2
        loss.collapse_penalty=0.1 loss.separation_penalty=0.1 backend: name=aasist head.name=prototypes
        head.spoof_prototypes=20 num_logits=2""",
    "asvspoof5_nes2net_x": f"name=wavlm_nes2net {ASVSPOOF5}",
    "asvspoof5_aasist": f"name=wavlm_aasist {ASVSPOOF5}",
    **{
        f"ctrsvdd_{backend.lower()}_{aggregation.lower()}": (
            f"name=WavLM_{backend} comment={aggregation.replace('_', '')} {CTRSVDD}"
        )
        for backend in ("Nes2Net", "Nes2Net_X", "Nes2Net_X_SeLU")
        for aggregation in ("SEA", "AttM", "Weighted_Sum")
    },
}


def typed(name):
    """The values of a recipe as they are typed here; the model only if it is not that of PUBLISHED_MODELS."""
    overrides = []
    section = ""
    for word in f"{NES2NET_X} recipe: {PUBLISHED[name]}".split():
        if word.endswith(":"):
            prefix = "model." if word in ("frontend:", "aggregation:", "backend:") else ""
            section = "" if word == "recipe:" else f"{prefix}{word[:-1]}."
        else:
            overrides.append(f"{section}{word}")
    return apply_overrides({}, overrides)


def test_this_file_types_published_values_for_each_recipe_in_configs_and_no_other():
    assert {path.stem for path in CONFIGS.glob("*.yaml")} == set(PUBLISHED)


def test_the_values_of_each_recipe_outside_its_model_are_the_published_ones_typed_here():
    defaults = Recipe().to_readable_dict()
    for name in PUBLISHED:
        values = typed(name)
        del values["model"]
        written = load_recipe(CONFIGS / f"{name}.yaml").to_readable_dict()
        for key, value in values.items():
            assert written[key] == ({**defaults[key], **value} if isinstance(value, dict) else value), (name, key)


def with_two_layers(config):
    """The same model with less to build."""
    frontend = config["frontend"]
    frontend_options = {"name": frontend} if isinstance(frontend, str) else frontend
    return {**config, "frontend": {**frontend_options, "encoder_layers": 2}}


#: Recipes whose model is typed here, and not that of PUBLISHED_MODELS.
TYPED_MODELS = [name for name, values in PUBLISHED.items() if "backend:" in values]
OTHER_MODELS = [name for name in PUBLISHED if name not in TYPED_MODELS and "ctrsvdd" not in name]


def test_the_model_of_a_recipe_is_the_one_typed_here():
    for name in TYPED_MODELS:
        assert load_recipe(CONFIGS / f"{name}.yaml").model == typed(name)["model"], name


def assert_same_model(config, published):
    with torch.device("meta"):
        recipe_model = Detector.from_config(with_two_layers(config))
        published_model = Detector.from_config(with_two_layers(published))
    for part_name in ("frontend", "aggregation"):
        assert recipe_model.config[part_name] == published_model.config[part_name]
    assert repr(recipe_model.backend) == repr(published_model.backend)  # with the values that its config leaves out
    assert {k: v.shape for k, v in recipe_model.state_dict().items()} == {
        k: v.shape for k, v in published_model.state_dict().items()
    }


@pytest.mark.parametrize("name", OTHER_MODELS)
def test_the_model_of_a_recipe_equals_the_entry_of_published_models_under_the_name_of_the_recipe(name):
    recipe = load_recipe(CONFIGS / f"{name}.yaml")
    assert_same_model(recipe.model, {"aggregation": "last", **PUBLISHED_MODELS[recipe.name]})


@pytest.mark.parametrize("aggregation", ["sea", "attm", "weighted_sum"])
@pytest.mark.parametrize("backend", ["nes2net", "nes2net_x", "nes2net_x_selu"])
def test_a_ctrsvdd_recipe_has_its_published_model_with_the_back_end_and_aggregation_in_its_name(backend, aggregation):
    recipe = load_recipe(CONFIGS / f"ctrsvdd_{backend}_{aggregation}.yaml")
    assert recipe.model["backend"]["name"] == backend
    assert recipe.frontend["feature_grad_mult"] == recipe.frontend["encoder_layerdrop"] == 0  # stated, for any file
    assert_same_model(recipe.model, {**PUBLISHED_MODELS[recipe.name], "aggregation": aggregation})


def test_the_sources_of_each_recipe_cover_every_value_in_its_file():
    for path in CONFIGS.glob("*.yaml"):
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
        del values["about"]
        sources = tuple(f"{source}." for source in values.pop("sources"))
        assert [key for key in keys_in(values) if not f"{key}.".startswith(sources)] == [], path


def keys_in(values, prefix=""):
    """The full names of all keys of a recipe, such as ``train.loss.margin``."""
    for key, value in values.items():
        if isinstance(value, dict):
            yield from keys_in(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}"


# Two steps of each

CONVOLUTIONS = "[[16, 16, 8], [16, 4, 4], [16, 4, 4], [16, 4, 2]]"
SIZE = f"encoder_layers: 5, encoder_embed_dim: 64, encoder_ffn_embed_dim: 64, conv_feature_layers: {CONVOLUTIONS}"
#: With a hop of 20 ms instead of 16, which frames of 20 ms need.
CONVOLUTIONS_OF_20_MS = CONVOLUTIONS.replace("[16, 4, 4], [16, 4, 2]", "[16, 5, 5], [16, 4, 2]")
#: Back-end → options that make it small, or fit the layers of the small front-end.
SMALL_BACKEND = {
    **dict.fromkeys(("mfa", "asp_cosine", "ensemble"), ".num_layers=5"),
    "aasist2": ".scale=3",
    "multires_gmlp": "={name: multires_gmlp, num_layers: 6, gmlp_layers: 1, max_frames: 160, head: p2sgrad}",
}


@pytest.fixture(scope="module")
def corpora_root(tmp_path_factory):
    """Each corpus in its own layout, four clips in each part, and folders of noise."""
    root = tiny_corpus.make_all(tmp_path_factory.mktemp("corpora"))
    noise_folders.make_musan(root / "noise")
    noise_folders.make_rirs(root / "rir")
    return root


def overrides(recipe, root, tmp_path):
    """Make the recipe small: its folders, front-end, batch size, epochs and length."""
    frontend = recipe.model["frontend"]
    backend = recipe.model["backend"]
    corpus = recipe.data.corpora[0].name
    changes = [f"data.root={root if corpus == 'asvspoof2019_la' else root / corpus}", "data.num_workers=0"]
    changes += ["train.batch_size=2", f"output={tmp_path / 'models'}", f"logs={tmp_path / 'logs'}"]
    if frontend["name"] == "teacher_student":
        teacher = {"name": "wav2vec2_small", **yaml.safe_load(f"{{{SIZE}}}")}
        Detector.from_config({"frontend": teacher, "backend": backend["backend"]}).save(tmp_path / "teacher.pth")
        changes += [f"model.frontend.teacher={teacher}", "model.frontend.student.encoder_layers=2"]
        changes += [f"train.task.teacher={tmp_path / 'teacher.pth'}", "data.num_samples=8000"]
        changes.append("train.epochs=2")  # of one step each, of the bona fide half
    else:  # the same kind of front-end
        changes.append("train.epochs=1")
        kind = "wavlm, encoder_attention_heads: 4" if frontend["name"] == "wavlm_large" else "wav2vec2_small"
        size = SIZE.replace("64", "128") if frontend["name"] == "wav2vec2_large" else SIZE
        size = size.replace(CONVOLUTIONS, CONVOLUTIONS_OF_20_MS) if recipe.segments.resolutions else size
        normalize = json.dumps(frontend.get("normalize", False))
        changes += [f"model.frontend={{name: {kind}, normalize: {normalize}, {size}}}", "ssl_checkpoint=null"]
        if recipe.data.crop != "pieces":
            changes.append("data.num_samples=8000")
    if backend["name"] in SMALL_BACKEND:
        changes.append(f"model.backend{SMALL_BACKEND[backend['name']]}")
    if recipe.data.crop == "dynamic":
        changes.append("data.chunk_samples=[6000, 12000]")
    if recipe.train.init_from:
        changes.append(f"train.init_from={tmp_path / 'before.pth'}")
    if recipe.augment.noise_probability:
        changes += [f"augment.musan={root / 'noise'}", f"augment.rir={root / 'rir'}"]
    if recipe.data.train_scores:
        changes += [f"data.dev_root={root}", "data.dev_phase=eval"]
        lists = {"train_scores": "ASVspoof2019.LA.cm.dev.trl.txt", "dev_scores": "ASVspoof2021.LA.cm.eval.trl.txt"}
        for key, protocol in lists.items():
            lines = (root / "ASVspoof_LA_cm_protocols" / protocol).read_text().splitlines()
            ids = [line.split()[1 if key == "train_scores" else 0] for line in lines]
            files = [tmp_path / f"{key}_{number}.txt" for number in range(len(recipe.data.train_scores))]
            for number, file in enumerate(files):
                write_scores(file, ids, np.random.default_rng(number).standard_normal(len(ids)))
            changes.append(f"data.{key}=[{', '.join(map(str, files))}]")
    return changes


#: Of each kind of recipe, one that is trained; the slow ones take seconds. The others differ in the back-end or the
#: aggregation, every one of which trains in test_matrix.py, or in a number; MPIF-Res2Net trains in
#: tests/training/test_resume.py, logistic regression in tests/training/test_logistic.py.
TRAINED = ["partialspoof_nes2net_x_segments"]
TRAINED += slow(
    "asvspoof2019_aasist2_large_margin",
    "asvspoof2019_aasist_rawboost5",
    "asvspoof2019_ensemble",
    "asvspoof2019_fir_wb",
    "asvspoof2019_llgf",
    "asvspoof2019_mfa",
    "asvspoof2019_moe_aasist",
    "asvspoof2019_nes2net_x",
    "asvspoof2019_nes2net_x_lora",
    "asvspoof2019_one_class_distillation",
    "asvspoof2019_prototypes",
    "asvspoof5_nes2net_x",
    "ctrsvdd_nes2net_x_selu_sea",
    "partialspoof_multires_gmlp",
)


def trained(name, corpora_root, tmp_path):
    """A recipe that was trained on its small corpus, its run folder, and its detector before and after."""
    path = CONFIGS / f"{name}.yaml"
    recipe = load_recipe(path, overrides(load_recipe(path), corpora_root, tmp_path))
    if recipe.train.init_from:
        Detector.from_config(recipe.model).save(recipe.train.init_from)
    folder = train(recipe, device="cpu")
    seed_everything(recipe.seed)
    before = Detector.from_config(with_head(with_adaptation(recipe.model, recipe.train.adapt), recipe.train.loss))
    return recipe, folder, before, detector_of(folder)


@pytest.mark.parametrize("name", TRAINED)
def test_two_steps_of_a_recipe_train_every_part_that_it_does_not_freeze(name, corpora_root, tmp_path):
    """The optimiser has made two steps, and some weight of each such part differs from its start."""
    recipe, folder, before, after = trained(name, corpora_root, tmp_path)
    resume = torch.load(folder / "resume.pt", weights_only=True)
    assert {state["step"].item() for state in resume["optimizer"]["state"].values()} == {2}
    parts = {"aggregation", "backend", "frontend"}
    if recipe.train.freeze_frontend:
        parts.remove("frontend")
    for part_name in parts:
        start = list(getattr(before, part_name).parameters())
        end = getattr(after, part_name).parameters()
        if start:
            assert any(not torch.equal(a, b) for a, b in zip(start, end)), part_name
