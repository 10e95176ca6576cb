"""Named models, where they come from, and bringing them here verified."""
