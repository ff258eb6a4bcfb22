"""The page "Controls": Markdown that a script prints without any server."""

from __future__ import annotations

from typing import Annotated, Literal

from weavelet import Meta
from weavelet.testing import local_session

PAGE = """\
# Controls

| Control | Type | Unit | Value | What it is |
| --- | --- | --- | --- | --- |
| `lr` | float > 0 and <= 1 |  | `0.1` | Learning rate. |
| `schedule` | one of 'a\\|b', 'cosine' |  |  |  |
| `grace` | int >= 0 | s | `5` | How long to wait. **Dangerous:** asks before it is done. |

## Actions

### `save`

Write a checkpoint. **Dangerous:** asks before it is done.

| Parameter | Type | Default |
| --- | --- | --- |
| `path` | str | required |
| `times` | int | `1` |

### `ping`
"""


def test_the_page_shows_all_that_a_declaration_says():
    """Type, bounds, unit, current value, danger and description; actions with their parameters."""
    w = local_session()

    @w.handler("lr", get=lambda: 0.1)
    def set_lr(value: Annotated[float, Meta(gt=0, le=1)]) -> None:
        """Learning rate."""

    @w.handler("schedule")
    def set_schedule(value: Literal["cosine", "a|b"]) -> None: ...

    @w.handler("grace", get=lambda: 5, unit="s", doc="How long\nto wait.", danger=True)
    def set_grace(value: Annotated[int, Meta(ge=0)]) -> None: ...

    @w.action("save", danger=True)
    def save(path: str, times: int = 1) -> None:
        """Write a checkpoint."""

    @w.action("ping")
    def ping() -> None: ...

    assert w.docs() == PAGE


def test_an_empty_session_has_a_page():
    """Nothing registered is said, not an empty table."""
    assert local_session().docs() == "# Controls\n\nNothing is registered.\n"
