"""`localllm chat`."""

from __future__ import annotations

from localllm.cli.chat.options import (
    ApiBaseOpt,
    ApiKeyEnvOpt,
    ApiModelOpt,
    CacheTypeOpt,
    ChatContextOpt,
    ChatModelArg,
    ContinueOpt,
    FailOnLengthOpt,
    FlashAttentionOpt,
    FrequencyPenaltyOpt,
    GpuLayersOpt,
    GrammarOpt,
    JsonSchemaOpt,
    LogitBiasOpt,
    LoraOpt,
    MarkdownOpt,
    MaxTokensOpt,
    MinPOpt,
    NOpt,
    NoSaveOpt,
    OverflowOpt,
    PersonaOpt,
    PresencePenaltyOpt,
    PromptArg,
    RepeatPenaltyOpt,
    SeedOpt,
    SessionOpt,
    StopOpt,
    SystemOpt,
    TemperatureOpt,
    TemplateOpt,
    ThinkOpt,
    TopKOpt,
    TopPOpt,
)
from localllm.cli.options import JsonOpt, QuietOpt, ThreadsOpt
from localllm.cli.output import Output


def chat(
    model: ChatModelArg = None,
    prompt: PromptArg = None,
    continues: ContinueOpt = False,
    session: SessionOpt = None,
    no_save: NoSaveOpt = False,
    system: SystemOpt = None,
    persona: PersonaOpt = None,
    overflow: OverflowOpt = "compact",
    temperature: TemperatureOpt = None,
    top_p: TopPOpt = None,
    top_k: TopKOpt = None,
    min_p: MinPOpt = None,
    max_tokens: MaxTokensOpt = None,
    stop: StopOpt = None,
    presence_penalty: PresencePenaltyOpt = None,
    frequency_penalty: FrequencyPenaltyOpt = None,
    repeat_penalty: RepeatPenaltyOpt = None,
    n: NOpt = None,
    logit_bias: LogitBiasOpt = None,
    seed: SeedOpt = None,
    json_schema: JsonSchemaOpt = None,
    grammar: GrammarOpt = None,
    context: ChatContextOpt = "auto",
    threads: ThreadsOpt = None,
    gpu_layers: GpuLayersOpt = "auto",
    cache_type: CacheTypeOpt = "f16",
    flash_attention: FlashAttentionOpt = "auto",
    lora: LoraOpt = None,
    template: TemplateOpt = None,
    api_base: ApiBaseOpt = None,
    api_model: ApiModelOpt = None,
    api_key_env: ApiKeyEnvOpt = None,
    markdown: MarkdownOpt = False,
    think: ThinkOpt = "dim",
    fail_on_length: FailOnLengthOpt = False,
    json: JsonOpt = False,
    quiet: QuietOpt = False,
) -> int:
    """Talk to a model.

    In a terminal, or once with PROMPT, piped input or both. Conversations are saved as they happen;
    `-c` goes on with the last one. In the chat `/help` lists the commands, Ctrl-C stops an answer,
    `quit` or Ctrl-D end it. Piped input is one prompt; when its last line is `quit` it is a
    conversation, one message a line.
    """
    out = Output("chat", as_json=json, quiet=quiet)
    from localllm.cli.chat.opening import hold
    from localllm.cli.chat.screen import Screen
    from localllm.cli.chat.wishes import Wishes

    wishes = Wishes(
        model=model,
        prompt=prompt,
        system=system,
        persona=persona,
        continues=continues,
        session=session,
        no_save=no_save,
        overflow=overflow,
        context=context,
        threads=threads,
        gpu_layers=gpu_layers,
        cache_type=cache_type,
        flash_attention=flash_attention,
        lora=lora or (),
        template=template,
        api_base=api_base,
        api_model=api_model,
        api_key_env=api_key_env,
        markdown=markdown,
        think=think,
        sampling={
            "temperature": temperature,
            "top_p": top_p,
            "top_k": top_k,
            "min_p": min_p,
            "max_tokens": max_tokens,
            "stop": stop,
            "presence_penalty": presence_penalty,
            "frequency_penalty": frequency_penalty,
            "repeat_penalty": repeat_penalty,
            "n": n,
            "logit_bias": logit_bias,
            "seed": seed,
            "json_schema": json_schema,
            "grammar": grammar,
        },
    )
    return hold(wishes, Screen(out), fail_when_cut=fail_on_length)
