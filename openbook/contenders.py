"""A workspace in, the arms that a comparison asks out: joins answering, adapters and openbook.compare.trial."""
