"""Compute figures with intervals from scores and keys, and write them as text, Markdown, LaTeX, JSON and pages.

In reading order: ``tables`` and ``result`` define the form of every result; ``key`` and
``matching`` join scores and labels; ``system``, ``evaluate``, ``breakdown``, ``transfer``,
``one_class`` and ``segments`` compute figures; ``writers``, ``curves``, ``plots`` and ``page`` show
them; ``result_rows`` stores them. This package may import all packages below it.
"""
