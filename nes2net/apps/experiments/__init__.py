"""Whole experiments: runs over a grid and seeds, published results and their reproduction.

In reading order: ``description`` reads a YAML file, ``plan`` and ``jobs`` make runs of it,
``running`` and ``slurm`` run them, ``result`` says what came out; ``reproduce`` compares a detector
with its published figures, and ``missing`` says which files are not there. Experiments that
come with the toolkit are in ``packaged``.
"""
