"""A small Llama in PyTorch: its layers, its training on a CPU, its scores and its files."""
