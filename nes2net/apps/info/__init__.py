"""Say what a name, a file or a recipe is.

In reading order: ``names`` describes what a name stands for, with options from ``part_options``,
``costs`` and published ``results``. ``identify`` finds out what a file is, and ``files`` describes
it. ``overview`` reads a stored description of all names.
"""
