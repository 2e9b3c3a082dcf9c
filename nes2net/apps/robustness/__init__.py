"""Measure how a detector's error rates change when codecs, noise and rooms change the same trials.

In reading order: ``run`` scores the trials under each condition, ``robustness`` computes error
rates from the scores, and ``plots`` draws them.
"""
