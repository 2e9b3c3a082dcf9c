"""From waveforms to scores, for a file, many files, a long recording and a corpus.

In reading order: ``waveforms`` reads recordings, and ``kernel`` scores a batch. ``files`` scores
many files, ``track`` scores along a recording, and ``corpus`` scores a corpus with ``engine``,
``batches`` and ``journal``. ``score_file``, ``segment_file`` and ``record`` define the written
files. ``decisions`` turns scores into decisions, and ``calibrated`` decides on the scores of a
detector.

This district may import all districts below it.
"""
