"""Tensors in files: published names, fairseq's, Hugging Face's, folders. Nothing in a file is run."""
