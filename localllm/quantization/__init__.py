"""Quantization: levels, exact plans, and making files at many levels in one pass over the weights."""
