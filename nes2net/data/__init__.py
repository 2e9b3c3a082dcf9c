"""Waveforms and where they come from.

In reading order: ``audio`` reads, checks, resamples and crops a recording; ``augment`` distorts it
for training; ``corpora`` declares where the recordings, protocols and keys of each corpus are.

This package imports ``lib`` and ``metrics``.
"""
