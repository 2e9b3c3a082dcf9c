"""Declare each corpus in a module of its own: where its files and keys are, and its official facts."""
