"""A page to listen with, and the same over HTTP."""
