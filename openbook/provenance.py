"""Where a number or a file came from: versions and machine, as plain data."""

from __future__ import annotations

import importlib.metadata
import os
import platform
from pathlib import Path


def version() -> str:
    """Openbook's version."""
    return importlib.metadata.version("openbook")


def package_version(name: str) -> str | None:
    """An installed package's version, or None."""
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def cpu() -> tuple[str, frozenset[str]]:
    """The processor's name and its instruction-set flags (empty where the system does not tell)."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return platform.processor() or platform.machine(), frozenset()
    lines = [line.partition(":") for line in text.split("\n\n")[0].splitlines()]
    fields = {name.strip(): value.strip() for name, _, value in lines}
    return fields.get("model name", platform.machine()), frozenset(fields.get("flags", "").split())


def machine() -> dict[str, object]:
    """Processor, cores, system and Python, for reports and bench results."""
    name, flags = cpu()
    return {
        "cpu": name,
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "matrix": sorted(flags & {"amx_tile", "amx_bf16", "amx_int8", "avx512_bf16", "avx512_vnni", "avx512f", "avx2"}),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "openbook": version(),
    }
