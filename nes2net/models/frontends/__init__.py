"""Front-ends, self-supervised and spectral: waveform → hidden states."""
