"""Which parts of a recording move its score: in time, in frequency, and over the layers.

In reading order: ``explain``, ``subject``, then the methods ``occlusion`` and ``gradients`` with their ``relevance``, its
check ``faithfulness``, ``layers`` and ``picture``.
"""
