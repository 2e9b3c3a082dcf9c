"""A GPU that is not there: tensors say that they are on another device, and copies of them on the CPU compute.

==============  ====================================================================================
tensors.py      the tensors: what a CUDA device refuses is refused, waits and memory are counted
rules.py        what a CUDA device and its libraries refuse, each with its source
kernels.py      operations that only a GPU has
cuda.py         the device as ``cuda:0`` and ``cuda:1``, to Python and, by guard.cpp, to PyTorch's C++
streams.py      ``torch.cuda``: current device, streams, graphs, memory, random numbers
start/          puts the device in place in every Python process, if it is on PYTHONPATH
faults.py       faults that the device must find
checks.py       what ``scripts/simulated_cuda`` runs, beside tests/test_cuda.py
==============  ====================================================================================

``tests/test_simulated_device.py`` uses the tensors under a name of their own, without a C++
compiler.
"""
