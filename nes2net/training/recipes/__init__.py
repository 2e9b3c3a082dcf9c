"""Recipes: what is trained on what, and how."""
