"""Tensors in files: state dicts, fairseq, Hugging Face, averages. Nothing in them is run."""
