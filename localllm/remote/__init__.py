"""Models on a server that speaks the Chat Completions API: localllm's own, llama-server, vLLM, Ollama.

`engine.RemoteEngine` is an engine like any other, so that chats, sessions and summaries work the same.
"""
