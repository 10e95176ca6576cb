"""A workspace in, a comparison of its arms out: joins the rooms for openbook compare."""
