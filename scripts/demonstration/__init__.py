"""Builder of the demonstration corpus: human speech and spoofs of it, in the folders and protocols of ASVspoof.

    python scripts/demonstration --out DIR [--bonafide DIR] [--jobs 2] [--seed 2028]

In reading order: ``recordings`` finds human speech; ``synthesis`` makes spoofs, some by
``spectral`` methods and some with the neural ``voices``; ``channel`` and ``codecs`` pass both
classes through the same channel; ``plan`` assigns clips to trials; ``layout`` writes protocols and
keys; ``verification`` is the toy speaker verification that min t-DCF needs; ``cues`` checks that
trivial cues do not separate the classes; ``build`` runs everything.
"""
