"""Common sayings about RAG and fine-tuning, each held against a report: holds, does not hold, or not measured.

A report in; claims out, in the order of the founding table and always the same ones. "Not measured" is also said when
what was measured does not decide: the evidence then tells the numbers, or what to run. Figures are this report's only.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from openbook.compare import claims_quality as quality
from openbook.compare import claims_running as running
from openbook.compare.claims_quality import Judged
from openbook.compare.quote import upper
from openbook.compare.schema import Claim, Report
from openbook.compare.weigh import Found

_TABLE: tuple[tuple[str, Literal["RAG", "fine-tuning", "both"], str, Callable[[Found], Judged]], ...] = (
    (
        "knowledge source",
        "RAG",
        "Knowledge comes from the documents, at the time of the question",
        quality.from_documents,
    ),
    ("knowledge source", "fine-tuning", "Knowledge goes into the weights", quality.into_weights),
    ("training required", "RAG", "No training is needed", running.untrained),
    ("training required", "fine-tuning", "Training is needed", running.needs_training),
    ("runtime retrieval", "RAG", "Every question is a search", running.searches),
    ("runtime retrieval", "fine-tuning", "No search at the time of the question", running.no_search),
    ("updating", "RAG", "Updating is easy: edit a document", running.easy_to_update),
    ("updating", "fine-tuning", "Updating is hard: train again", running.hard_to_update),
    ("updating", "both", "A trained model keeps up with edited documents", running.keeps_up),
    ("cost", "RAG", "RAG is cheaper", running.cheaper),
    ("cost", "fine-tuning", "Fine-tuning is expensive", running.expensive),
    ("speed", "RAG", "RAG is slightly slower", running.slightly_slower),
    ("speed", "fine-tuning", "A tuned model answers faster", running.faster),
    ("hallucination", "RAG", "RAG strongly reduces hallucination", quality.strongly_fewer),
    ("hallucination", "fine-tuning", "Fine-tuning reduces hallucination", quality.fewer),
    ("best for", "RAG", "RAG is best for facts in documents", quality.best_for_facts),
    ("best for", "fine-tuning", "Fine-tuning is best for format and voice", quality.best_for_tone),
    ("consistency", "fine-tuning", "A tuned model answers consistently", quality.consistent),
    ("explainability", "RAG", "Answers can be traced to a passage", quality.traceable),
    ("explainability", "fine-tuning", "Answers cannot be traced", quality.untraceable),
    ("search quality", "RAG", "RAG is only as good as its search", quality.needs_search),
    ("forgetting", "RAG", "Nothing is forgotten", running.stays),
    ("forgetting", "fine-tuning", "Training forgets what the model could do", running.forgets),
    ("data needed", "RAG", "No example is needed", running.no_examples),
    ("data needed", "fine-tuning", "Fine-tuning needs large data", running.much_data),
    ("best systems", "both", "The best systems combine both", quality.both_best),
)


def claims(report: Report) -> tuple[Claim, ...]:
    """Every saying with its verdict."""
    found = Found(report)
    return tuple(_claim(topic, side, says, judge(found)) for topic, side, says, judge in _TABLE)


def _claim(topic: str, side: Literal["RAG", "fine-tuning", "both"], says: str, judged: Judged) -> Claim:
    verdict, evidence = judged
    return Claim(topic, side, says, verdict, f"{upper(evidence).removesuffix('.')}.")
