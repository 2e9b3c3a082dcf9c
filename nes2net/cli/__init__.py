"""Command lines: `nes2net …` and the published flags."""
