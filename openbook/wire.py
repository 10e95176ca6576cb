"""Records in, JSON values out, as every door shows them: the command line's --json, HTTP, MCP."""

from __future__ import annotations

from typing import Any

from openbook.records import Answer, DocumentInfo, Hit, SearchResult, SyncReport


def hit_json(hit: Hit) -> dict[str, Any]:
    """A hit as the contract has it."""
    chunk = hit.chunk
    return {
        "document": chunk.document,
        "page": chunk.page,
        "start": chunk.start,
        "end": chunk.end,
        "heading": list(chunk.heading),
        "title": chunk.title,
        "text": chunk.text,
        "score": hit.score,
        "dense_rank": hit.dense_rank,
        "dense_score": hit.dense_score,
        "lexical_rank": hit.lexical_rank,
        "lexical_score": hit.lexical_score,
        "rerank_score": hit.rerank_score,
    }


def search_json(result: SearchResult) -> dict[str, Any]:
    """A search result as the contract has it."""
    return {
        "hits": [hit_json(hit) for hit in result.hits],
        "seconds": {step: round(value, 6) for step, value in result.seconds.items()},
        "library_version": result.version,
    }


def answer_json(answer: Answer) -> dict[str, Any]:
    """An answer as the contract has it."""
    seconds = answer.seconds
    return {
        "answer": answer.text,
        "abstained": answer.abstained,
        "citations": [
            {
                "document": one.document,
                "page": one.page,
                "start": one.start,
                "end": one.end,
                "quote": one.quote,
                "sentence": one.sentence,
            }
            for one in answer.citations
        ],
        "sentences": [{"text": one.text, "supported": one.supported} for one in answer.sentences],
        "hits": [hit_json(hit) for hit in answer.hits],
        "prompt": answer.prompt,
        "model": answer.model,
        "adapter": answer.adapter,
        "arm": answer.arm,
        "tokens": {"prompt": answer.prompt_tokens, "answer": answer.answer_tokens},
        "seconds": {
            "retrieve": round(seconds.retrieve, 6),
            "prefill": round(seconds.prefill, 6),
            "decode": round(seconds.decode, 6),
            "total": round(seconds.total, 6),
        },
        "library_version": answer.library_version,
        "notes": list(answer.notes),
    }


def sync_json(report: SyncReport) -> dict[str, Any]:
    """A sync report as the contract has it."""
    return {
        "added": report.added,
        "changed": report.changed,
        "renamed": report.renamed,
        "removed": report.removed,
        "unchanged": report.unchanged,
        "failed": [{"path": one.path, "reason": one.reason} for one in report.failed],
        "chunks": report.chunks,
        "seconds": round(report.seconds, 3),
        "library_version": report.library_version,
        "duplicates": [list(pair) for pair in report.duplicates],
        "notes": list(report.notes),
        "dry_run": report.dry_run,
        "paths": {kind: list(names) for kind, names in report.paths.items()},
    }


def document_json(info: DocumentInfo) -> dict[str, Any]:
    """A stored document as the contract has it."""
    return {
        "document": info.name,
        "hash": info.hash,
        "bytes": info.bytes,
        "pages": info.pages,
        "chunks": info.chunks,
        "acl": list(info.acl),
        "synced_at": info.synced_at,
        "format": info.format,
        "title": info.title,
        "author": info.author,
        "created": info.created,
        "modified": info.modified,
        "source": info.source,
        "notes": list(info.notes),
    }
