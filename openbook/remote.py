"""A workspace whose library a running server owns, reached through that server: what the command line then uses."""
