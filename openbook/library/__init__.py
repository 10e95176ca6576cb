"""Stored documents, chunks and indexes; the only room that knows how things are kept."""
