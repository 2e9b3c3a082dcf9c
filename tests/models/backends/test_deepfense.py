"""DeepFense: its AASIST, and whole files that its release 0.2.2 writes."""

import sys
from unittest.mock import MagicMock

import pytest
import torch
from builders import assert_near, zoo

from nes2net import Detector
from nes2net.models.backends.aasist import Aasist
from nes2net.models.checkpoints.huggingface import library_options
from nes2net.models.published_models import PUBLISHED

#: Back-end of a row → type, arguments and size of the embedding in DeepFense's configurations.
BACKENDS = {
    "nes2net": ("Nes2Net", {"nes_ratio": [4, 4]}, 48),  # for the small encoder
    "aasist": ("AASIST", {}, 160),
    "tcm": ("TCM", {"emb_size": 128, "heads": 4, "num_encoders": 1}, 128),
}
#: The encoder of the small pre-training file.
TINY = {"conv_feature_layers": [[32, 10, 5], *[[32, 3, 2]] * 4, *[[32, 2, 2]] * 2], "encoder_layers": 3}
TINY |= {"encoder_embed_dim": 48, "encoder_ffn_embed_dim": 96, "encoder_attention_heads": 4, "conv_pos": 128}
TINY |= {"conv_pos_groups": 16, "extractor_mode": "layer_norm", "layer_norm_first": True, "conv_bias": True}


def test_aasist_with_the_pool_ratios_of_deepfense_equals_its_code():
    file = zoo.read("deepfense_aasist_d48")
    pool_ratios = PUBLISHED["deepfense_xlsr_aasist"].config["backend"]["pool_ratios"]
    backend = Aasist(feature_dim=48, pool_ratios=pool_ratios).double().eval()
    backend.load_state_dict(file["state_dict"])
    for case in file["cases"].values():
        with torch.no_grad():
            assert_near(backend(case["features"].double()), case["output_f64"], 1e-10)


@pytest.mark.weekly
@pytest.mark.parametrize("source", ["fairseq", "huggingface"])
@pytest.mark.parametrize("name", [name for name in PUBLISHED if name.startswith("deepfense")])
def test_a_detector_from_a_file_that_deepfense_writes_has_the_logits_of_deepfense(
    name, source, pretrained, tmp_path, monkeypatch
):
    """Of every published model, with a small encoder."""
    import transformers

    how = "pip install --no-deps deepfense==0.2.2 einops omegaconf"
    with monkeypatch.context() as patched:
        patched.setitem(sys.modules, "torchaudio", MagicMock())  # for other front-ends than these
        models = pytest.importorskip("deepfense.models", reason=f"deepfense is not installed: {how}")
    torch.manual_seed(0)
    frontend = "wav2vec2" if "xlsr" in name else "hubert"
    encoder_path = pretrained / "tiny_w2v2_plain.pt"
    if source == "huggingface":
        encoder_path = tmp_path / "folder"
        kind = "Hubert" if frontend == "hubert" else "Wav2Vec2"
        library = getattr(transformers, f"{kind}Config")(**library_options(TINY))
        getattr(transformers, f"{kind}Model")(library).save_pretrained(encoder_path)
    kind, arguments, embedding_dim = BACKENDS[name.rpartition("_")[2]]
    published = models.ModularDetector(
        {
            "frontend": {"type": frontend, "args": {"ckpt_path": str(encoder_path), "source": source}},
            "backend": {"type": kind, "args": {"input_dim": 48, **arguments}},
            "loss": [{"type": "CrossEntropy", "embedding_dim": embedding_dim, "n_classes": 2}],
        }
    ).eval()
    state = {"model_state": published.state_dict(), "optimizer_state": {}, "epoch": 1, "step": 1, "best_metric": 0.0}
    torch.save(state, tmp_path / "best_model.pth")  # as StandardTrainer.save_checkpoint
    config = PUBLISHED[name].config
    options = {**TINY, **config["frontend"], "name": frontend}
    backend = {**config["backend"]}
    if backend["name"] == "nes2net":
        backend |= arguments
    full_config = {**config, "frontend": options, "backend": backend}
    detector = Detector.from_pretrained(tmp_path / "best_model.pth", "cpu", config=full_config)
    waveform = 0.1 * torch.randn(3, 16000)
    with torch.inference_mode():
        expected = published(waveform)
        logits = detector(waveform)
    assert_near(logits, expected["logits"], 1e-5)
