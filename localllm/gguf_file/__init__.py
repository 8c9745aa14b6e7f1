"""GGUF files: a bounded reader for headers and a streaming writer. No other module knows the format."""

from localllm.gguf_file.reader import (
    ArrayValue,
    ByteSource,
    FileSource,
    GGUFHeader,
    TensorInfo,
    read_header,
)
from localllm.gguf_file.writer import GGUFWriter, TensorEntry, TypedValue

__all__ = [
    "ArrayValue",
    "ByteSource",
    "FileSource",
    "GGUFHeader",
    "GGUFWriter",
    "TensorEntry",
    "TensorInfo",
    "TypedValue",
    "read_header",
]
