"""The page."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest
from pinboard_service import SOURCE, Service, StartService

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
HOSTILE = '<img src=x onerror="document.title=1"><script>document.title=2</script>'


def test_the_page_brings_all_that_it_needs(board: Service) -> None:
    page = board.http.get("/")
    assert page.headers["Content-Type"].startswith("text/html")
    files = re.findall(r'(?:src|href)="(?!data:)([^"]+)"', page.text)
    assert sorted(files) == ["static/app.js", "static/style.css"]
    for name in files:
        reply = board.http.get(f"/{name}")
        assert reply.status_code == 200
        assert reply.headers["Content-Type"].partition(";")[0] in ("text/javascript", "text/css")
        assert "//" not in re.sub(r"^\s*//.*$", "", reply.text, flags=re.MULTILINE), "no address of another host"
    assert board.http.get("/static/../__init__.py").status_code == 404
    assert board.http.get("/static/%2e%2e/%2e%2e/__init__.py").status_code == 404


def test_no_text_of_a_pin_can_become_code(board: Service) -> None:
    policy = board.http.get("/").headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy and "unsafe" not in policy
    script = (SOURCE / "pinboard/page/static/app.js").read_text()
    assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(|Function\(", script)
    assert board.http.get("/api/pins").headers["Content-Type"] == "application/json"


@pytest.mark.skipif(not CHROMIUM, reason="no Chromium here")
def test_a_browser_shows_hostile_pins_as_text(start: StartService, tmp_path: Path) -> None:
    board = start("sqlite:///board.db").wait_until_ready()
    board.http.post("/api/pins", json={"text": HOSTILE, "author": "<i>me</i>"}).raise_for_status()
    options = ["--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path}/chromium"]
    done = subprocess.run(
        [str(CHROMIUM), *options, "--virtual-time-budget=1000", "--dump-dom", board.url],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        timeout=60,
        check=True,
    )
    shown = done.stdout.partition('<ul id="pins"')[2].partition("</ul>")[0]
    assert "&lt;img src=x onerror=" in shown and "&lt;script&gt;" in shown and "&lt;i&gt;me" in shown
    assert "<img" not in shown and "<script" not in shown
    assert "<title>Pinboard</title>" in done.stdout
    who = board.http.get("/api/whoami").json()
    assert f">{who['host']}<" in done.stdout and f">{who['kernel']}<" in done.stdout
