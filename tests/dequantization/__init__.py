"""Dequantization: quantized checkpoints read exactly, refused and inconsistent ones."""
