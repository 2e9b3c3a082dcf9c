"""Worst-case attacks with a bound: perturbations that move a detector's score the wrong way.

In reading order: ``batch`` has what an attack knows of a detector and a batch, ``attack`` the contract
of an attack and its budget. ``gradients``, ``queries`` and ``universal`` are the attacks.
``robustness``, a public name, attacks a batch; ``check`` tells whether a gradient can be trusted.
"""
