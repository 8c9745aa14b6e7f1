"""Importance matrices: how much each input column of a weight matters, measured on text.

A matrix is collected by running a model (`collect`), kept as a GGUF file in llama-imatrix's format
(`writing`), and read from that format or the one before it (`reading`) by who quantizes with it.
"""

from localllm.imatrix.collect import ImatrixResult, collect_imatrix
from localllm.imatrix.matrix import ImportanceMatrix
from localllm.imatrix.reading import read_imatrix
from localllm.imatrix.texts import builtin_text, read_text

__all__ = [
    "ImatrixResult",
    "ImportanceMatrix",
    "builtin_text",
    "collect_imatrix",
    "read_imatrix",
    "read_text",
]
