"""Functions for Python programs and commands, one for each task with a detector or a corpus.

In reading order: ``scoring``, ``prediction``, ``embedding``, ``evaluation``, ``calibration``; then
``flags``, which several commands share.

May import all of the package except ``apps`` and ``cli``.
"""
