"""Files and pages in, documents and chunks out; what changed since last time."""
