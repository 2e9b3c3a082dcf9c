"""Parts that are found by name, and their options."""
