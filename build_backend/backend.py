"""PEP 517 backend: setuptools."""

from setuptools.build_meta import *  # noqa: F403
