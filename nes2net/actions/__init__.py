"""What a person does with detectors and corpora, each as one function for Python, commands and programs.

In reading order: ``scoring``, ``prediction``, ``embedding``, ``evaluation``, ``calibration``; then
``flags``, the flags that several commands share.

Imports all districts but ``apps`` and ``cli``.
"""
