"""Tasks of training: one score an utterance, frames, fusion of scores, distillation, logistic regression."""
