"""The command line: Typer, Rich and the terminal live here and nowhere else."""
