"""Builder of the demonstration corpus: real human speech and made spoofs in the ASVspoof folder and protocol layout.

    python scripts/demo_corpus --out DIR [--bonafide DIR] [--jobs 2] [--seed 2026]

``recordings`` finds human speech, ``synthesis`` makes spoofs of it, some with the neural ``voices``, ``channel`` and
``codecs`` pass both classes through the same channel, ``plan`` assigns clips to trials, ``layout`` writes the protocols and
keys, ``verification`` is the toy speaker verification that min t-DCF needs, ``cues`` checks that trivial cues do not separate
the classes, and ``build`` runs everything.
"""
