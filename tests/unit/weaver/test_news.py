from __future__ import annotations

from types import SimpleNamespace

from harness.weaver import set_entry
from weavelet.weaver import news
from weavelet.weaver.fleet import Fleet
from weavelet.weaver.log import JobLog
from weavelet.weaver.news import News


def test_what_was_said_of_old_entries_is_forgotten(monkeypatch):
    """However many entries there were, a bounded number of them is remembered."""
    monkeypatch.setattr(news, "_MOST_TOLD", 10)
    ingest = SimpleNamespace(fleet=Fleet(now=0.0), on_entry=None, on_report=None)
    told = News(ingest, None, server="s")
    log = JobLog("train", "j1")
    for number in range(1, 100):
        ingest.on_entry(log.read(set_entry(f"e{number}"), number, 0.0, 0.0))
    assert list(told._told) == [f"e{number}" for number in range(90, 100)]
