"""Reading, resampling, cropping and caching waveforms."""
