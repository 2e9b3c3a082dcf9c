"""Whole experiments: published results and their reproduction."""
