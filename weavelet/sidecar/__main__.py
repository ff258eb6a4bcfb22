"""Run by the trainer, isolated: `python -I __main__.py CHANNEL_FD PAGE_FD TRAINER_PID ROOTS`."""

from __future__ import annotations

import json
import sys

# Appended, so that a `types.py` or `random.py` beside the user's packages hides nothing.
sys.path += [root for root in json.loads(sys.argv[4]) if root not in sys.path]

# nats-py loads aiohttp where it finds it, for a transport that is never used here: 12 MB a trainer.
sys.modules["aiohttp"] = None  # type: ignore[assignment]

from weavelet.sidecar.service import main  # noqa: E402  needs the path above

main(channel=int(sys.argv[1]), page=int(sys.argv[2]), trainer=int(sys.argv[3]))
