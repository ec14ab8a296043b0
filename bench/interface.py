"""The web interface beside the demo's traffic: how long a page takes to answer a click or a key, in a real browser."""

import asyncio
import json
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bench.measurements import Plan, Row, Section, Verdict
from bench.process import Program, free_port, start, stop
from bench.targets import Missing, waypost

#: Events per second of the demo while pages are used.
RATE = "20"
#: The names under which systems install the browser.
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
PATIENCE_MS = 60_000
#: From an input to the next picture, as the browser itself measures it (Event Timing); those below 16 ms are not told.
WATCH = """
window.inputs = [];
new PerformanceObserver((list) => {
  for (const one of list.getEntries()) if (one.interactionId) window.inputs.push([one.name, one.duration]);
}).observe({ type: "event", durationThreshold: 16, buffered: true });
new PerformanceObserver((list) => {
  for (const one of list.getEntries()) window.inputs.push(["long task", one.duration]);
}).observe({ type: "longtask", buffered: true });
"""
#: What a page must not exceed: an interaction that feels immediate, and a task that holds up all others.
INTERACTION_MS, TASK_MS = 100.0, 200.0


async def interface(plan: Plan) -> Section:
    """Walk through the pages as a person does, while events come in."""
    browser = next((path for name in BROWSERS if (path := shutil.which(name))), None)
    try:
        import playwright.sync_api  # noqa: F401 - only this measurement needs it.
    except ImportError:
        browser = None
    if browser is None:
        raise Missing("a browser (Debian: apt-get install chromium) and Playwright (make setup-dev)")
    with tempfile.TemporaryDirectory(prefix="waypost-bench-") as folder:
        program, keys = await asyncio.to_thread(start_demo, Path(folder))
        try:
            rows = await asyncio.to_thread(walk, browser, program.port, keys, plan.rounds)
        finally:
            await asyncio.to_thread(stop, program)
    worst = max(float(row["slowest input ms"]) for row in rows)
    task = max(float(row["longest task ms"]) for row in rows)
    return Section(
        title=f"web interface: the demo with {RATE} events a second, every core",
        rows=rows,
        verdicts=[
            Verdict(claim="slowest answer to an input, ms", value=worst, limit=INTERACTION_MS),
            Verdict(claim="longest task after a page was opened, ms", value=task, limit=TASK_MS),
        ],
    )


def start_demo(folder: Path) -> tuple[Program, dict[str, str]]:
    """Return the running demo and its keys."""
    port, file = free_port(), folder / "demo" / "demo-keys.json"
    arguments = [str(waypost()), "demo", "--data", str(file.parent), "--port", str(port)]
    arguments += ["--sink-port", str(free_port()), "--rate", RATE]
    program = start(arguments, port=port, log=folder / "log", core=None)
    deadline = time.monotonic() + 60
    while not file.exists():
        if time.monotonic() > deadline:
            stop(program)
            raise RuntimeError("the demo wrote no keys")
        time.sleep(0.1)
    return program, json.loads(file.read_text("utf-8"))


def walk(browser: str, port: int, keys: dict[str, str], rounds: int) -> list[Row]:
    """Return what each step took at worst."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(
            executable_path=browser,
            args=["--disable-dev-shm-usage", *(["--no-sandbox"] if sys.platform == "linux" else [])],
        )
        page = launched.new_page(base_url=f"http://localhost:{port}", viewport={"width": 1280, "height": 900})
        page.set_default_timeout(PATIENCE_MS)
        page.add_init_script(WATCH)
        page.goto("/")
        page.get_by_label("Email").fill(keys["email"])
        page.get_by_label("Password", exact=True).fill(keys["password"])
        page.get_by_role("button", name="Sign in", exact=True).click()
        page.get_by_role("heading", level=1, name="Home").wait_for()
        found: dict[str, Row] = {}
        # In the first round the browser reads and compiles the script of each page.
        for number in range(rounds + 1):
            for name, step in STEPS.items():
                page.wait_for_function("() => document.querySelectorAll('[aria-busy=true]').length === 0")
                page.evaluate("() => { window.inputs.length = 0; }")
                step(page)
                # Two frames later the browser has told what the last input took.
                page.evaluate("() => new Promise((done) => requestAnimationFrame(() => setTimeout(done, 150)))")
                took = page.evaluate("() => window.inputs")
                inputs = [duration for kind, duration in took if kind != "long task"]
                tasks = [duration for kind, duration in took if kind == "long task"]
                if number == 0:
                    continue
                row = found.setdefault(name, {"step": name, "slowest input ms": 0.0, "longest task ms": 0.0})
                row["slowest input ms"] = max(float(row["slowest input ms"]), *inputs, 0.0)
                row["longest task ms"] = max(float(row["longest task ms"]), *tasks, 0.0)
        launched.close()
    return list(found.values())


def to(name: str, last: tuple[Any, str]) -> Callable[[Any], None]:
    """Return the step to a page by its link."""

    def go(page: Any) -> None:
        page.get_by_role("navigation").get_by_role("link", name=name, exact=True).click()
        role, text = last
        page.get_by_role(role, name=text, exact=True).first.wait_for()

    return go


def palette(page: Any) -> None:
    """Open the command palette, type in it, and close it."""
    page.keyboard.press("Control+k")
    page.get_by_role("dialog").get_by_role("combobox").wait_for()
    page.keyboard.type("ada", delay=30)
    page.keyboard.press("Escape")


def condition(page: Any) -> None:
    """Write a condition of a segment, and look at it as JSON."""
    page.get_by_role("link", name="New segment").first.click()
    page.get_by_label("Name", exact=True).wait_for()
    page.get_by_label("Name", exact=True).press_sequentially("Ordered lately", delay=20)
    page.get_by_text("JSON", exact=True).click()
    page.get_by_text("Builder", exact=True).click()
    page.get_by_label("Name", exact=True).fill("")


STEPS: dict[str, Callable[[Any], None]] = {
    "people": to("People", ("heading", "People")),
    "segments": to("Segments", ("heading", "Segments")),
    "a new segment": condition,
    "templates": to("Templates", ("heading", "Templates")),
    "campaigns": to("Campaigns", ("heading", "Campaigns")),
    "messages": to("Messages", ("table", "Messages")),
    "connections": to("Connections", ("heading", "Connections")),
    "webhooks": to("Webhooks", ("heading", "Webhooks")),
    "events": to("Events", ("table", "Events")),
    "command palette": palette,
    "home": to("Home", ("heading", "Home")),
}
