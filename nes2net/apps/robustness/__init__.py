"""How a detector's error rates change when the same trials are played through codecs, noise and rooms.

In reading order: ``robustness`` holds the figures, ``run`` computes them, ``plots`` draws them.
"""
