"""Turns a conversation into a prompt with a model's own chat template, which is code of unknown origin.

`rendering` hands the work to a child process with a limit on time and memory, where `sandbox` does it;
`folding` puts a system message where templates that know none accept it; `of_model` makes a loaded model's.
"""

from localllm.chat_template.folding import fold_system
from localllm.chat_template.rendering import ChatTemplate, plain_prompt, prepare

__all__ = ["ChatTemplate", "fold_system", "plain_prompt", "prepare"]
