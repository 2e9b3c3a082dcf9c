"""Enrol people whose voices a detector's user wants to recognise, and forget them.

``command`` has the subcommands; :mod:`nes2net.scoring.people` is the store.
"""
