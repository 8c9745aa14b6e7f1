"""Tests of the converter: laws, tables, failures, and parity with llama.cpp's own converter."""
