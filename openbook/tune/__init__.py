"""The user's own questions in, the settings that find and show answers best out; see docs/tune.md."""

from __future__ import annotations

from openbook.tune.options import Options, Tools
from openbook.tune.report import Report
from openbook.tune.run import keep, run

__all__ = ["Options", "Report", "Tools", "keep", "run"]
