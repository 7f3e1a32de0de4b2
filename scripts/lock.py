"""Write requirements.txt from a clean environment: python scripts/lock.py."""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TORCH = "torch==2.13.0"
# What PyTorch or XGBoost bring for GPUs by themselves, different on every platform.
PLATFORM = re.compile(r"(nvidia|triton|cuda)", re.IGNORECASE)
HEADER = """\
# Everything that `make install` installs, pinned. Made by `make lock`; do not edit.
# torch is pinned to one release, so that the same commands give the same numbers everywhere.
"""


def main() -> None:
    """Install the dev extra into a fresh environment and write down what came."""
    with tempfile.TemporaryDirectory() as folder:
        python = Path(folder) / "bin" / "python"
        subprocess.run([sys.executable, "-m", "venv", folder], check=True)
        pip = [python, "-m", "pip", "install", "--quiet"]
        subprocess.run([*pip, TORCH], check=True)
        subprocess.run([*pip, f"{ROOT}[dev]"], check=True)
        frozen = subprocess.run(
            [python, "-m", "pip", "freeze"], check=True, capture_output=True, text=True
        ).stdout
    lines = [re.sub(r"\+cpu$", "", line) for line in frozen.splitlines()]
    kept = [line for line in lines if not line.startswith("gollum") and not PLATFORM.match(line)]
    (ROOT / "requirements.txt").write_text(HEADER + "\n".join(kept) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
