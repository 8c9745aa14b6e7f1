"""A Hugging Face checkpoint on disk: validated JSON, lazy tensors, safetensors files."""

from localllm.checkpoint.directory import (
    Checkpoint,
    architecture_of,
    is_checkpoint,
    open_checkpoint,
    open_without_weights,
    read_config,
)
from localllm.checkpoint.json_file import read_json
from localllm.checkpoint.names import EMBEDDINGS, HEADS, token_embedding
from localllm.checkpoint.origin import is_hub_name, model_card, name_of_directory, stated_bases
from localllm.checkpoint.safetensors_file import native_bytes, read_safetensors, write_safetensors
from localllm.checkpoint.tensor import DTYPE_BYTES, FLOAT_DTYPES, DerivedTensor, StoredTensor, Tensor
from localllm.checkpoint.weights import WEIGHTS_INDEX, open_weights

__all__ = [
    "DTYPE_BYTES",
    "EMBEDDINGS",
    "FLOAT_DTYPES",
    "HEADS",
    "WEIGHTS_INDEX",
    "Checkpoint",
    "DerivedTensor",
    "StoredTensor",
    "Tensor",
    "architecture_of",
    "is_checkpoint",
    "is_hub_name",
    "model_card",
    "name_of_directory",
    "native_bytes",
    "open_checkpoint",
    "open_weights",
    "open_without_weights",
    "read_config",
    "read_json",
    "read_safetensors",
    "stated_bases",
    "token_embedding",
    "write_safetensors",
]
