"""A workspace in, frozen cases out: joins questions, the library and openbook.compare.cases."""
