"""The command line: one verb a module, imported when it runs."""

from __future__ import annotations

import importlib.metadata
import os
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from weavelet.exceptions import CommandError

if TYPE_CHECKING:
    from cyclopts import App

_VERBS = "weavelet.client.verbs"
_VERB_HELP = {
    "up": "Start the server and its page on this machine.",
    "down": "Stop the server that `up` started.",
    "run": "Run a command, and steer the PyTorch training in it.",
    "demo": "See it work: a small training with everything around it.",
    "ls": "List runs, jobs and replicas.",
    "show": "Show the controls, actions and replicas of a run.",
    "set": "Set controls of a run, all or none.",
    "act": "Run an action of a run.",
    "pause": "Hold a run at its safe point.",
    "resume": "End a pause.",
    "stop": "End a run's training at its next safe point.",
    "freeze": "Have a run refuse everything but stop and unfreeze.",
    "unfreeze": "Have a run accept commands again.",
    "watch": "Follow a run as it trains.",
    "log": "Print the control log of a run: what was commanded, and what became of it.",
    "export": "Write what was applied as JSON lines, to be replayed.",
    "docs": "Print the controls of a run as a Markdown page, or as JSON Schema.",
    "rm": "Forget a run that has ended.",
    "doctor": "Check what is needed and whether it works.",
}
_USAGE_ERROR = 2
_INTERRUPTED = 130
_BROKEN_PIPE = 141


def main() -> None:
    """The `weavelet` command."""
    sys.exit(run(sys.argv[1:]))


def run(arguments: Sequence[str]) -> int:
    """Run one command line and return its exit code.

    0: it is so; 1: refused, failed or unknown; 2: the command line is wrong; 3: nothing runs or
    answers; 130: interrupted.
    """
    before_command = arguments[: arguments.index("--")] if "--" in arguments else arguments
    json = "--json" in before_command
    try:
        return _dispatch(arguments, json)
    except CommandError as error:
        return _tell(error, json)
    except KeyboardInterrupt:
        return _INTERRUPTED
    except BrokenPipeError:
        # The reader, such as `head`, has seen enough. Keeps the flush at exit from failing too.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return _BROKEN_PIPE
    except ImportError as error:
        missing = error if error.name else error.__cause__  # cyclopts wraps a verb's own
        name = getattr(missing, "name", None) or "weavelet"
        if name.partition(".")[0] == "weavelet":
            raise
        text = (
            f"The module {name!r} is not installed. The command line and the server need the "
            "extra: pip install 'torchloom-weavelet[weaver]'"
        )
        return _tell(CommandError("missing_extra", text), json)


def _dispatch(arguments: Sequence[str], json: bool) -> int:
    from cyclopts import CycloptsError  # noqa: PLC0415  inside the net for missing modules

    try:
        code = _app()(
            list(arguments),
            exit_on_error=False,
            print_error=False,
            result_action="return_value",
        )
    except CycloptsError as error:
        text = " ".join(str(error).split())
        return _tell(CommandError("usage", text, exit_code=_USAGE_ERROR), json)
    return code if isinstance(code, int) else 0


def _app() -> App:
    from cyclopts import App, Parameter  # noqa: PLC0415

    app = App(
        name="weavelet",
        help="See and steer a running PyTorch training job.",
        version=_version,
        help_format="plaintext",
        default_parameter=Parameter(negative=(), show_default=False),
        suppress_keyboard_interrupt=False,
    )
    for verb, text in _VERB_HELP.items():
        app.command(f"{_VERBS}.{verb}:{verb}", name=verb, help=text)
    return app


def _version() -> str:
    return importlib.metadata.version("torchloom-weavelet")


def _tell(error: CommandError, json: bool) -> int:
    from weavelet.client import output  # noqa: PLC0415  what tells nothing needs none of it

    if json:
        known = list(error.known)
        output.print_json({"error": {"code": error.code, "text": error.text, "known": known}})
    else:
        output.say(f"weavelet: {error.text}", error=True)
        if error.known:
            output.say(f"known: {', '.join(error.known)}", error=True)
    return error.exit_code


if __name__ == "__main__":
    main()
