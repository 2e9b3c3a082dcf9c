"""Training a detector: recipe, data, loop, checkpoints and their averages.

In reading order: ``recipes`` says what is trained, on what and how; ``run`` builds the parts and
starts ``loop``, which fits one screen; ``tasks`` and ``losses`` are what it optimises, ``data`` and
``dataset`` what it reads; ``selection``, ``validation`` and ``averaging`` choose among checkpoints;
``state`` and ``resume_file`` let an interrupted run resume.

Imports every district below.
"""
