"""This process, those of ``torchrun``, and workers."""
