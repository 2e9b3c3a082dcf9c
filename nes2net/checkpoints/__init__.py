"""Tensors in files: published names, fairseq, Hugging Face, folders, averages. Nothing in a file is run."""
