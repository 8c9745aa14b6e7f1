"""What the sampler of an answer is made with: the options given, the model's recommendations, constraints."""

from __future__ import annotations

import random
from collections.abc import Mapping

from localllm.engine.base import Setting
from localllm.engine.constraints import Constraints
from localllm.engine.options import MAX_SEED, SamplingOptions
from localllm.native.sampler import SamplerSettings


def sampler_settings(
    options: SamplingOptions, defaults: Mapping[str, Setting], constraints: Constraints
) -> list[SamplerSettings]:
    """Return the settings of each of `options.n` samplers, every option filled in, each with its own seed.

    Raise UsageError for constraints that make no sense for this model.
    """
    filled = options.over({name: setting.value for name, setting in defaults.items()})
    seed = random.randrange(MAX_SEED) if options.seed is None else options.seed
    biases, grammar = constraints.biases(options), constraints.grammar(options)
    return [
        SamplerSettings(
            temperature=filled.temperature or 0.0,
            top_k=filled.top_k or 0,
            top_p=1.0 if filled.top_p is None else filled.top_p,
            min_p=filled.min_p or 0.0,
            repeat_penalty=filled.repeat_penalty or 1.0,
            frequency_penalty=filled.frequency_penalty,
            presence_penalty=filled.presence_penalty,
            seed=(seed + index) % MAX_SEED,
            biases=biases,
            grammar=grammar,
        )
        for index in range(options.n)
    ]
