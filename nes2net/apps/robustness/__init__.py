"""How a detector's error rates change when codecs, noise and rooms change the same trials.

In reading order: ``robustness`` holds the figures, ``run`` computes them, ``plots`` draws them.
"""
