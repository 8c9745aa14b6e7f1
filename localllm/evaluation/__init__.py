"""How well a model predicts a text, and how close it comes to a reference: llama-perplexity's measures.

`tokens` cuts texts into chunks (`chat` makes conversations of them before), `evaluator` runs a model over
them and scores what it predicts, against a `store` of the reference's predictions if there is one;
`statistics` makes figures of the scores. `job.evaluate_job` does all of it in a child process.
"""

from localllm.evaluation.chat import text_looks_unlike_chat
from localllm.evaluation.scores import Scores
from localllm.evaluation.statistics import Quality, kl_difference, summarise
from localllm.evaluation.store import ReferenceStore
from localllm.evaluation.texts import evaluation_texts
from localllm.evaluation.uncertain import Uncertain

EVALUATE_JOB = "localllm.evaluation.job:evaluate_job"
DEFAULT_CONTEXT = 512

__all__ = [
    "DEFAULT_CONTEXT",
    "EVALUATE_JOB",
    "Quality",
    "ReferenceStore",
    "Scores",
    "Uncertain",
    "evaluation_texts",
    "kl_difference",
    "summarise",
    "text_looks_unlike_chat",
]
