"""SSL and spectral front-ends: waveform → hidden states."""
