"""The OpenAI-compatible server: what it answers, to whom, and how a request becomes an answer.

`settings`, `keys` and `extra` need nothing beyond localllm itself. Everything else is made of starlette,
uvicorn, pydantic and prometheus_client, which are the extra `localllm[serve]` and are imported here alone. It
knows engines by what it asks of them (`engines`), and nothing of how models are found: whoever starts it
brings a function that opens one.
"""
