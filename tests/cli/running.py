"""Run the program as people and scripts do: as a process."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

PROGRAM = Path(__file__).parent / "program.py"
LIMIT_S = 60


def cachemig(
    *argv: str, cwd: Path, script: Path | None = None, **options: Any
) -> subprocess.CompletedProcess[str]:
    """Run `python -m cachemig`, or a script around it, to its end."""
    program = ["-m", "cachemig"] if script is None else [str(script)]
    return subprocess.run(
        [sys.executable, *program, *argv],
        cwd=cwd,
        check=False,
        text=True,
        timeout=LIMIT_S,
        **{"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **options},
    )


def events(output: str) -> list[dict[str, Any]]:
    """Read what --json printed."""
    return [json.loads(line) for line in output.splitlines()]
