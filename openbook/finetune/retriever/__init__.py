"""Questions and a library in, an embedder or reranker that finds their passages better out, if it does.

`tune.tune` is the whole way; what it needs of other rooms comes in as `tune.Tools`.
"""
