"""What is on this machine and what becomes of it: lists, last use, provenance, removal, checks.

It knows two places: the library (`store`) and the Hugging Face cache (`hub.cache`). Nothing here uses the
network, numpy or llama.cpp.
"""
