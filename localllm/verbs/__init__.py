"""The verbs of localllm on model references: what the command line runs and Python users call.

A `model` is what users type: a path, a name in the library, either with `:LEVEL`. Results go into
the library unless `output` says otherwise. Every function raises a LocalLLMError when it fails. One module
for each verb, so that a command loads no more than it needs.
"""
