"""Read and augment recordings, and list the recordings of corpora.

In reading order: ``audio`` reads, checks, resamples and crops a recording; ``augment`` distorts
recordings for training; ``corpora`` declares the recordings, protocols and keys of each corpus.

This package imports ``lib`` and ``metrics``.
"""
