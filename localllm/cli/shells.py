"""How shells ask what the Tab key could mean, and how each wants to be answered.

They start the program with a question in its environment, as the scripts of `--install-completion` have it.
What can be answered without the command line's definition, which takes a while to load, is answered here:
a model as argument of a command. Everything else is left to Typer, after `prepare`.

bash counts `:` and `@` as ends of words, unless COMP_WORDBREAKS was changed: words are put together again,
and only what belongs behind the last of these signs is offered.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, MutableMapping, Sequence

_INSTRUCTION = "_LOCALLLM_COMPLETE"
_ARGUMENTS = "_TYPER_COMPLETE_ARGS"
_BREAKS = (":", "@")
_QUOTING = "\"'\\ \t"
_MODEL_ARGUMENTS = {  # how many of a command's arguments are models on this machine; None for all
    "chat": 1,
    "compare": None,
    "convert": 1,
    "imatrix": 1,
    "inspect": 1,
    "merge": None,
    "quantize": 1,
    "rm": None,
    "show": 1,
    "verify": None,
}
_FLAGS = ("--json", "--quiet", "--yes", "-y", "--dry-run", "--checkpoint")  # that take no value

Environment = MutableMapping[str, str]


def answer(environment: Environment = os.environ) -> int | None:
    """Answer a shell and return the exit status; None when it asks nothing, or something else."""
    shell = environment.get(_INSTRUCTION, "").removeprefix("complete_")
    if shell not in _ANSWERS:
        return None
    prepare(environment)
    words = _words(shell, environment)
    if words is None or not _asks_for_model(words):
        return None
    from localllm.cli.completion import complete_model

    return _ANSWERS[shell](complete_model(words[-1]), environment)


def prepare(environment: Environment = os.environ) -> None:
    """Join the words that bash split, before Typer looks at them; do nothing for other shells."""
    if environment.get(_INSTRUCTION) != "complete_bash":
        return
    words, current = environment.get("COMP_WORDS", "").split("\n"), environment.get("COMP_CWORD", "")
    if not current.isdigit() or not 0 < int(current) <= len(words):
        return
    begun = (*words, "")[: int(current) + 1]
    joined = _joined(begun)
    if begun[-1] in _BREAKS or begun[-2] in _BREAKS:
        from localllm.cli.completion import begins_behind

        cut = 1 + max(joined[-1].rfind(sign) for sign in _BREAKS)
        begins_behind(joined[-1][:cut])
        joined[-1] = joined[-1][cut:]
    environment["COMP_WORDS"], environment["COMP_CWORD"] = "\n".join(joined), str(len(joined) - 1)


def _joined(words: Iterable[str]) -> list[str]:
    """Return words with those put together that a sign splits."""
    found: list[str] = []
    for word in words:
        if found and (word in _BREAKS or found[-1].endswith(_BREAKS)):
            found[-1] += word
        else:
            found.append(word)
    return found


def _words(shell: str, environment: Environment) -> list[str] | None:
    """Return the words behind the program's name, the last one to be completed; None when any is quoted."""
    if shell == "bash":
        words = environment.get("COMP_WORDS", "").split("\n")
    else:
        line = environment.get(_ARGUMENTS, "")
        words = line.split(" ")
        if shell == "powershell" and environment.get("_TYPER_COMPLETE_WORD_TO_COMPLETE", "") == "":
            words = [*line.split(), ""]
    return None if any(sign in word for word in words for sign in _QUOTING) else words[1:]


def _asks_for_model(words: Sequence[str]) -> bool:
    """Tell whether the last word is an argument of a command that is a model."""
    *before, begun = words or [""]
    if len(before) == 0 or before[0] not in _MODEL_ARGUMENTS or begun.startswith("-"):
        return False
    arguments = [word for word in before[1:] if word and word not in _FLAGS]
    limit = _MODEL_ARGUMENTS[before[0]]
    has_options = any(word.startswith("-") for word in arguments)
    return not has_options and (limit is None or len(arguments) < limit)


def _lines(names: Sequence[str], _environment: Environment) -> int:
    print("\n".join(names))
    return 0


def _for_fish(names: Sequence[str], environment: Environment) -> int:
    if environment.get("_TYPER_COMPLETE_FISH_ACTION") == "is-args":
        return 0 if names else 1  # 1: let it offer files
    return _lines(names, environment)


def _for_zsh(names: Sequence[str], _environment: Environment) -> int:
    quoted = ['"' + name.replace(":", r"\\:") + '"' for name in names]
    print("_arguments '*: :((" + "\n".join(quoted) + "))'" if names else "_files")
    return 0


def _for_powershell(names: Sequence[str], environment: Environment) -> int:
    return _lines([f"{name}::: " for name in names], environment)


_ANSWERS: dict[str, Callable[[Sequence[str], Environment], int]] = {
    "bash": _lines,
    "fish": _for_fish,
    "zsh": _for_zsh,
    "powershell": _for_powershell,
    "pwsh": _for_powershell,
}
