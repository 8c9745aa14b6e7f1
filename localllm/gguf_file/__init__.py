"""GGUF files: a bounded reader for headers and a streaming writer. No other module knows the format."""

from localllm.gguf_file.header import ArrayValue, EncodedValue, GGUFHeader, TensorInfo
from localllm.gguf_file.reader import read_header
from localllm.gguf_file.source import ByteSource, FileSource
from localllm.gguf_file.writer import GGUFWriter, TensorEntry, TypedValue

__all__ = [
    "ArrayValue",
    "ByteSource",
    "EncodedValue",
    "FileSource",
    "GGUFHeader",
    "GGUFWriter",
    "TensorEntry",
    "TensorInfo",
    "TypedValue",
    "read_header",
]
