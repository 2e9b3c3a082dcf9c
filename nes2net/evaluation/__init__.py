"""Scores and keys become figures, breakdowns, comparisons, calibrations and the report page."""
