"""Measure how fast this machine runs a detector: ``command`` prints what ``benchmark`` measures."""
