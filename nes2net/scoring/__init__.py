"""From waveforms to scores, for one file, many files, a long recording and a corpus; the score file."""
