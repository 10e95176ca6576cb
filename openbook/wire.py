"""Records in, JSON values out, as every door shows them: the command line's --json, HTTP. And back again."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from openbook.records import (
    Answer,
    Chunk,
    Citation,
    DocumentInfo,
    Hit,
    SearchResult,
    Sentence,
    SyncFailure,
    SyncReport,
    Timings,
    VersionInfo,
)


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


def citation_json(one: Citation) -> dict[str, Any]:
    """A citation as the contract has it."""
    return {
        "document": one.document,
        "page": one.page,
        "start": one.start,
        "end": one.end,
        "quote": one.quote,
        "sentence": one.sentence,
    }


def answer_json(answer: Answer) -> dict[str, Any]:
    """An answer as the contract has it."""
    seconds = answer.seconds
    return {
        "answer": answer.text,
        "abstained": answer.abstained,
        "citations": [citation_json(one) for one in answer.citations],
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


def hit_of(told: Mapping[str, Any]) -> Hit:
    """The reverse of hit_json."""
    chunk = Chunk(
        document=told["document"],
        start=told["start"],
        end=told["end"],
        text=told["text"],
        page=told["page"],
        heading=tuple(told["heading"]),
        title=told["title"],
    )
    return Hit(
        chunk=chunk,
        score=told["score"],
        dense_rank=told["dense_rank"],
        dense_score=told["dense_score"],
        lexical_rank=told["lexical_rank"],
        lexical_score=told["lexical_score"],
        rerank_score=told["rerank_score"],
    )


def search_of(told: Mapping[str, Any]) -> SearchResult:
    """The reverse of search_json."""
    hits = tuple(hit_of(one) for one in told["hits"])
    return SearchResult(hits, version=told["library_version"], seconds=dict(told["seconds"]))


def answer_of(told: Mapping[str, Any]) -> Answer:
    """The reverse of answer_json; what the model wrote before its citations were checked is not told."""
    return Answer(
        text=told["answer"],
        abstained=told["abstained"],
        citations=tuple(
            Citation(one["document"], one["page"], one["start"], one["end"], one["quote"], one["sentence"])
            for one in told["citations"]
        ),
        sentences=tuple(Sentence(one["text"], one["supported"]) for one in told["sentences"]),
        hits=tuple(hit_of(one) for one in told["hits"]),
        prompt=told["prompt"],
        model=told["model"],
        adapter=told["adapter"],
        arm=told["arm"],
        prompt_tokens=told["tokens"]["prompt"],
        answer_tokens=told["tokens"]["answer"],
        seconds=Timings(**{step: told["seconds"][step] for step in ("retrieve", "prefill", "decode", "total")}),
        library_version=told["library_version"],
        notes=tuple(told["notes"]),
    )


def sync_of(told: Mapping[str, Any]) -> SyncReport:
    """The reverse of sync_json."""
    return SyncReport(
        added=told["added"],
        changed=told["changed"],
        renamed=told["renamed"],
        removed=told["removed"],
        unchanged=told["unchanged"],
        failed=tuple(SyncFailure(one["path"], one["reason"]) for one in told["failed"]),
        chunks=told["chunks"],
        seconds=told["seconds"],
        library_version=told["library_version"],
        duplicates=tuple((name, earlier) for name, earlier in told["duplicates"]),
        notes=tuple(told["notes"]),
        dry_run=told["dry_run"],
        paths={kind: tuple(names) for kind, names in told["paths"].items()},
    )


def document_of(told: Mapping[str, Any]) -> DocumentInfo:
    """The reverse of document_json; the hash of a document's container is not told."""
    return DocumentInfo(
        name=told["document"],
        hash=told["hash"],
        bytes=told["bytes"],
        pages=told["pages"],
        chunks=told["chunks"],
        acl=tuple(told["acl"]),
        synced_at=told["synced_at"],
        source=told["source"],
        format=told["format"],
        title=told["title"],
        author=told["author"],
        created=told["created"],
        modified=told["modified"],
        notes=tuple(told["notes"]),
    )


def version_json(info: VersionInfo) -> dict[str, Any]:
    """A version of the library as the contract has it."""
    return {
        "version": info.version,
        "committed_at": info.committed_at,
        "documents": info.documents,
        "chunks": info.chunks,
        "note": info.note,
    }


def version_of(told: Mapping[str, Any]) -> VersionInfo:
    """The reverse of version_json."""
    return VersionInfo(told["version"], told["committed_at"], told["documents"], told["chunks"], told["note"])
