"""Which Pythons this machine has; the agent must run on the oldest one supported."""

import functools
import os
import shutil
import subprocess
import sys
from pathlib import Path

OLDEST_SUPPORTED = (3, 9)


def version_of(python: str) -> tuple[int, int]:
    """Major and minor version of an interpreter; (0, 0) when it does not start."""
    show = "import sys; print(*sys.version_info[:2])"
    ran = subprocess.run(
        [python, "-I", "-c", show], capture_output=True, text=True, timeout=60, check=False
    )
    if ran.returncode:
        return (0, 0)
    major, minor = ran.stdout.split()
    return int(major), int(minor)


@functools.cache
def oldest_python_found() -> str:
    """Path of the oldest supported Python on PATH or of pyenv; else that of this process."""
    names = [f"python3.{minor}" for minor in range(OLDEST_SUPPORTED[1], sys.version_info.minor)]
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    found = [path for name in names if (path := shutil.which(name))]
    found += [str(path) for name in names for path in sorted(pyenv.glob(f"3.*/bin/{name}"))]
    by_version = {version_of(path): path for path in found}
    by_version[sys.version_info[:2]] = sys.executable
    return by_version[min(version for version in by_version if version >= OLDEST_SUPPORTED)]
