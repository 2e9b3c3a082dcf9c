"""What a CPU shows of CUDA graphs; tests/test_cuda.py has the rest."""

import copy

import torch

from nes2net.lib.computing.cuda_graph import Replayed


def test_a_copy_of_a_compiled_detector_computes_with_its_own_weights(spectral_detector):
    spectral_detector._replayed = Replayed(spectral_detector._scores)
    twin = copy.deepcopy(spectral_detector)
    with torch.no_grad():
        for parameter in twin.parameters():
            parameter.zero_()
    assert twin._replayed.compute.__self__ is twin
    assert twin.scores(torch.zeros(1, 16000)).item() != spectral_detector.scores(torch.zeros(1, 16000)).item()


def test_recorded_cuda_graphs_are_dropped_when_the_weights_are_replaced(spectral_detector):
    """A graph holds the addresses of the weights in memory."""
    changes = [
        lambda: spectral_detector.to(torch.float64),
        lambda: spectral_detector.load_state_dict(spectral_detector.state_dict(), assign=True),
    ]
    for change in changes:
        spectral_detector._replayed = before = Replayed(spectral_detector._scores)
        change()
        assert spectral_detector._replayed is not before
