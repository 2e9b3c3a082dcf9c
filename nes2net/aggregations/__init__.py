"""Aggregations: the hidden states of all layers become one feature map."""
