"""A headless Chromium for the tests that look at a page as its readers do."""

import base64
import html
import json
import os
import re
import shutil
import subprocess
import tempfile

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome")
# Nothing of the machine's own profile, and no requests of the browser's own.
OPTIONS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--host-resolver-rules=MAP * ~NOTFOUND",
)
# What pages say about themselves. They are frames, which take any width.
FRAME = '<iframe style="width:{width}px;height:800px;border:0" srcdoc="{page}"></iframe>'
PROBE = """<script>addEventListener("load", () => {
  const found = [...document.querySelectorAll("iframe")].map(frame => {
    const page = frame.contentDocument, all = [...page.querySelectorAll("*")];
    return {
      title: page.title, width: page.documentElement.scrollWidth, scripts: page.scripts.length,
      background: getComputedStyle(page.body).backgroundColor, colour: getComputedStyle(page.body).color,
      images: [...page.images].map(image => [image.naturalWidth, image.alt]),
      fetched: page.defaultView.performance.getEntriesByType("resource").map(entry => entry.name.slice(0, 40)),
      handlers: all.filter(one => [...one.attributes].some(a => a.name.startsWith("on"))).length,
      small: [...page.querySelectorAll("svg text")].filter(one => one.getBoundingClientRect().height < 8).length,
    };
  });
  document.body.textContent = "FOUND" + btoa(unescape(encodeURIComponent(JSON.stringify(found)))) + "END";
});</script>"""


def look_at(frames, scheme):
    """What Chromium finds in each (page, width); the test is skipped where there is no Chromium."""
    program = next(filter(None, map(shutil.which, NAMES)), None)
    if program is None:
        assert os.environ.get("DASECV_REQUIRE_BROWSER") != "1", "no Chromium was found"
        pytest.skip("no Chromium here: the page is not opened")
    with tempfile.TemporaryDirectory() as folder:
        with open(os.path.join(folder, "probe.html"), "w", encoding="utf-8") as file:
            file.write("<!DOCTYPE html><html><body>" + PROBE + "".join(
                FRAME.format(width=width, page=html.escape(page)) for page, width in frames))
        done = subprocess.run(
            [program, *OPTIONS, f"--user-data-dir={folder}/profile", "--window-size=1500,900", "--dump-dom",
             f"--blink-settings=preferredColorScheme={int(scheme == 'light')}", "--virtual-time-budget=5000",
             f"file://{folder}/probe.html"],
            capture_output=True, text=True, timeout=120, check=True)
    found = re.search(r"FOUND([A-Za-z0-9+/=]+)END", done.stdout)
    assert found, done.stdout[-500:] + done.stderr[-2000:]
    return json.loads(base64.b64decode(found[1]))
