"""Back-ends: one feature map B×T×D → logits B×n, one file per published model."""
