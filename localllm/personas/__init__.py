"""Personas: system prompts with a name, the user's own and those that ship."""

from localllm.personas.finding import find_persona, names, personas_directories, system_prompt

__all__ = ["find_persona", "names", "personas_directories", "system_prompt"]
