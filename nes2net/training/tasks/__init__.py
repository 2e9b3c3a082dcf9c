"""What training is about: one score an utterance, frames, scores of other systems, a teacher, one regression."""
