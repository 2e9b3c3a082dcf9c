"""One function for each task with detectors and corpora, for Python, commands and programs.

In reading order: ``scoring``, ``prediction``, ``embedding``, ``evaluation``, ``calibration``; then
``flags``, the flags that several commands share.

Imports all districts but ``apps`` and ``cli``.
"""
