"""Run whole experiments over a grid of settings and several seeds, and reproduce published results.

In reading order: ``description`` reads the YAML file of an experiment. ``plan`` makes its runs.
``jobs`` train, score and evaluate the runs. ``running`` does the jobs here, ``slurm`` on a cluster.
``missing`` finds missing input files. ``result`` tabulates the figures, and ``experiment`` writes
the tables. ``reproduce`` measures a published result again. ``packaged`` has experiments that come
with the toolkit.
"""
