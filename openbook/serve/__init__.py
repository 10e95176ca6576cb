"""The HTTP door: an OpenAI-compatible API, the native one, MCP and pages over one workspace. See docs/serve.md.

Every request becomes a Caller (access.py), every answer a turn in the queue (asking.py), long work a job (jobs.py).
"""
