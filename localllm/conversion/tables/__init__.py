"""Rows that the tables of several families share, each file about one idea."""
