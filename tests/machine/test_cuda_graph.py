"""What a CPU shows of CUDA graphs; tests/test_cuda.py has the rest."""

import copy

import torch

from nes2net.machine.cuda_graph import Replayed


def test_a_cpu_computes_in_the_ordinary_way():
    calls = []
    replayed = Replayed(lambda x: (calls.append(x), x + 1)[1])
    assert [replayed(torch.tensor(float(i))).item() for i in range(3)] == [1, 2, 3] and len(calls) == 3


def test_a_compiled_detector_can_be_copied(detector):
    """Its recordings stay behind, and the copy computes with its own weights."""
    detector._replayed = Replayed(detector._scores)
    twin = copy.deepcopy(detector)
    with torch.no_grad():
        for parameter in twin.parameters():
            parameter.zero_()
    assert twin._replayed.compute.__self__ is twin
    assert twin.scores(torch.zeros(1, 16000)).item() != detector.scores(torch.zeros(1, 16000)).item()


def test_recordings_are_dropped_with_the_weights(detector, small_model):
    """They know where in memory the weights were."""
    changes = [
        lambda: detector.to(torch.float64),
        lambda: detector.load_state_dict(detector.state_dict(), assign=True),
        lambda: detector.load_published(detector.state_dict(), "weights", assign=True),
    ]
    for change in changes:
        detector._replayed = before = Replayed(detector._scores)
        change()
        assert detector._replayed is not before
