"""From waveforms to scores, for a file, many files, a long recording and a corpus.

The modules in reading order: ``waveforms`` reads recordings, and ``kernel`` scores a batch.
``files`` scores many files, ``track`` scores along a recording, and ``corpus`` scores a corpus with
``engine``, ``batches`` and ``journal``. ``score_file``, ``segment_file`` and ``record`` define the
formats of the files.

A ``judgement`` is a kind of result; ``judging`` judges recordings, and ``judged`` is an answer.
By scores and the traits of ``measuring``, ``decisions`` decides on a recording, and ``calibrated``
on a corpus.

The package ``scoring`` may import the packages below it in docs/architecture.md.
"""
