"""Devices, and networks as work for them."""
