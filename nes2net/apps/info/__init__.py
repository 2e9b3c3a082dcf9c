"""Say what a name, a file or a recipe is.

In reading order: ``names`` describes the thing that a name stands for, with options from
``part_options``, ``costs`` and published ``results``. ``identify`` finds out what a file is, and
``files`` describes it. ``overview`` reads a stored description of all names. The class of
descriptions is in ``nes2net.lib.sheet``.
"""
