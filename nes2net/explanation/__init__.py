"""Which parts of a recording move its score: in time, in frequency, and over the layers."""
