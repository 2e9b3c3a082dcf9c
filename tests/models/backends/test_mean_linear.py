"""Mean and linear: the detectors of AntiDeepfake on tiny encoders."""

import pytest
import torch
from builders import assert_near, zoo
from builders import golden_backends as gb

from nes2net import Detector, create_backend
from nes2net.models.checkpoints.fairseq import to_fairseq
from nes2net.training.losses import OneClassSoftmax

ONE_CLASS = "antideepfake_xlsr_ocsoftmax"


def published_cosine(case):
    return case["output"][:, 1]


def published_probability(case):
    return case["probability_real"]


#: Published file → what the published code scores by.
FILES = {
    "antideepfake_base": published_probability,
    "antideepfake_large": published_probability,
    ONE_CLASS: published_cosine,
    "antideepfake_hubert": published_probability,
}

#: the published code takes softmax, layer norms and the unit length of the vector in float32
AGREES = 1e-6


def detector_of(name, folder):
    """The detector of a published file, and the reference."""
    file = zoo.read(name)
    torch.save({"state_dict": file["state_dict"]}, folder / "published.ckpt")
    return Detector.from_pretrained(folder / "published.ckpt", "cpu", config=zoo.antideepfake_config(name)), file


@pytest.mark.parametrize("name, published_score", FILES.items())
def test_whole_detectors_of_antideepfake_equal_the_published_code(name, published_score, tmp_path):
    """From the file and a waveform to logits, score and gradients."""
    detector, file = detector_of(name, tmp_path)
    with torch.no_grad():
        for case in file["cases"].values():
            assert_near(detector(case["waveform"][None]), case["output"], AGREES)
            expected = published_score(case).item()
            assert detector.score(case["waveform"], 16000) == pytest.approx(expected, abs=1e-5)
    detector.frontend.set_normalize(False)
    detector.double()
    for case in file["cases"].values():
        detector.zero_grad()
        waveform = case["normalised"][None].double().requires_grad_()
        logits = detector(waveform)
        assert_near(logits.detach(), case["output_f64"], AGREES)
        gb.published_loss(logits).backward()
        mode = detector.frontend.extractor_mode
        encoder = {f"m_ssl.model.{to_fairseq(k, mode)}": p for k, p in detector.frontend.model.named_parameters()}
        parameters = {**encoder, **dict(detector.backend.named_parameters()), "__input__": waveform}
        gb.check_norms(
            gb.gradient_norms({key: parameters[key] for key in case["grad_norms"]}), case["grad_norms"], rel=1e-5
        )


def padded(file):
    """All waveforms as one batch; they are normalised before they are padded."""
    return torch.nn.utils.rnn.pad_sequence([case["normalised"] for case in file["cases"].values()], batch_first=True)


@pytest.mark.parametrize("name", FILES)
def test_a_padded_batch_has_the_logits_of_antideepfake(name, tmp_path):
    """Zeros behind a shorter waveform count in the mean of its frames."""
    detector, file = detector_of(name, tmp_path)
    detector.frontend.set_normalize(False)
    with torch.no_grad():
        assert_near(detector(padded(file)), file["padded_batch_output"], AGREES)


def test_the_loss_of_the_one_class_head_equals_that_of_antideepfake(tmp_path):
    detector, file = detector_of(ONE_CLASS, tmp_path)
    published = file["loss"]
    head = detector.backend.last_layer
    criterion = OneClassSoftmax(24, published["alpha"], published["m_real"], published["m_fake"], head=head)
    detector.frontend.set_normalize(False)
    with torch.no_grad():
        embeddings = detector.backend.embed(*detector.frontend(padded(file)))
        assert criterion(embeddings, published["labels"]).item() == pytest.approx(published["value"], rel=1e-6)


def test_the_one_class_head_lengthens_a_short_weight_vector_by_a_factor_of_at_most_100000():
    backend = create_backend("mean_linear", feature_dim=4, head="one_class")
    with torch.no_grad():
        backend.proj_fc.weight.copy_(torch.tensor([[3e-6], [0], [0], [0]]))
    features = torch.tensor([[[2.0, 0, 0, 0]]])
    assert_near(backend(features).detach(), torch.tensor([[-0.3, 0.3]]), 1e-6)
