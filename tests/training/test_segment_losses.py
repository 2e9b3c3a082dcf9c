"""Training on frames: the losses are the published ones, in parts, resumed, and from wrong recipes."""

import numpy as np
import pytest
import torch
from builders import input_error, tiny_corpus, zoo
from builders.recipes import short_run
from builders.runs import history_of, state_of, weights_of
from torch.nn.functional import cross_entropy, one_hot
from torch.testing import assert_close

from nes2net import Detector, create_backend, metrics
from nes2net.data.audio.read import load_audio
from nes2net.data.audio.waveform import head_crop
from nes2net.data.corpora import partialspoof
from nes2net.training.data import list_examples
from nes2net.training.objective import StepPart
from nes2net.training.recipes.recipe import Recipe
from nes2net.training.recipes.segments import SegmentsConfig
from nes2net.training.run import train
from nes2net.training.tasks.segments import SegmentObjective, Segments

FRONTEND = {"name": "lps", "n_fft": 512, "hop_length": 160, "num_bins": 32, "normalize": True}
FRAMES = {"frontend": FRONTEND, "backend": {"name": "mean_linear", "pool": None, "score_rule": "difference"}}
EQUAL = {"name": "cross_entropy", "class_weights": [0.5, 0.5]}


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    root = tmp_path_factory.mktemp("corpora")
    tiny_corpus.make_partialspoof(root, tiny_corpus.labelled_clips(4))
    return root / "partialspoof"


@pytest.fixture
def recipe(root, tmp_path):
    """A recipe of two epochs of two steps on frames of 10 ms of PartialSpoof."""
    values = {"name": "frames", "model": FRAMES, "data": {"corpus": "partialspoof", "crop": "random"}}
    values |= {"segments": {"resolutions": [10], "boundary_share": 0.5}, "train": {"epochs": 2, "lr": 0.01}}
    return lambda **changes: short_run(root, tmp_path, values, changes)


@pytest.mark.parametrize("case", ["2x96", "1x41"])
def test_the_p2sgrad_loss_of_frames_at_each_resolution_equals_the_published_code(case):
    file = zoo.read("multires_gmlp_f128_l2")
    config = file["config"]
    case = file["cases"][case]
    options = {"num_layers": config["num_hidden_states"], "gmlp_layers": config["num_layers"]}
    options |= {key: config[key] for key in ("feature_dim", "max_frames")}
    backend = create_backend("multires_gmlp", **options)
    backend.load_state_dict(file["state_dict"])
    backend.double().eval()
    segments = backend.segments(case["hidden_states"].double().unbind(1))
    detector = Detector.from_config({"frontend": {"name": "lps", "hop_length": 320}, "backend": "mean_linear"})
    detector.backend = backend
    resolutions = [10 * int(factor) for factor in case["labels"]]
    settings = SegmentsConfig(resolutions=resolutions, loss="cosine_error")
    objective = SegmentObjective(detector, Recipe(segments=settings))

    targets = case["labels"].values()
    batch_part = StepPart(torch.zeros(0), torch.zeros(0).long(), dict(zip(map(str, resolutions), targets)))
    denominators = objective.denominators(batch_part.targets, batch_part.extra_tensors)[1:]
    frames = objective.labelled_frames(segments, batch_part)
    quotients = []
    for (logits, shares), denominator in zip(frames, denominators, strict=True):
        numerator = objective.frame_criterion.checked_numerator(logits, shares)
        quotients.append((numerator / denominator).item())
    published = [pytest.approx(case["losses_f64"][factor], abs=1e-12) for factor in case["labels"]]
    assert quotients == published


@pytest.fixture
def validated(recipe, root):
    """A function that trains an epoch, and gives its row of the history, its detector and the development set."""

    def train_and_read(head="linear", **segments):
        values = recipe(
            model={"frontend": FRONTEND, "backend": {**FRAMES["backend"], "head": head}},
            segments={"resolutions": [10], "boundary_share": None, **segments},
            data={"crop": "head"},
            train={"epochs": 1, "batch_size": 8, "loss": EQUAL},
        )
        run = train(values, "cpu")
        detector = Detector.from_pretrained(run / "epoch_1.pth").eval()
        return history_of(run)[0], detector, *development_set(values, root)

    return train_and_read


def development_set(values, root):
    """Read waveforms, the labels of their frames of 10 ms, and the classes of the utterances."""
    trials = Segments(values).trials("dev")
    labels = partialspoof.segment_labels(root, "dev", 10)
    waveforms = []
    truth = []
    for trial in trials:
        waveform = load_audio(trial.audio_path())
        frames = np.repeat(labels[trial.id], 160)[: len(waveform)]  # which is repeated if it is shorter
        waveforms.append(torch.from_numpy(head_crop(waveform, 8000)))
        truth.append(head_crop(frames, 8000).reshape(-1, 160).min(1))
    classes = torch.tensor([trial.target for trial in trials])
    return torch.stack(waveforms), torch.from_numpy(np.stack(truth)).long(), classes


HALF = torch.tensor([0.5, 0.5])


