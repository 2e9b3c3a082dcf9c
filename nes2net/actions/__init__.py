"""Functions that use detectors and corpora, one for each purpose; Python programs and the commands call them.

In reading order: ``scoring``, ``prediction``, ``embedding``, ``evaluation``, ``calibration``. Then
``flags`` has the flags that several commands share.

Imports all districts except ``apps`` and ``cli``.
"""
