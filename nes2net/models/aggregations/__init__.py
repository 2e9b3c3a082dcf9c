"""Aggregations join the hidden states of a front-end, one for each layer, into one feature map."""