def cross_entropy_of_frames(logits, truth):
    return cross_entropy(logits.flatten(0, 1), truth.flatten(), HALF)


def squared_error_of_frames(logits, truth):
    return (logits - one_hot(truth, 2)).square().mean()


@pytest.mark.parametrize(
    "loss, head, weight, loss_of_frames",
    [
        (EQUAL, "linear", 1.0, cross_entropy_of_frames),
        ("cosine_error", "p2sgrad", 0.5, squared_error_of_frames),
        (EQUAL, "linear", 0.0, cross_entropy_of_frames),
    ],
)
def test_the_development_loss_is_the_loss_of_frames_plus_the_weighted_loss_of_utterances(
    validated, loss, head, weight, loss_of_frames
):
    """Computed here from the logits of the saved detector."""
    row, detector, waveforms, truth, classes = validated(head, loss=loss, utterance_weight=weight)
    with torch.no_grad():
        logits = detector.segment_logits(waveforms)[10]
        of_utterances = cross_entropy(detector(waveforms), classes, HALF)
    of_frames = loss_of_frames(logits, truth[:, : logits.shape[1]])
    assert row["val_loss_wo_aug"] == pytest.approx((of_frames + weight * of_utterances).item(), rel=1e-5)


def test_the_development_eer_of_frames_is_computed_from_the_frame_scores_of_the_saved_detector(validated):
    row, detector, waveforms, truth, _ = validated()
    with torch.no_grad():
        scores = detector.segment_scores(waveforms)[10].numpy()
    is_bonafide = truth[:, : scores.shape[1]].numpy() == 1
    assert row["val_segment_eer_10_wo_aug"] == metrics.compute_eer(scores[is_bonafide], scores[~is_bonafide])[0]


def test_training_on_frames_in_accumulated_parts_has_the_weights_and_losses_of_whole_batches(recipe):
    whole, accumulated = (train(recipe(comment=str(n), train={"accumulate": n}), "cpu") for n in (1, 2))
    assert_close(weights_of(accumulated), weights_of(whole), rtol=1e-5, atol=1e-6)
    losses = [row["loss"] for row in history_of(accumulated)]
    assert losses == pytest.approx([row["loss"] for row in history_of(whole)])


def test_the_loss_of_frames_alone_does_not_train_the_pooling_that_only_utterance_scores_use(recipe):
    """That pooling is an attention over time."""
    model = {"frontend": FRONTEND, "backend": {"name": "mean_linear", "pool": None, "utterance": "attentive"}}
    values = {"model": model, "train": {"precision": "bf16", "weight_decay": 0.1}}
    trained = []
    for weight in (0.0, 1.0):
        folder = train(recipe(segments={"utterance_weight": weight}, comment=str(weight), **values), "cpu")
        trained.append(len(state_of(folder)["optimizer"]["state"]))
    assert trained[0] == 2 < trained[1]  # weight and bias of the last layer


P2SGRAD = {"backend": {"name": "mean_linear", "head": "p2sgrad"}}
PIECES = {"crop": "pieces", "num_samples": 9001}


@pytest.mark.parametrize(
    "segments, changes, message",
    [
        ({"resolutions": [20]}, {}, "has 20 ms, and back-end 'mean_linear' scores frames of 10 ms"),
        ({}, {"model": {"frontend": {**FRONTEND, "hop_length": 256}}}, "a frame every 16 ms, but labels are of 10 ms"),
        ({}, {"model": {"backend": "asp_mlp"}}, "gives one score an utterance: remove `segments.resolutions`"),
        ({"loss": "p2sgrad"}, {"model": P2SGRAD}, "use a loss of logits"),
        ({}, {"augment": {"specmix": {}}}, "`augment.specmix` and `segments.resolutions` exclude each other"),
        ({"boundary_share": None}, {"data": PIECES}, "a multiple of 160"),
    ],
)
def test_settings_that_training_on_frames_cannot_use_are_refused(recipe, segments, changes, message):
    changes = {**changes, "model": {**FRAMES, **changes.get("model", {})}}
    with input_error(message):
        train(recipe(segments=segments, **changes), "cpu")


@pytest.fixture
def cut_into_pieces(recipe):
    """A recipe of pieces, its training trials and their labels."""
    values = recipe(data={"crop": "pieces", "num_samples": 8000, "min_piece": 800}, segments={"boundary_share": None})
    trials = Segments(values).trials("train")
    return values, trials, Segments(values).labels("train", trials)


def recording_of(piece):
    return piece.id.partition("[")[0]


def test_a_piece_has_the_labels_of_its_part_of_the_recording(cut_into_pieces):
    values, trials, labels = cut_into_pieces
    cut = list_examples(values.data, trials, labels=labels)
    assert cut.trials
    for piece, (start, size) in zip(cut.trials, cut.excerpts):
        end = -(-(start + size) // 160)
        expected = labels.of_trial[recording_of(piece)][start // 160 : end]
        assert cut.labels.of_trial[piece.id].tolist() == expected.tolist()
