"""What a model is shown of a conversation that is longer than its context: a summary and the latest turns."""

from localllm.compaction.summary import SummaryFailedError, SummaryInterruptedError, summarise
from localllm.compaction.window import Window

__all__ = ["SummaryFailedError", "SummaryInterruptedError", "Window", "summarise"]
