"""Training: recipe, losses, loop, checkpoints and their averaging."""
