"""Tells what is inside a model, a checkpoint, an adapter or an importance matrix, and whether it runs here.

Everything is found out from headers: no weights are read, and of GGUF files nothing goes through llama.cpp.
`opening` finds out what a path is and returns a `Subject`, which describes itself; each of the other modules
knows one section of the description. A header from anywhere else can be described by `describe`, several of
one split model by `describe_set(join_headers(...))`, a directory of headers with holes for weights by
`open_subject`.
"""

from localllm.inspection.description import ModelDescription
from localllm.inspection.gguf_description import describe, describe_set
from localllm.inspection.gguf_subject import GGUFSubject
from localllm.inspection.header_set import HeaderFile, HeaderSet, join_headers, read_headers
from localllm.inspection.kind import Kind
from localllm.inspection.metadata import metadata_values
from localllm.inspection.opening import inspect, open_piped_subject, open_subject
from localllm.inspection.problem import Problem
from localllm.inspection.subject import Subject
from localllm.inspection.tensor_list import TensorDescription, tensor_descriptions

__all__ = [
    "GGUFSubject",
    "HeaderFile",
    "HeaderSet",
    "Kind",
    "ModelDescription",
    "Problem",
    "Subject",
    "TensorDescription",
    "describe",
    "describe_set",
    "inspect",
    "join_headers",
    "metadata_values",
    "open_piped_subject",
    "open_subject",
    "read_headers",
    "tensor_descriptions",
]
