"""Run whole experiments over a grid of settings and several seeds, and reproduce published results.

In reading order: ``description`` reads the YAML file of an experiment. ``plan`` makes the runs of
the experiment. ``jobs`` has the jobs that train, score and evaluate the runs. ``running`` does the
jobs on this machine, and ``slurm`` submits the jobs to a cluster. ``missing`` finds the input files
that are missing. ``result`` tabulates the figures, and ``experiment`` writes the tables.
``reproduce`` measures a published result again. Experiments that come with the toolkit are in
``packaged``.
"""
