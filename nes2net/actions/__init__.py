"""A function for each task with detectors and corpora; Python programs and the commands call these functions.

In reading order: ``scoring``, ``prediction``, ``embedding``, ``evaluation``, ``calibration``. Then
``flags`` has the flags that several commands share.

Imports all districts except ``apps`` and ``cli``.
"""
