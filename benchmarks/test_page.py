"""The weaver's page in Chromium: redrawing a chart, the first paint, and how much is sent.

Needs `npm ci` in weavelet/weaver/ui, playwright and a Chromium (`WEAVELET_CHROMIUM`, default
/usr/bin/chromium).
"""

from __future__ import annotations

import functools
import gzip
import http.server
import os
import shutil
import statistics
import subprocess
import threading
from pathlib import Path

import pytest
from measure import quantile

from harness.stage import weaving
from harness.trainers import training

UI = Path(__file__).parents[1] / "weavelet" / "weaver" / "ui"
CHROMIUM = os.environ.get("WEAVELET_CHROMIUM", "/usr/bin/chromium")
ARGUMENTS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
ROUNDS = 100
FIRST_PAINT = """
() => performance.getEntriesByName("first-contentful-paint").map((entry) => entry.startTime)[0]
"""


class Quiet(http.server.SimpleHTTPRequestHandler):
    """Serves a folder and says nothing."""

    def log_message(self, *_):
        """Not to the terminal."""


@pytest.fixture(scope="module")
def browser():
    """A Chromium that paints without a GPU."""
    playwright = pytest.importorskip("playwright.sync_api")
    with playwright.sync_playwright() as started:
        chromium = started.chromium.launch(executable_path=CHROMIUM, args=list(ARGUMENTS))
        yield chromium
        chromium.close()


@pytest.fixture
def served(tmp_path):
    """Builds a page by one of the configurations of Vite, and serves it on loopback."""
    servers = []

    def serve(configuration):
        npx = shutil.which("npx")
        if npx is None or not (UI / "node_modules").is_dir():
            pytest.skip(f"needs Node and `npm ci` in {UI}")
        folder = tmp_path / "page"
        subprocess.run(
            [npx, "vite", "build", "--config", configuration, "--outDir", str(folder)],
            cwd=UI,
            check=True,
            capture_output=True,
        )
        handler = functools.partial(Quiet, directory=str(folder))
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        servers.append(server)
        return folder, f"http://127.0.0.1:{server.server_port}/"

    yield serve
    for server in servers:
        server.shutdown()
        server.server_close()


def test_redraw(figures, browser, served):
    """A sample more for each replica and all of it drawn anew, to the last pixel."""
    _, url = served("bench/vite.config.ts")
    page = browser.new_page(viewport={"width": 1280, "height": 800})
    page.goto(url)
    page.wait_for_function("window.redraws")
    for replicas, points, bound in ((1, 1_000, None), (10, 1_000, None), (10, 10_000, 20)):
        taken = page.evaluate(
            "([replicas, points, rounds]) => window.redraws(replicas, points, rounds)",
            [replicas, points, ROUNDS],
        )
        whole, script = taken["whole"], statistics.median(taken["script"])
        figures.add(
            f"redraw of {replicas} x {points:,}",
            statistics.median(whole),
            "ms",
            at_most=bound,
            note=f"script {script:.1f}, p95 {quantile(whole, 0.95):.1f}",
        )


def test_first_paint_and_size(figures, browser, served):
    """All that a first visit is sent, and when something of it is seen; the server is at hand."""
    folder, url = served("vite.config.ts")
    sent = sum(len(gzip.compress(path.read_bytes())) for path in folder.rglob("*.*"))
    painted = []
    for _ in range(5):
        context = browser.new_context(viewport={"width": 1280, "height": 800})
        page = context.new_page()
        page.goto(url)
        page.wait_for_function(f"({FIRST_PAINT})() !== undefined")
        painted.append(page.evaluate(FIRST_PAINT))
        context.close()
    figures.add("page, gzipped", sent / 1000, "kB", at_most=350)
    figures.add("first paint", statistics.median(painted) / 1000, "s", at_most=1)


REPORTING = """
import time, weavelet
with weavelet.session("r0") as w:
    step = 0
    while True:
        w.poll(step)
        w.report(step, sent=time.time() % 1000)
        step += 1
        time.sleep(0.37)
"""
SEEN = """
(count) => new Promise((resolve) => {
  const taken = [];
  let last = "";
  const look = () => {
    const place = document.querySelector('[data-test="chart-value"]');
    const text = place === null ? "" : place.textContent.trim();
    if (text !== last) {
      last = text;
      const late = (Date.now() / 1000) % 1000 - Number(text.replace(/,/g, ""));
      if (late >= 0 && late < 100) taken.push(1000 * late);
    }
    if (taken.length < count) requestAnimationFrame(look); else resolve(taken);
  };
  look();
})
"""


def test_report_until_seen(figures, browser, tmp_path):
    """From a trainer's report(), by sidecar, server and weaver, to the number in the page."""
    names = {"WEAVELET_HOME": str(tmp_path / "home"), "WEAVELET_RUN": "seen"}
    with weaving(tmp_path / "home") as weaver, training(REPORTING, **names):
        page = browser.new_page(viewport={"width": 1280, "height": 800})
        page.set_default_timeout(120_000)
        page.goto(f"{weaver.endpoint.http_url}/#token={weaver.endpoint.token}")
        page.locator('[data-test="run-link"]').click()
        page.wait_for_selector('[data-test="chart-value"]')
        taken = page.evaluate(SEEN, 60)[5:]
        page.close()
    figures.add(
        "report until seen in the page, p50",
        statistics.median(taken),
        "ms",
        at_most=250,
        note=f"p95 {quantile(taken, 0.95):.0f}",
    )
