"""Explain a score: the parts of a recording, in time and in frequency, that move it, and the weights of the layers.

In reading order: ``explain``, ``subject``, then the methods ``occlusion`` and ``gradients`` with
their ``relevance``, its check ``faithfulness``, ``layers`` and ``picture``.
"""
