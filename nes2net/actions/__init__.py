"""One function for each task with detectors and corpora, for Python, commands and programs.

In reading order: ``scoring``, ``prediction``, ``embedding``, ``evaluation``, ``calibration``. Then
``flags`` has the flags that several commands share.

Imports all districts except ``apps`` and ``cli``.
"""
