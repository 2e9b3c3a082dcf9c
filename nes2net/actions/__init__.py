"""Functions for Python programs and for the commands, one for each task that needs a detector or a corpus.

Read the modules in this order: ``scoring``, ``prediction``, ``embedding``, ``evaluation``,
``calibration``, and then ``flags``, the flags that several commands share.

The modules may import all folders of the package except ``apps`` and ``cli``.
"""
