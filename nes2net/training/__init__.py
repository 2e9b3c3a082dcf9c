"""Train a detector: recipe, data, loop, checkpoints and their averages.

In reading order: ``recipes`` defines the settings of a run. ``run`` builds its parts and starts
``loop``. ``tasks`` and ``losses`` define what the loop optimises. ``data``
and ``dataset`` read the utterances. ``validation`` measures an epoch, ``selection`` chooses the best
epochs, and ``averaging`` averages their checkpoints. ``state`` and ``resume_file`` let an
interrupted run resume.

This district may import all districts that docs/architecture.md numbers lower.
"""
