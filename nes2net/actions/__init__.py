"""What a person does with detectors and corpora, each as one function, whoever calls it."""
