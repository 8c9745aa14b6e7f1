"""The chat on the command line: an input line and commands at a terminal, answers alone without."""
