"""The options of `localllm chat`, each named and explained once; `sampling` reads those of sampling."""

from __future__ import annotations

from typing import Annotated

import typer

from localllm.cli.completion import complete_model

ChatModelArg = Annotated[
    str | None,
    typer.Argument(
        metavar="MODEL",
        help="A .gguf file, a checkpoint directory, a library name or org/repo, optionally with :LEVEL.",
        show_default="demo, or the one of the session",
        autocompletion=complete_model,
    ),
]
PromptArg = Annotated[
    str | None,
    typer.Argument(
        metavar="PROMPT", help="Answer this once and exit; piped text goes behind it.", show_default=False
    ),
]

# the conversation -----------------------------------------------------------------------------

SystemOpt = Annotated[
    str | None,
    typer.Option("--system", metavar="TEXT|@FILE", help="System prompt.", show_default="the session's"),
]
PersonaOpt = Annotated[
    str | None,
    typer.Option(
        "--persona", metavar="NAME", help="A system prompt with a name, yours or shipped.", show_default=False
    ),
]
ContinueOpt = Annotated[bool, typer.Option("--continue", "-c", help="Go on with the conversation held last.")]
SessionOpt = Annotated[
    str | None,
    typer.Option(
        "--session",
        metavar="NAME",
        help="Go on with the conversation of this name, or begin it.",
        show_default=False,
    ),
]
NoSaveOpt = Annotated[bool, typer.Option("--no-save", help="Keep nothing of this conversation.")]
OverflowOpt = Annotated[
    str,
    typer.Option(
        "--overflow",
        metavar="compact|drop|stop",
        help="What to do before the context is full: summarise the oldest turns, leave them out, or stop.",
    ),
]

# the model ------------------------------------------------------------------------------------

ChatContextOpt = Annotated[
    str,
    typer.Option("--context", metavar="N|auto", help="Context in tokens; auto grows with the conversation."),
]
GpuLayersOpt = Annotated[
    str, typer.Option("--gpu-layers", metavar="auto|all|N", help="Layers to run on a GPU; auto: what fits.")
]
CacheTypeOpt = Annotated[
    str,
    typer.Option(
        "--cache-type", metavar="TYPE[,TYPE]", help="What the attention cache is kept in, keys and values."
    ),
]
FlashAttentionOpt = Annotated[
    str, typer.Option("--flash-attention", metavar="auto|on|off", help="Whether to use flash attention.")
]
LoraOpt = Annotated[
    list[str] | None,
    typer.Option(
        "--lora",
        metavar="FILE|DIR[:SCALE]",
        help="A LoRA adapter, GGUF or PEFT, to use beside the model; repeatable.",
        show_default=False,
    ),
]
TemplateOpt = Annotated[
    str | None,
    typer.Option(
        "--template", metavar="NAME|FILE", help="Chat template in place of the model's.", show_default=False
    ),
]

# a model on a server --------------------------------------------------------------------------

ApiBaseOpt = Annotated[
    str | None,
    typer.Option(
        "--api-base",
        metavar="URL",
        help="Chat with a model on a server that speaks the Chat Completions API.",
        show_default=False,
    ),
]
ApiModelOpt = Annotated[
    str | None,
    typer.Option(
        "--model", metavar="NAME", help="The server's name for the model.", show_default="its only one"
    ),
]
ApiKeyEnvOpt = Annotated[
    str | None,
    typer.Option(
        "--api-key-env",
        metavar="VARIABLE",
        help="Environment variable that holds the server's key.",
        show_default="no key",
    ),
]

# how it answers -------------------------------------------------------------------------------

_MODELS = "the model's, else"
TemperatureOpt = Annotated[
    str | None,
    typer.Option(
        "--temperature", metavar="N", help="0 (always the likeliest) to 2.", show_default=f"{_MODELS} 0.7"
    ),
]
TopPOpt = Annotated[
    str | None,
    typer.Option(
        "--top-p", metavar="N", help="Share of probability to draw from.", show_default=f"{_MODELS} 0.95"
    ),
]
TopKOpt = Annotated[
    str | None,
    typer.Option(
        "--top-k", metavar="N", help="Most tokens to draw from; 0: no limit.", show_default=f"{_MODELS} 40"
    ),
]
MinPOpt = Annotated[
    str | None,
    typer.Option(
        "--min-p",
        metavar="N",
        help="Least probability, times the likeliest's.",
        show_default=f"{_MODELS} 0.05",
    ),
]
MaxTokensOpt = Annotated[
    str | None,
    typer.Option(
        "--max-tokens", metavar="N", help="Longest answer.", show_default="until the context is full"
    ),
]
StopOpt = Annotated[
    list[str] | None,
    typer.Option(
        "--stop", metavar="TEXT", help="End the answer before this text; repeatable.", show_default=False
    ),
]
PresencePenaltyOpt = Annotated[
    str | None,
    typer.Option("--presence-penalty", metavar="N", help="-2 to 2, against repetition.", show_default="0"),
]
FrequencyPenaltyOpt = Annotated[
    str | None,
    typer.Option("--frequency-penalty", metavar="N", help="-2 to 2, for every repetition.", show_default="0"),
]
RepeatPenaltyOpt = Annotated[
    str | None,
    typer.Option(
        "--repeat-penalty",
        metavar="N",
        help="Above 1: against what was said lately.",
        show_default=f"{_MODELS} 1",
    ),
]
NOpt = Annotated[
    str | None,
    typer.Option("--n", metavar="N", help="Answers to a message; the first is kept.", show_default="1"),
]
LogitBiasOpt = Annotated[
    list[str] | None,
    typer.Option(
        "--logit-bias",
        metavar="ID|TEXT=N",
        help="-100 to 100 for a token or the tokens of a text; repeatable.",
        show_default=False,
    ),
]
SeedOpt = Annotated[
    str | None, typer.Option("--seed", metavar="N", help="Makes answers repeatable.", show_default="random")
]
JsonSchemaOpt = Annotated[
    str | None,
    typer.Option(
        "--json-schema",
        metavar="FILE",
        help="The answer is JSON that follows this schema.",
        show_default=False,
    ),
]
GrammarOpt = Annotated[
    str | None,
    typer.Option(
        "--grammar", metavar="FILE", help="The answer follows this GBNF grammar.", show_default=False
    ),
]

# what is shown --------------------------------------------------------------------------------

MarkdownOpt = Annotated[bool, typer.Option("--markdown", help="Render answers, on a terminal.")]
ThinkOpt = Annotated[
    str,
    typer.Option(
        "--think",
        metavar="show|dim|hide",
        help="A model's reasoning; dim shows it on a terminal only.",
    ),
]
FailOnLengthOpt = Annotated[
    bool,
    typer.Option(
        "--fail-on-length", help="Without a terminal: exit with 3 when an answer was cut at its limit."
    ),
]
