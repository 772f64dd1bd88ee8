"""The dashboard in a real Chromium: the story's pages, live, in light and dark. Leaves screenshots."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from uuid import uuid4

import pytest
from playwright.sync_api import expect, sync_playwright

from steelyard_contracts.jobs import JobState
from steelyard_contracts.searches import FloatRange
from tests.support import services
from tests.support.installations import PASSWORD

pytestmark = [pytest.mark.end_to_end, pytest.mark.service("chromium")]

SCREENSHOTS = Path(__file__).parents[2] / "var" / "screenshots"
_FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
]


@pytest.fixture(scope="module")
def browser():
    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=services.chromium(), args=_FLAGS)
        yield launched
        launched.close()


def is_fault(message):
    """A refusal (409) is an answer; Chromium logs it as an error all the same."""
    return message.type == "error" and "409 (Conflict)" not in message.text


# Milliseconds, also on a machine that does much else: a page that never shows it fails all the same.
_PATIENCE = 120_000
expect.set_options(timeout=_PATIENCE)


@pytest.fixture(params=["light", "dark"])
def page(browser, installation, request):
    """Signed in. Fails the test when the page logs an error or asks another host for anything."""
    context = browser.new_context(
        color_scheme=request.param, viewport={"width": 1280, "height": 900}, base_url=installation.url
    )
    context.set_default_timeout(_PATIENCE)
    opened = context.new_page()
    complaints = []
    opened.on("console", lambda message: complaints.append(message.text) if is_fault(message) else None)
    opened.on("pageerror", lambda error: complaints.append(str(error)))
    opened.on("request", lambda sent: None if sent.url.startswith(installation.url) else complaints.append(sent.url))
    opened.goto("/login")
    opened.get_by_label("Name").fill("ada")
    opened.get_by_label("Password").fill(PASSWORD)
    opened.get_by_role("button", name="Sign in").click()
    expect(opened.get_by_role("heading", name="Home")).to_be_visible()
    opened.scheme = request.param
    yield opened
    context.close()
    assert complaints == []


def shoot(page, name):
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=SCREENSHOTS / f"{name}-{page.scheme}.png", full_page=True)


@pytest.fixture(scope="session")
def story(installation, dataset, quick):
    """Two versions that were measured, an alias, and what devices say of a release."""
    import steelyard

    with steelyard.connect(installation.url, installation.token, quiet=True) as hub:
        jobs = [hub.train(dataset=dataset, output="lab/shown", seed=seed, **quick) for seed in (1, 2)]
        for job in jobs:
            assert hub.wait(job.id).state is JobState.SUCCEEDED
        hub.promote("lab/shown@v1", "production", reason="the first")
        hub.add_gate("lab/shown", "accuracy >= 1.01", applies_to="strict")
        made = hub.optimise(model="lab/shown@v1", dataset=dataset, variants=["onnx-int8"], max_accuracy_drop=1.0)
        assert hub.wait(made.id).state is JobState.SUCCEEDED
        return jobs


def test_the_pages_of_a_model(page, story, stripes):
    page.goto("/")
    shoot(page, "home")
    page.goto("/models?q=shown")
    page.get_by_role("link", name="lab/shown").first.click()
    expect(page.get_by_text("It tells apart: across, down.")).to_be_visible()
    expect(page.get_by_text("production")).to_be_visible()
    shoot(page, "model")
    page.get_by_role("link", name=re.compile("^Files")).click()
    expect(page.get_by_role("link", name="model.safetensors")).to_be_visible()
    shoot(page, "files")
    page.get_by_role("link", name=re.compile("^Versions")).click()
    page.get_by_role("link", name="v1", exact=True).first.click()
    expect(page.get_by_role("heading", name="Lineage")).to_be_visible()
    expect(page.get_by_text("v1-onnx-int8")).to_be_visible()
    shoot(page, "version")
    picture = stripes / "validation" / "down" / "0.png"
    page.get_by_label("Drop pictures here").set_input_files([picture, picture])
    page.get_by_role("button", name="Predict").click()
    page.locator("[data-predict] form").evaluate("(form) => form.requestSubmit()")  # sends nothing: one is under way
    expect(page.get_by_text("in onnxruntime-cpu.")).to_be_visible()
    expect(page.get_by_role("button", name="Predict")).to_be_enabled()
    expect(page.locator("[data-answers] figure")).to_have_count(2)
    shoot(page, "predicted")
    page.get_by_role("link", name="all that was measured").first.click()
    expect(page.get_by_role("heading", name="Figures")).to_be_visible()
    shoot(page, "evaluation")
    page.go_back()
    page.get_by_label("Other version").select_option("v2")
    page.get_by_role("button", name="Compare").click()
    expect(page.get_by_role("cell", name="accuracy")).to_be_visible()
    shoot(page, "compare")


def test_a_graph_is_moved_enlarged_and_clicked_through(page, story):
    page.goto("/lab/shown/versions/v1/lineage")
    graph = page.locator("[data-graph] svg")
    expect(graph.locator("a", has_text="shown@v3").first).to_be_visible()
    shoot(page, "lineage")
    page.get_by_role("button", name="Whole graph").click()
    whole = graph.get_attribute("viewBox")
    page.get_by_role("button", name="Enlarge").click()
    expect(graph).not_to_have_attribute("viewBox", whole)
    page.get_by_role("button", name="Whole graph").click()
    expect(graph).to_have_attribute("viewBox", whole)
    graph.focus()
    page.keyboard.press("ArrowRight")
    expect(graph).not_to_have_attribute("viewBox", whole)
    page.keyboard.press("0")
    expect(graph).to_have_attribute("viewBox", whole)
    box = page.locator("[data-graph] a.dataset")
    place = box.bounding_box()
    page.mouse.move(place["x"] + 20, place["y"] + 20)
    page.mouse.down()
    page.mouse.move(place["x"] + 80, place["y"] + 50, steps=4)
    page.mouse.up()
    expect(graph).not_to_have_attribute("viewBox", whole)
    expect(page).to_have_url(re.compile("/lineage$"))  # a drag opens nothing
    moved = box.bounding_box()
    assert (moved["x"] - place["x"], moved["y"] - place["y"]) == pytest.approx((60, 30), abs=3)
    box.click()
    expect(page).to_have_url(re.compile("/datasets/lab/stripes/versions/v1$"))
    page.go_back()
    page.locator("[data-graph] a.here").focus()
    page.keyboard.press("Enter")
    expect(page).to_have_url(re.compile("/lab/shown/versions/v1$"))


def test_a_card_is_written_with_a_preview_and_found_by_what_it_says(page, hub, tmp_path):
    (tmp_path / "README.md").write_text("---\nlicense: mit\n---\n# Before")
    name = f"lab/carded-{page.scheme}"
    hub.push(tmp_path, name)
    page.goto(f"/{name}")
    page.get_by_role("link", name="Edit card").click()
    editor = page.get_by_label("README.md")
    expect(editor).to_have_value("---\nlicense: mit\n---\n# Before")
    editor.fill("---\nlicense: none of them\n---\n# Zebras")
    expect(page.locator("#preview").get_by_role("heading", name="Zebras")).to_be_visible()
    expect(page.locator("#preview")).to_contain_text("must be one of the identifiers that the Hub knows")
    shoot(page, "editor")
    editor.fill(f"---\nlicense: mit\ntags: [striped-{page.scheme}]\n---\n# Zebras")
    expect(page.locator("#preview .notice")).to_have_count(0)
    page.get_by_role("button", name="Save as a new version").click()
    expect(page.get_by_role("heading", name="Zebras")).to_be_visible()
    page.get_by_role("link", name=f"striped-{page.scheme}").click()
    expect(page.locator(".hit")).to_have_count(1)
    page.get_by_role("searchbox", name="Search models").fill("zebr size<1MB license:mit")
    page.keyboard.press("Enter")
    expect(page.get_by_role("link", name=name)).to_be_visible()
    shoot(page, "search")


def test_pages_fit_a_phone(page, story):
    page.set_viewport_size({"width": 390, "height": 844})
    compared = f"/jobs/compare?job={story[0].id}&job={story[1].id}"
    for address in ("/lab/shown", "/models?q=shown", "/lab/shown/edit", "/jobs", "/jobs/new", "/storage", compared):
        page.goto(address)
        assert page.evaluate("document.documentElement.scrollWidth") == 390
        shoot(page, f"phone-{address.strip('/').split('?')[0].replace('/', '-')}")


def test_what_a_card_says_of_its_use_does_it_and_can_be_copied(page, installation, story, tmp_path):
    page.goto("/lab/shown")
    page.get_by_text("Use this model").click()
    said = dict(
        zip(
            page.locator(".use details > summary").all_text_contents(),
            page.locator(".use pre").all_text_contents(),
            strict=True,
        )
    )
    assert set(said) == {"huggingface_hub", "hf", "Python SDK", "Shell", "transformers", "torch"}
    page.get_by_role("button", name="Copy").first.click()
    expect(page.get_by_role("button", name="Copied")).to_be_visible()
    if page.scheme == "dark":
        return  # they say the same in the light
    path = f"{Path(sys.executable).parent}:/usr/bin:/bin"
    for title, text in said.items():
        if title in {"hf", "Shell"}:
            command = ["bash", "-c", f"set -e; cd {tmp_path}; {text}"]
        else:
            command = [sys.executable, "-c", text]
        done = subprocess.run(
            command, env={**installation.environment, "PATH": path}, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, (title, done.stdout, done.stderr)
    assert (tmp_path / "shown" / "model.safetensors").stat().st_size > 0


def test_the_page_of_a_dataset(page, dataset):
    page.goto(f"/datasets/{dataset}")
    expect(page.get_by_role("heading", name=re.compile("^train"))).to_be_visible()
    shoot(page, "dataset")


def test_a_promotion_from_the_page_and_one_that_is_refused(page, story):
    page.goto("/lab/shown/versions/v2")
    page.get_by_label("Alias").fill(f"candidate-{page.scheme}")
    page.get_by_role("button", name="Promote").click()
    expect(page.locator(".pill", has_text=f"candidate-{page.scheme}")).to_be_visible()
    page.get_by_label("Alias").fill("strict")
    page.get_by_role("button", name="Promote").click()
    expect(page.get_by_text("at least 1.01 is asked")).to_be_visible()
    shoot(page, "refused")


def test_a_running_job_is_live_without_a_reload(page, hub, dataset, quick):
    job = hub.train(
        dataset=dataset, output=f"lab/live-{page.scheme}", **{**quick, "epochs": 400, "checkpoint_every": 50}
    )
    page.goto(f"/jobs/{job.id}")
    page.evaluate("window.notReloaded = true")
    expect(page.locator("#chart-loss canvas")).to_be_visible()
    expect(page.locator("#log")).to_contain_text("epoch 5/400")
    expect(page.locator("#status")).to_contain_text("running")
    shoot(page, "job-running")
    tiles = page.locator("#tiles .tile span")
    expect(tiles.first).to_have_text("validation/accuracy")
    in_order = tiles.all_text_contents()
    page.get_by_role("button", name="Cancel the job").click()
    expect(page.locator("#status")).to_contain_text("cancelled")
    expect(tiles).to_have_text(in_order)
    shoot(page, "job-cancelled")


def test_lines_that_came_late_stand_where_they_belong(page, hub):
    body = {"project": "lab/told", "name": "late", "key": str(uuid4())}
    run = hub.transport.call("POST", "/api/v1/runs", body=body)["id"]

    def tell(*numbers):
        lines = [{"number": number, "text": f"line {number}"} for number in numbers]
        hub.transport.call("POST", f"/api/v1/runs/{run}/lines", body={"lines": lines})

    tell(2, 3)
    tell(0)
    page.goto(f"/jobs/{run}")
    expect(page.locator("#log")).to_have_text("line 0\nline 2\nline 3\n")
    tell(1, 4)
    expect(page.locator("#log")).to_have_text("line 0\nline 1\nline 2\nline 3\nline 4\n")
    hub.transport.call("POST", f"/api/v1/runs/{run}/finish", body={"state": "succeeded"})


def test_a_finished_job_shows_its_charts(page, story):
    page.goto(f"/jobs/{story[0].id}")
    expect(page.locator("#chart-accuracy canvas")).to_be_visible()
    expect(page.locator("#log")).to_contain_text("done in")
    shoot(page, "job")


def test_a_double_click_shows_every_chart_whole_again(page, story):
    page.goto(f"/jobs/{story[0].id}")
    expect(page.locator("#chart-accuracy canvas")).to_be_visible()
    charts = "[...document.querySelectorAll('#charts [data-chart]')].map((one) => one.chart)"
    shown = f"{charts}.map(({{ plot }}) => [plot.data[0].length, plot.scales.x.min, plot.scales.x.max])"
    whole = page.evaluate(shown)
    place = page.locator("#chart-loss .u-over").bounding_box()
    page.mouse.move(place["x"] + place["width"] * 0.55, place["y"] + 50)
    page.mouse.down()
    page.mouse.move(place["x"] + place["width"] * 0.95, place["y"] + 50, steps=4)
    page.mouse.up()
    page.wait_for_function(f"{charts}.every(({{ plot }}) => plot.scales.x.min > {whole[0][1]})")
    page.mouse.dblclick(place["x"] + 60, place["y"] + 50)
    page.wait_for_function(f"JSON.stringify({shown}) === '{json.dumps(whole, separators=(',', ':'))}'")


def test_a_searchs_page_follows_its_end_without_a_reload(page, hub, dataset, quick):
    search = hub.searches.start(
        train={"dataset": dataset, "output": f"lab/sought-{page.scheme}", **quick, "epochs": 400},
        space={"learning_rate": FloatRange(low=1e-4, high=1e-1, log=True)},
        trials=2,
    )
    page.goto(f"/searches/{search.id}")
    expect(page.get_by_role("button", name="Cancel the search")).to_be_visible()
    hub.searches.cancel(search.id)
    expect(page.get_by_role("button", name="More trials")).to_be_visible()
    expect(page.get_by_role("button", name="Cancel the search")).to_have_count(0)
    shoot(page, "search-cancelled")


def test_devices_and_their_rollout(page, hub, installation, story, tmp_path):
    """Real agents: one takes the release, the other turns it down."""
    import time

    token = hub.enrolment_token("lab")
    names = [f"{page.scheme}-well", f"{page.scheme}-sick"]
    agents = []
    try:
        for name in names:
            folder = ["--folder", str(tmp_path / name)]
            installation.run(
                "steelyard-edge", "enrol", "--url", installation.url, "--token", token, "--name", name, *folder
            )
            page.goto("/fleet/lab")
            page.get_by_role("row", name=name).get_by_role("button", name="Accept").click()
            verdict = "import sys; sys.exit('too hot')" if name.endswith("sick") else "pass"
            command = [sys.executable, "-m", "steelyard_edge", "run", *folder]
            health = f'{sys.executable} -c "{verdict}"'
            with (tmp_path / f"{name}.log").open("wb") as log:
                agents.append(subprocess.Popen([*command, "--health-command", health], stderr=log))
        release = hub.release("lab/shown@v1", variant="onnx-int8")
        rollout = hub.roll_out(release.id, names, max_failures=1)
        page.goto(f"/rollouts/{rollout.id}")
        expect(page.get_by_text("completed")).to_be_visible()
        expect(page.get_by_role("row", name=names[1])).to_contain_text("rolled back")
        expect(page.get_by_role("row", name=names[1])).to_contain_text("too hot")
        shoot(page, "rollout")
        time.sleep(1)
        page.goto("/fleet/lab")
        expect(page.get_by_role("row", name=names[0])).to_contain_text("lab/shown@v3")
        assert names[0] in {one.device for one in hub.deployments("datasets:/lab/stripes@v1")}
        shoot(page, "fleet")
        page.get_by_role("row", name=names[1]).get_by_role("button", name="Revoke").click()
        assert agents[1].wait(20) == 1
        assert "refuses this device's key" in (tmp_path / f"{names[1]}.log").read_text()
    finally:
        for agent in agents:
            agent.terminate()
            agent.wait(20)


def test_what_is_inside_a_model_and_what_a_training_changed(page, story, installation):
    import steelyard

    with steelyard.connect(installation.url, installation.token, quiet=True) as hub:
        hub.inspect("lab/shown@v1")
        hub.compare("lab/shown@v1", "lab/shown@v2")
    page.goto("/lab/shown/versions/v1")
    page.get_by_role("link", name=re.compile("browse the tensors")).click()
    expect(page.get_by_role("link", name="classifier")).to_be_visible()
    shoot(page, "tensors")
    page.get_by_role("link", name="resnet", exact=True).click()
    page.get_by_role("link", name="resnet.encoder").click()
    page.get_by_role("link", name="resnet.encoder.stages").click()
    expect(page.get_by_role("link", name="resnet.encoder.stages.0")).to_be_visible()
    page.goto("/lab/shown/versions/v1/tensors?module=classifier.1")
    expect(page.get_by_role("cell", name="classifier.1.weight")).to_be_visible()
    expect(page.get_by_role("img", name="histogram").first).to_be_visible()
    shoot(page, "tensors-of-a-module")
    page.goto("/lab/shown/compare/v1...v2")
    expect(page.get_by_role("heading", name=re.compile("Weights by module"))).to_be_visible()
    expect(page.get_by_role("columnheader", name="Cosine similarity")).to_be_visible()
    shoot(page, "compared-weights")


def test_a_promotion_is_asked_for_refused_and_overridden(page, hub, tmp_path):
    model = f"lab/promoted-{page.scheme}"
    for number in (1, 2):
        (tmp_path / "w.txt").write_text(f"weights {number}")
        hub.push(tmp_path / "w.txt", model)
        if number == 1:
            hub.promote(f"{model}@v1", "production", reason="the first")
    hub.add_gate(model, "approved by 1 maintainer", applies_to="production")
    hub.add_gate(model, "size_mb <= 12")
    page.goto(f"/{model}/versions/v2")
    page.get_by_text("Ask for a promotion").click()
    page.get_by_label("Why").fill("better on pictures taken at night")
    page.get_by_role("button", name="Ask").click()
    expect(page.get_by_role("heading", name="v2 as production")).to_be_visible()
    expect(page.get_by_text("no maintainer has approved it; 1 approval is asked")).to_be_visible()
    expect(page.get_by_role("button", name="Approve")).to_have_count(0)  # nobody approves what they asked for
    page.get_by_label("Words").fill("who has a minute?")
    page.get_by_role("button", name="Comment").click()
    expect(page.get_by_text("who has a minute?")).to_be_visible()
    shoot(page, "promotion")
    page.get_by_role("link", name="Promotions").click()
    expect(page.get_by_role("row", name=re.compile("v2.*production.*v1.*open"))).to_be_visible()
    shoot(page, "promotions")
    page.go_back()
    page.get_by_label("Reason").fill("nobody else is awake")
    page.get_by_role("button", name="Override and move production").click()
    expect(page.get_by_text("What the gates had said")).to_be_visible()
    page.get_by_role("link", name="Names").click()
    moved = page.get_by_role("row", name=re.compile("production v1 v2 ada nobody else is awake"))
    expect(moved).to_contain_text("overridden no maintainer has approved it")
    shoot(page, "names")
