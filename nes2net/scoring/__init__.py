"""From waveforms to scores, for a file, many files, a long recording and a corpus."""
