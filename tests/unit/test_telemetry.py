"""Nothing this package uses reports its use to anyone."""

from __future__ import annotations

import subprocess
import sys


def test_openvino_reports_no_use_of_itself() -> None:
    code = "import openbook; from openvino.tools.ovc import telemetry_utils; print(telemetry_utils.tm.__name__)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "openvino.tools.ovc.telemetry_stub"
