"""Scores and keys become figures with intervals; figures become tables, text, Markdown, LaTeX, JSON and pages.

In reading order: ``key`` and ``matching`` join scores and labels; ``evaluate``, ``breakdown``,
``transfer``, ``one_class`` and ``segments`` compute figures; ``tables`` and ``report_tables`` lay
them out; ``curves``, ``plots`` and ``page`` draw them.

Imports every district below.
"""
