"""Turns a comparison into what people and programs read: tables, JSON, Markdown, plots, a page, a model card.

Formatting only; no measuring, and nothing is written to disk.
"""

from __future__ import annotations
