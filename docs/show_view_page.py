"""Take the picture of `geoseg view` that README.md and docs/view.md show, of what `make run` left.

python docs/show_view_page.py out/run docs/images
"""

from __future__ import annotations

import argparse
import shutil
import threading
from pathlib import Path

from playwright.sync_api import Page, sync_playwright
from show_labelling_page import shoot

from geoseg.viewer.folder import look_into
from geoseg.viewer.server import serve

GLACIER_AT = (752, 622)  # on the page


def main() -> None:
    """Serve, look, and leave."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path)
    parser.add_argument("out", type=Path)
    given = parser.parse_args()
    with sync_playwright() as driver:
        browser = driver.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox"]
        )
        page = browser.new_page(viewport={"width": 1360, "height": 820})
        page.goto(serve_aside(given.run))
        page.wait_for_selector("html.ready")
        arrange(page)
        shoot(page, given.out / "view-page.png")
        browser.close()


def arrange(page: Page) -> None:
    """Show the newest scene, and what is known of a glacier."""
    settle(page)
    page.mouse.click(*GLACIER_AT)
    page.wait_for_selector(".about")
    settle(page)


def settle(page: Page) -> None:
    """Wait for all that was asked for."""
    page.wait_for_load_state("networkidle")
    while page.locator("img:not(.leaflet-tile-loaded)").count():
        page.wait_for_timeout(100)
    page.wait_for_timeout(600)  # tiles fade in


def serve_aside(folder: Path) -> str:
    """The address of a server that ends with this process."""
    ready, told = threading.Event(), []

    def take(address: str) -> None:
        told.append(address)
        ready.set()

    contents = look_into(folder, lambda *_: None)
    run = {"port": 0, "on_ready": take}
    threading.Thread(
        target=serve, args=(contents, folder.resolve().name), kwargs=run, daemon=True
    ).start()
    ready.wait()
    return told[0]


if __name__ == "__main__":
    main()
