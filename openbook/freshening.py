"""A workspace in, what an edit costs each arm out: joins the rooms for the freshness part of a comparison."""
