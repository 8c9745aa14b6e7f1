"""Conversations that remember: with an engine, saved as they go, kept within the context."""

from localllm.chatting.chat import Chat, ContextUsage
from localllm.chatting.keeping import Memory

__all__ = ["Chat", "ContextUsage", "Memory"]
