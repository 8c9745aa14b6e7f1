"""Hands models over to other programs: where they look for files, and what they want to know besides.

`modelfile` writes what Ollama reads, with a template that `translation` made of the model's own and checked
with `go_template`; `placement` links or copies files; `places` knows the folders of other programs.
"""
