"""Corpora, audio reading, crop and pad, and the training data set."""
