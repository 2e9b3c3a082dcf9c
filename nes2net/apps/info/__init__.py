"""What a part, a file or a recipe is, and how fast this machine runs it."""
