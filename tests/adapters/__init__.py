"""Adapters: reading, merging and converting them."""
