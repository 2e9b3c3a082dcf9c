"""Train a detector: recipe, data, loop, checkpoints and their averages.

In reading order: ``recipes`` defines the settings of a run. ``run`` builds its parts and starts
``loop``. ``tasks`` and ``losses`` define what the loop optimises. ``data`` and ``dataset`` read the
utterances. ``validation`` measures an epoch, ``selection`` chooses the best epochs, and
``averaging`` averages their checkpoints. ``state`` and ``resume_file`` let a run resume.

Packages have numbers in docs/architecture.md; this one may import those with lower numbers.
"""
