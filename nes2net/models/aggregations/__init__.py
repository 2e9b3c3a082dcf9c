"""Aggregations: the front-end's hidden states, one per layer, become one feature map."""
