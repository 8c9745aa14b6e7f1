"""Renders Go text/templates as far as localllm writes them, so that they can be checked without Go.

Known: text, trim markers, comments, `if`, `else if`, `else`, `range`, variables, fields, texts and numbers,
and the functions `and`, `or`, `not`, `eq`, `ne`, `len` and `slice`. Anything else is refused, never guessed.
"""

from localllm.export.go_template.lexing import GoTemplateError
from localllm.export.go_template.template import GoTemplate

__all__ = ["GoTemplate", "GoTemplateError"]
