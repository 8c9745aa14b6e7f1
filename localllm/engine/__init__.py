"""Answers: engines, what they take (EngineOptions, SamplingOptions) and what they yield (Chunk)."""

from localllm.engine.base import Engine, Messages, Setting, Source, StateInfo
from localllm.engine.chunks import Answer, Chunk, FinishReason, Statistics
from localllm.engine.engine_options import EngineOptions
from localllm.engine.llama import LlamaEngine
from localllm.engine.options import SamplingOptions
from localllm.engine.scripted import ScriptedEngine

__all__ = [
    "Answer",
    "Chunk",
    "Engine",
    "EngineOptions",
    "FinishReason",
    "LlamaEngine",
    "Messages",
    "SamplingOptions",
    "ScriptedEngine",
    "Setting",
    "Source",
    "StateInfo",
    "Statistics",
]
