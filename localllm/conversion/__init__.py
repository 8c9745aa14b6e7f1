"""Converts checkpoints to GGUF; families are tables, everything else is one pipeline (see `convert`)."""
