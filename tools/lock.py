"""Renews the hashed locks (`make lock`): what runs, what the tests, the benchmarks and the fuzzers need.

The resolver lives in a temporary environment and leaves nothing behind. A lock names packages, versions and hashes; it
never names an index or a host, so it works with whatever index a person's pip is set up for.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
OLDEST_PYTHON = "3.11"
LOCKS = {
    # file: the dependency groups it holds beside the project's own dependencies
    "requirements.lock": ("build",),
    "requirements-dev.lock": ("build", "dev"),
    "requirements-bench.lock": ("build", "dev", "bench"),
    "requirements-fuzz.lock": ("build", "dev", "fuzz"),
}


def main() -> int:
    """Resolve each lock; exit code 1 if one cannot be, or would name a host."""
    with tempfile.TemporaryDirectory(prefix="fauxfax-lock-") as folder:
        resolver = install_resolver(Path(folder))
        for name, groups in LOCKS.items():
            text = resolve(resolver, groups)
            if "://" in text or "--index" in text:
                print(f"{name}: the resolver wrote the name of a host into it; the old lock is kept", file=sys.stderr)
                return 1
            (ROOT / name).write_text(text, encoding="utf-8")
            print(f"{name}: {text.count('==')} packages")
    return 0


def install_resolver(folder: Path) -> Path:
    """The path of a `uv` that is installed for this call only."""
    venv.create(folder, with_pip=True)
    scripts = folder / ("Scripts" if os.name == "nt" else "bin")
    install = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "uv"]
    subprocess.run([scripts / "python", *install], check=True)
    return scripts / "uv"


def resolve(resolver: Path, groups: tuple[str, ...]) -> str:
    """The text of one lock, for every platform and Python from the oldest on."""
    options = ["--universal", "--python-version", OLDEST_PYTHON, "--generate-hashes", "--no-header", "--no-annotate"]
    options += ["--no-emit-index-url", "-q", "pyproject.toml"]
    for group in groups:
        options += ["--group", group]
    done = subprocess.run([resolver, "pip", "compile", *options], cwd=ROOT, check=True, capture_output=True, text=True)
    return done.stdout


if __name__ == "__main__":
    sys.exit(main())
