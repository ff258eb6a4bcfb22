from __future__ import annotations

import math
from types import SimpleNamespace

import msgspec

from harness.weaver import set_entry
from weavelet.messages import ReportBatch
from weavelet.weaver import news
from weavelet.weaver.fleet import Fleet
from weavelet.weaver.log import JobLog
from weavelet.weaver.news import News
from weavelet.weaver.protocol import Metrics
from weavelet.weaver.views import metrics_message


def test_what_was_said_of_old_entries_is_forgotten(monkeypatch):
    """However many entries there were, a bounded number of them is remembered."""
    monkeypatch.setattr(news, "_MOST_TOLD", 10)
    ingest = SimpleNamespace(fleet=Fleet(now=0.0), on_entry=None, on_report=None)
    told = News(ingest, None, server="s")
    log = JobLog("train", "j1")
    for number in range(1, 100):
        ingest.on_entry(log.read(set_entry(f"e{number}"), number, 0.0, 0.0))
    assert list(told._told) == [f"e{number}" for number in range(90, 100)]


def test_a_sample_of_no_time_can_be_read_by_clients():
    """NaN and infinities, which JSON has no word for, are shown as in the history."""
    batch = ReportBatch(
        replica="rank-0",
        incarnation="a",
        first=0,
        steps=(1, 2, 3),
        at=(math.nan, math.inf, 3.0),
        columns={"loss": (1.0, 2.0, 3.0)},
    )
    told = msgspec.json.encode(metrics_message("train", "j1", batch))
    assert msgspec.json.decode(told, type=Metrics).at == [0.0, 0.0, 3.0]
