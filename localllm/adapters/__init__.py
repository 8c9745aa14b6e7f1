"""LoRA adapters as PEFT and MLX save them: read, checked, and merged into a checkpoint's tensors."""

from localllm.adapters.adapter import Adapter, LowRank, open_adapter
from localllm.adapters.merge import merged
from localllm.adapters.settings import is_adapter

__all__ = ["Adapter", "LowRank", "is_adapter", "merged", "open_adapter"]
