"""Aggregations: join the front-end's hidden states, one per layer, to one feature map."""
