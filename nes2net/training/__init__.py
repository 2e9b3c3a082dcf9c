"""Train a detector: recipe, data, loop, checkpoints and their averages.

In reading order: ``recipes`` defines the settings of a run. ``run`` builds the parts of a run and
starts ``loop``. ``tasks`` and ``losses`` define what the loop optimises. ``data`` and ``dataset``
read the utterances. ``validation`` measures an epoch, ``selection`` chooses the best epochs, and
``averaging`` averages their checkpoints. ``state`` and ``resume_file`` let an interrupted run
resume.

In docs/architecture.md each district has a number. This district may import the districts with
lower numbers.
"""
