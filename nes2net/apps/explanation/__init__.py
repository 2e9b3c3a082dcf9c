"""Explain a score: which stretches, bands and layers move it.

In reading order: ``explain`` is the entry point. ``subject`` removes parts of a recording and
scores the rest. ``occlusion`` and ``gradients`` compute a ``relevance``, which ``faithfulness``
checks. ``layers`` has the weights of the layers, and ``picture`` draws an explanation.
"""
