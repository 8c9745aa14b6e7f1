"""The only place that talks to llama.cpp and ggml: loading, logs, child processes, models, quantization."""
