"""One module per command: it resolves options, calls one core function, hands the result to Output."""
