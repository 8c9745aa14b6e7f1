"""Queries that are scaled by a number of config.json, which the runtime has its own idea of."""

from __future__ import annotations

from collections.abc import Callable

from localllm.conversion.config import ModelConfig
from localllm.errors import UnsupportedModelError


def check(large: int) -> Callable[[ModelConfig], None]:
    """Return the check that the runtime's scale is the one of config.json.

    It divides by the root of the head size, in the largest model, of `large` layers, of hidden size / heads.
    """

    def check_scale(config: ModelConfig) -> None:
        given = config.get("query_pre_attn_scalar")
        expected = config.hidden // config.heads if config.layers == large else config.head_size
        if given is not None and given != expected:
            raise UnsupportedModelError(
                f"config.json: query_pre_attn_scalar is {given}, but llama.cpp would take {expected}"
            )

    return check_scale
