"""Where a number comes from: the commit of this code, the versions of what it ran on, the processor."""

from __future__ import annotations

import os
import platform
import subprocess
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

PACKAGES = ("pairwright", "torch", "numpy", "pillow", "pyarrow", "resvg-py", "timm", "open_clip_torch", "transformers")


@cache
def commit() -> str:
    """The git commit of the checkout that this code runs from, with ``+`` when tracked files differ from it; the version elsewhere."""
    here = Path(__file__).resolve()

    def git(*args: str) -> str:
        return subprocess.run(["git", "-C", str(here.parent), *args], capture_output=True, text=True, timeout=10, check=True).stdout.strip()

    try:
        # a virtual environment inside somebody's repository is not a checkout of this project
        if not git("ls-files", str(here)):
            raise OSError
        return git("rev-parse", "HEAD") + ("+" if git("status", "--porcelain", "--untracked-files=no") else "")
    except (OSError, subprocess.SubprocessError):
        return f"v{version('pairwright')}"


@cache
def versions() -> dict[str, str]:
    """Python, platform and the packages that numbers depend on."""
    found = {"python": platform.python_version(), "platform": platform.platform(terse=True)}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


@cache
def processor() -> str:
    """The processor's name, and the cores this process may use."""
    name = platform.processor() or platform.machine()
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        name = next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), name)
    except OSError:
        pass
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return f"{name}, {cores} cores"
