"""How measures are written: by the server, and by the page that goes on by itself."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
from playwright.sync_api import sync_playwright

from steelyard_platform.pages.templatetags.steelyard import measure, signed
from tests.support import services

WRITTEN = {
    0.5: "0.5",
    0.98326: "0.9833",
    0.00012: "0.00012",
    0.0099996: "0.01",
    9.9e-8: "9.9e-8",
    -2.50013e-5: "-2.5e-5",
    1.0: "1",
    9.99996: "10",
    13.42: "13.42",
    100.0: "100",
    999.96: "1,000",
    -0.04: "-0.04",
    2500.5: "2,501",
    2501.2: "2,501",
    -12345678.9: "-12,345,679",
    1.5e30: "1.5e30",
    -0.0: "0",
}


@pytest.mark.parametrize(("value", "text"), WRITTEN.items())
def test_a_measure_has_four_digits_whatever_its_size(value, text):
    assert measure(value) == text


def test_counts_are_whole_and_what_is_no_number_is_said():
    assert [measure(one) for one in (7, 61440, math.nan, math.inf, "none")] == [
        "7",
        "61,440",
        "not finite",
        "not finite",
        "none",
    ]


def test_a_difference_has_its_sign():
    assert [signed(one) for one in (0.012345, -0.5, 0.0, 13.42)] == ["+0.01235", "-0.5", "0", "+13.42"]


@pytest.mark.service("chromium")
def test_a_page_that_goes_on_by_itself_writes_measures_as_the_server_does():
    script = (Path(__file__).parents[3] / "static" / "steelyard" / "charts.js").read_text()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=services.chromium(), args=["--headless", "--no-sandbox"])
        page = browser.new_page()
        page.add_script_tag(content=script)
        written = page.evaluate(f"{json.dumps(list(WRITTEN))}.map(window.steelyardCharts.measure)")
        browser.close()
    assert written == list(WRITTEN.values())
