"""Tensors in files: state dicts, fairseq, Hugging Face, averages. No code in a file is run."""
