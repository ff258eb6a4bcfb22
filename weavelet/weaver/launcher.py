"""Runs a program that is to die with the process that asked for it, however that one dies.

    python -I -S launcher.py {exec|watch} PARENT PROGRAM ARGUMENTS...

Run as a script, alone: it imports nothing but what it needs. `exec` has the kernel kill the program
when the thread that started us ends (Linux), and becomes the program. `watch` stays beside the
program, looks for the parent five times a second and kills the program when the parent is gone: for
other systems, and for threads other than the main one. Whoever kills the watcher itself with -9
leaves the program behind.
"""

from __future__ import annotations

import os
import signal
import sys
import time

_PR_SET_PDEATHSIG = 1
_LOOK_SECONDS = 0.2


def main() -> None:
    """Do as the arguments say. Exits with the program's exit status."""
    mode, parent, program = sys.argv[1], int(sys.argv[2]), sys.argv[3:]
    if mode == "exec":
        _die_with_parent(parent)
        os.execv(program[0], program)  # noqa: S606  the caller's program, no shell
    _watch(parent, program)


def _die_with_parent(parent: int) -> None:
    import ctypes  # noqa: PLC0415  the watcher does not need it

    if ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL) != 0:
        sys.exit(f"prctl: {os.strerror(ctypes.get_errno())}")
    # It may have died before the kernel knew.
    if os.getppid() != parent:
        sys.exit(1)


def _watch(parent: int, program: list[str]) -> None:
    child = os.fork()
    if child == 0:
        os.execv(program[0], program)  # noqa: S606  the caller's program, no shell
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: os.kill(child, signal.SIGTERM))
    while True:
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            sys.exit(os.waitstatus_to_exitcode(status))
        if os.getppid() != parent:
            os.kill(child, signal.SIGKILL)
        time.sleep(_LOOK_SECONDS)


if __name__ == "__main__":
    main()
