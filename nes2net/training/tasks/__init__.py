"""Tasks of training, such as scoring frames, fusion with other systems, and distillation."""
