"""One module per corpus: where its files and keys are, and its official facts."""
