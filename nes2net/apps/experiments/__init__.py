"""Whole experiments: runs over a grid and seeds, published results and their reproduction.

In reading order: ``description`` reads a YAML file, ``plan`` and ``jobs`` make runs of it,
``running`` and ``slurm`` run them, ``result`` tabulates the figures; ``reproduce`` compares a detector
with its published figures, and ``missing`` lists the files that are missing. Experiments that come
with the toolkit are in ``packaged``.
"""
