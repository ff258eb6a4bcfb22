"""The shared page: words seen from both sides, and its descriptor."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from weavelet.channel.page import Page, Phase

CHILD = """
import sys
from weavelet.channel.page import Page
page = Page(int(sys.argv[1]))
print(page.words[Page.STEP])
page.words[Page.LOOKS] = -7
page.ring()
"""


def is_open(descriptor):
    """Whether a descriptor of this process is open."""
    try:
        os.fstat(descriptor)
    except OSError:
        return False
    return True


def test_a_new_page_is_zero():
    """All words begin at 0, which is the phase `starting`."""
    page = Page.create()
    assert set(page.words) == {0}
    assert Phase(page.words[Page.PHASE]) is Phase.STARTING
    page.close_descriptor()


def test_another_process_sees_and_writes_the_same_words():
    """The page is shared through its descriptor, in both directions."""
    page = Page.create()
    page.words[Page.STEP] = 2**63 - 1
    done = subprocess.run(
        [sys.executable, "-c", CHILD, str(page.descriptor)],
        pass_fds=[page.descriptor],
        capture_output=True,
        text=True,
        check=True,
    )
    assert int(done.stdout) == 2**63 - 1
    assert page.words[Page.LOOKS] == -7
    assert page.words[Page.BELL] != 0
    page.close_descriptor()


def test_a_bell_rings_until_it_is_silenced():
    """A second ring does not undo the first."""
    page = Page.create()
    for _ in range(2):
        page.ring()
        assert page.words[Page.BELL]
    page.words[Page.BELL] = 0
    page.ring()
    assert page.words[Page.BELL]
    page.close_descriptor()


def test_the_descriptor_is_not_inherited_and_closes_once():
    """Programs that the trainer starts do not get it; closing twice closes nobody else's."""
    page = Page.create()
    descriptor = page.descriptor
    assert not os.get_inheritable(descriptor)
    page.close_descriptor()
    assert not is_open(descriptor)
    reader, writer = os.pipe()
    page.close_descriptor()
    assert is_open(reader)
    os.close(reader)
    os.close(writer)


def test_the_words_live_on_without_the_descriptor():
    """A poll that is under way while the session stops can still write."""
    page = Page.create()
    page.close_descriptor()
    page.words[Page.LOOKS] = 3
    page.ring()
    assert page.words[Page.LOOKS] == 3


@pytest.mark.parametrize("step", [2**63, -(2**63) - 1])
def test_a_word_holds_64_bits(step):
    """What does not fit is an error and leaves the word as it was."""
    page = Page.create()
    with pytest.raises(ValueError):
        page.words[Page.STEP] = step
    assert page.words[Page.STEP] == 0
    page.close_descriptor()
