"""What several tests build: corpora, checkpoints, reports, and reference numbers."""
