"""Every registered loss: what its class declares is what it needs of a detector."""

import pytest
import torch
from builders import assert_near, input_error
from torch.testing import assert_close

from nes2net import Detector
from nes2net.lib.errors import BrokenPart
from nes2net.models.backends.mean_linear import MeanLinear
from nes2net.training.losses import OneClassSoftmax
from nes2net.training.losses.by_name import create_loss, with_head
from nes2net.training.registry import losses

MODEL = {"frontend": {"name": "lps", "num_bins": 32}, "aggregation": "last"}
HARD = torch.tensor([0, 0, 1, 0, 1, 0, 0])
SHARES = torch.stack([1 - torch.linspace(0, 1, 7).double(), torch.linspace(0, 1, 7).double()], 1)
#: Options that change how a loss adds up.
FURTHER = (("cross_entropy", {"normalize": False}), ("focal", {"label_smoothing": 0.1}))
#: Published keys of a loss's state dict, with their shapes for embeddings of 8 numbers.
STATES = {
    "aam_softmax": {"centers": (2, 8)},
    "am_softmax": {"centers": (2, 8)},
    "angular_softmax": {"head.weight": (2, 8)},
    "oc_softmax": {"center": (1, 8)},
    "p2sgrad": {"weight": (8, 2)},
    "prototypes": {"bonafide": (1, 8), "spoof": (20, 8)},
}
each_loss = pytest.mark.parametrize("name, options", [*((name, {}) for name in losses.names()), *FURTHER])


def loss_of(name, **options):
    """The loss over the back-end that it asks for, and that back-end."""
    backend = {"name": "asp_mlp", "hidden_dim": 8, "num_logits": losses.get(name).num_logits or 2}
    torch.manual_seed(0)
    detector = Detector.from_config(with_head({**MODEL, "backend": backend}, name))
    return create_loss({"name": name, **options}, detector.backend), detector.backend


def outputs_for(criterion, backend, **options):
    """Seven random outputs of the back-end, logits or embeddings."""
    layer = backend.last_layer
    return torch.randn(7, layer.in_features if criterion.takes_embeddings else layer.out_features, **options)


def embedded(criterion, backend):
    """Four random embeddings, and the outputs of the back-end for them that the loss takes."""
    embeddings = backend.embed(torch.randn(4, 10, 32))
    if criterion.takes_embeddings:
        return embeddings, embeddings
    return embeddings, backend.last_layer(embeddings)


def parts_of(criterion, outputs, targets, step=None):
    """The numerator and the denominator of the loss."""
    numerator = criterion.checked_numerator(outputs, targets, step)
    return numerator, criterion.weight_of(targets).to(numerator.dtype)


@pytest.mark.parametrize("targets", [HARD, SHARES], ids=["hard", "mixed"])
@each_loss
def test_losses_and_gradients_of_parts_of_a_batch_add_up_to_those_of_the_batch(name, options, targets):
    criterion, backend = loss_of(name, **options)
    outputs = outputs_for(criterion, backend, dtype=torch.float64, requires_grad=True)
    batch_loss = criterion(outputs, targets, step=3)
    (expected,) = torch.autograd.grad(batch_loss, outputs)
    numerators, denominators = zip(
        *(parts_of(criterion, outputs[p], targets[p], 3) for p in (slice(0, 2), slice(2, 7)))
    )
    weight = criterion.weight_of(targets)  # known before any output is
    assert_close(sum(denominators), weight, rtol=1e-12, atol=0)
    assert_close(sum(numerators) / weight, batch_loss, rtol=1e-12, atol=0)
    gradients = [torch.autograd.grad(numerator / weight, outputs)[0] for numerator in numerators]
    assert_close(sum(gradients), expected, rtol=1e-10, atol=1e-14)


@pytest.mark.parametrize("name", losses.names())
def test_the_state_dict_of_a_loss_has_the_published_names_and_shapes(name):
    criterion, _ = loss_of(name)
    shapes = {key: tuple(tensor.shape) for key, tensor in criterion.state_dict().items()}
    assert shapes == STATES.get(name, {})


def test_one_class_softmax_keeps_its_key_over_a_head_with_another_name():
    head = MeanLinear(feature_dim=8, head="one_class").last_layer
    assert list(OneClassSoftmax(8, head=head).state_dict()) == ["center"]


@each_loss
def test_a_mixed_label_with_the_whole_share_of_a_class_has_the_loss_of_the_hard_label_of_that_class(name, options):
    criterion, backend = loss_of(name, **options)
    outputs = outputs_for(criterion, backend)
    one_hot = torch.nn.functional.one_hot(HARD, 2).float()
    assert_close(parts_of(criterion, outputs, one_hot), parts_of(criterion, outputs, HARD))


