"""Answers: engines, what they take (SamplingOptions) and what they yield (Chunk)."""

from localllm.engine.base import Engine, Messages
from localllm.engine.chunks import Answer, Chunk, FinishReason, Statistics
from localllm.engine.llama import LlamaEngine
from localllm.engine.options import SamplingOptions
from localllm.engine.scripted import ScriptedEngine

__all__ = [
    "Answer",
    "Chunk",
    "Engine",
    "FinishReason",
    "LlamaEngine",
    "Messages",
    "SamplingOptions",
    "ScriptedEngine",
    "Statistics",
]
