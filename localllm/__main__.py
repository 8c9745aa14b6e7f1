"""The command `localllm`, also as `python -m localllm`.

Ctrl-C is taken care of before anything else is imported, which takes a while: nothing is begun by then that
would have to be cleaned up, so the process just ends.
"""

from __future__ import annotations

import gc
import os
import signal

_INTERRUPTED = 130
# Starting makes hundreds of thousands of objects that stay. By its own rule the garbage collector would look
# through them again and again, for a tenth of the time to start; this many new ones are a reason to look.
_COLLECT_AFTER = 50_000


def main() -> None:
    """Run the command line and exit with its status."""
    gc.set_threshold(_COLLECT_AFTER, 10, 10)
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # not where it is to be ignored
        signal.signal(signal.SIGINT, lambda *_: os._exit(_INTERRUPTED))
    from localllm.cli.shells import answer

    status = answer()  # a shell that asks what a word could become
    if status is not None:
        raise SystemExit(status)
    from localllm.cli.app import main as run

    run()


if __name__ == "__main__":
    main()
