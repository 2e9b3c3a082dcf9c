"""From waveforms to scores, for a file, many files, a long recording and a corpus.

In reading order: ``waveforms`` reads; ``kernel`` scores a batch; ``files``, ``track`` and
``corpus`` use it on many files, along a recording and on a corpus, by ``engine``, ``batches`` and
``journal``; ``score_file``, ``segment_file`` and ``record`` are what they write; ``decisions`` says
what a score means, and ``calibrated`` applies that to a detector.

Imports every district below.
"""
