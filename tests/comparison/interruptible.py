"""Compares the files it is given and prints what it does; run as a process by `test_interruption`.

python interruptible.py FILE... [keyword=JSON]...
"""

from __future__ import annotations

import json
import sys

from localllm.events import Advanced, Event, Started
from localllm.verbs.compare import compare


def tell(event: Event) -> None:
    """Print what is looked at, and what is really measured."""
    if isinstance(event, Advanced) and event.step == "compare" and event.detail:
        print(f"at {event.detail}", flush=True)
    elif isinstance(event, Started) and event.step.startswith("pp"):
        print("measuring", flush=True)
    elif isinstance(event, Started) and event.step == "quantize":
        print("quantizing", flush=True)


def main() -> None:
    models = [word for word in sys.argv[1:] if "=" not in word]
    options = {
        name: json.loads(text) for name, _, text in (w.partition("=") for w in sys.argv[1:] if "=" in w)
    }
    result = compare(models, repetitions=2, prompt_tokens=32, generated_tokens=8, emit=tell, **options)
    print(json.dumps([[row.level, row.error] for row in result.measurements]), flush=True)


if __name__ == "__main__":
    main()
