"""Trainer <-> sidecar: a shared page as doorbell and a socket pair for the frames."""
