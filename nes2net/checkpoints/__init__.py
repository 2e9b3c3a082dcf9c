"""Tensors in files: state dicts, fairseq, Hugging Face, folders, averages. Nothing in them is run."""
