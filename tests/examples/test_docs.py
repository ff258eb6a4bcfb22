"""What the documentation shows is what there is."""

from __future__ import annotations

import doctest
from pathlib import Path

import pytest

import weavelet
from weavelet.settings import VARIABLES

DOCS = Path(__file__).parents[2] / "docs"
PAGES = sorted(DOCS.glob("*.md"))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_what_a_page_shows_happens(page):
    """Each `>>>` of a page prints what stands below it."""
    failed, _ = doctest.testfile(str(page), module_relative=False, encoding="utf-8")
    assert failed == 0


def test_every_public_name_is_in_the_reference():
    """No public name is forgotten there."""
    text = (DOCS / "reference.md").read_text("utf-8")
    assert [name for name in weavelet.__all__ if f"weavelet.{name}" not in text] == []


def test_every_variable_is_in_the_operations():
    """Each WEAVELET_* variable stands in the table of Operations."""
    text = (DOCS / "operations.md").read_text("utf-8")
    assert [name for name in VARIABLES if f"`{name}`" not in text] == []
