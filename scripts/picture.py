"""Makes `docs/dashboard.png` from a running `make demo`: the page of the job that trained the first version.

make demo                                     # in one shell
.venv/bin/python scripts/picture.py           # in another
"""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path

from playwright.sync_api import sync_playwright

ROOT = Path(__file__).resolve().parent.parent
_FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--url", default="http://127.0.0.1:8000")
    address = parser.parse_args().url
    password = (ROOT / "var" / "demo" / "password").read_text()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=_FLAGS)
        page = browser.new_page(viewport={"width": 1240, "height": 860}, base_url=address)
        page.goto("/login")
        page.get_by_label("Name").fill("keeper")
        page.get_by_label("Password").fill(password)
        page.get_by_role("button", name="Sign in").click()
        page.goto("/jobs")
        page.locator("table a").last.click()
        page.locator("#chart-accuracy canvas").wait_for()
        page.wait_for_timeout(1500)
        page.screenshot(path=ROOT / "docs" / "dashboard.png")
        browser.close()


if __name__ == "__main__":
    main()
