"""Generate weavelet/wire/weavelet_pb2.py and .pyi from weavelet.proto.

    python build_backend/generate_proto.py          write them
    python build_backend/generate_proto.py --check  exit 1 if they differ from what is committed

Needs grpcio-tools 1.74.0: generated code runs on that protobuf runtime and newer, never on older.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import sys
import tempfile
from pathlib import Path

WIRE = Path(__file__).resolve().parent.parent / "weavelet" / "wire"
GENERATOR = "1.74.0"
GENERATED = ("weavelet_pb2.py", "weavelet_pb2.pyi")


def generate(folder: Path) -> None:
    """Write both files into `folder`."""
    from grpc_tools import protoc  # noqa: PLC0415  a clear error comes first where it is missing

    arguments = ["protoc", f"-I{WIRE}", f"--python_out={folder}", f"--pyi_out={folder}"]
    if protoc.main([*arguments, str(WIRE / "weavelet.proto")]) != 0:
        sys.exit("protoc refuses weavelet.proto; its messages are above.")
    stub = folder / "weavelet_pb2.pyi"
    # It writes a bare Mapping, which strict mypy would report on every run.
    stub.write_text("# mypy: disable-error-code=type-arg\n" + stub.read_text("utf-8"), "utf-8")


def check() -> None:
    """Exit 1 unless the committed files are what the generator writes now."""
    with tempfile.TemporaryDirectory() as folder:
        generate(Path(folder))
        stale = [
            name
            for name in GENERATED
            if not (WIRE / name).exists()
            or (WIRE / name).read_bytes() != (Path(folder) / name).read_bytes()
        ]
    if stale:
        sys.exit(
            f"{', '.join(stale)} in {WIRE} do not match weavelet.proto: "
            "run `python build_backend/generate_proto.py` and commit the result."
        )


def main() -> None:
    """Read the arguments, check the generator's version, do it."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--check", action="store_true", help="compare only, write nothing")
    arguments = parser.parse_args()
    try:
        found = importlib.metadata.version("grpcio-tools")
    except importlib.metadata.PackageNotFoundError:
        found = "none"
    if found != GENERATOR:
        sys.exit(
            f"expected grpcio-tools {GENERATOR}, got {found}: "
            f"`pip install grpcio-tools=={GENERATOR}`."
        )
    check() if arguments.check else generate(WIRE)


if __name__ == "__main__":
    main()