@each_loss
def test_the_loss_of_outputs_in_half_precision_is_computed_in_float32(name, options):
    criterion, backend = loss_of(name, **options)
    outputs = outputs_for(criterion, backend)
    for dtype in (torch.float16, torch.bfloat16):
        loss = criterion(outputs.to(dtype), HARD)
        assert loss.dtype == torch.float32
        assert_near(loss, criterion(outputs.to(dtype).float(), HARD), 0)


@each_loss
def test_each_loss_gives_every_parameter_of_the_back_end_a_finite_gradient(name, options):
    criterion, backend = loss_of(name, **options)
    _, outputs = embedded(criterion, backend)
    criterion(outputs, torch.arange(4) % 2).backward()
    assert all(parameter.grad.isfinite().all() for parameter in backend.parameters())


@each_loss
def test_logits_that_a_loss_returns_equal_those_of_the_last_layer_of_the_back_end(name, options):
    criterion, backend = loss_of(name, **options)
    embeddings, outputs = embedded(criterion, backend)
    assert torch.equal(criterion.logits(outputs), backend.last_layer(embeddings))


@pytest.mark.parametrize("name", [name for name in losses.names() if not losses.get(name).takes_embeddings])
def test_a_frame_without_a_label_does_not_change_a_loss_of_logits(name):
    criterion, backend = loss_of(name)
    logits = outputs_for(criterion, backend)[:6]
    labels = torch.tensor([[1, 0], [0, 1]] * 3)
    unlabelled = torch.cat([labels, torch.zeros(2, 2, dtype=torch.long)])
    of_all = parts_of(criterion, torch.cat([logits, torch.randn_like(logits[:2])]), unlabelled)
    for sums, expected in zip(of_all, parts_of(criterion, logits, labels)):
        assert_close(sums, expected)


@pytest.mark.parametrize("name", [name for name in losses.names() if not losses.get(name).changes_with_steps])
def test_a_loss_that_declares_no_change_from_step_to_step_reads_no_step(name):
    """Recorded as a CUDA graph, it gets no number of a step."""
    criterion, backend = loss_of(name)
    outputs = outputs_for(criterion, backend)
    assert criterion(outputs, HARD, step=object()) == criterion(outputs, HARD)


@pytest.mark.parametrize("name", losses.names())
def test_a_loss_refuses_another_number_of_outputs_than_targets(name):
    """One row would be compared with every target."""
    criterion, backend = loss_of(name)
    with pytest.raises(BrokenPart, match="1 row for a batch of 7"):
        criterion(outputs_for(criterion, backend)[:1], SHARES.float())


@pytest.mark.parametrize("name", losses.names())
def test_a_loss_refuses_a_back_end_with_a_number_of_logits_that_it_cannot_use(name):
    number = losses.get(name).num_logits or 2
    backend = {"name": "asp_mlp", "hidden_dim": 8, "num_logits": 3 - number}
    with input_error(f"num_logits(=| must be ){number}|at least {number}"):
        detector = Detector.from_config(with_head({**MODEL, "backend": backend}, name))
        create_loss(name, detector.backend)(torch.zeros(2, 3 - number), torch.tensor([0, 1]))


@pytest.mark.parametrize(
    "name", ["cross_entropy", "angular_softmax", "am_softmax", "aam_softmax", "p2sgrad", "cosine_error"]
)
def test_each_loss_that_allows_more_than_two_classes_fits_a_last_layer_to_four_classes(name):
    names = ["A01", "A02", "A03", "bonafide"]
    backend = {"name": "asp_mlp", "hidden_dim": 8, "num_logits": 4, "classes": names}
    torch.manual_seed(0)
    backend = Detector.from_config(with_head({**MODEL, "backend": backend}, name, 4)).backend
    criterion = create_loss(name, backend)
    targets = torch.arange(12) % 4
    embeddings = torch.nn.functional.one_hot(targets, backend.last_layer.in_features).float()
    optimizer = torch.optim.Adam(backend.last_layer.parameters(), lr=0.05)
    for _ in range(60):
        optimizer.zero_grad()
        loss = criterion(embeddings if criterion.takes_embeddings else backend.last_layer(embeddings), targets)
        loss.backward()
        optimizer.step()
    logits = backend.last_layer(embeddings)
    posteriors = backend.posteriors(logits)
    assert torch.equal(posteriors.argmax(1), targets)


@pytest.mark.parametrize(
    "loss, message",
    [
        ({"name": "focal", "gama": 1}, "loss 'focal' has no option 'gama'; did you mean 'gamma'"),
        ({"name": "cross_entropy", "class_weights": [1, 2, 3]}, "a weight for each of 2 classes, not 3 weights"),
    ],
)
def test_a_loss_with_invalid_options_is_refused_with_the_reason(loss, message):
    with input_error(message):
        create_loss(loss, loss_of("cross_entropy")[1])


def test_a_loss_of_an_unknown_name_is_refused():
    with input_error("unknown loss 'vocal'; did you mean 'focal'"):
        create_loss("vocal", None)
