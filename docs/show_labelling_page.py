"""Take the pictures of the labelling page that docs/active.md shows, on simulated places.

python docs/show_labelling_page.py docs/images
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
import threading
from pathlib import Path

import numpy as np
from PIL import Image
from playwright.sync_api import sync_playwright

from geoseg.active.page.desk import Desk
from geoseg.active.page.server import serve
from geoseg.active.project import Drawn, Project, create_project
from geoseg.data.slumps import simulated_places
from geoseg.presence.packs import Given, find_places, make_pack
from geoseg.report.active_layer import map_link

SEED, PLACES, ANSWERED, BY_OTHERS = 11, 120, 27, 52
SHOWN = 7  # the number of a place that many instruments saw
SAID = ("absent", "present")


def main() -> None:
    """Serve, look, and leave."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path)
    out = parser.parse_args().out
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        places = simulated_places(PLACES, seed=SEED, prevalence=0.4)
        pack = make_pack(Given(pool=places, name="simulated"), folder / "pack").pack
        with create_project(folder / "thaw-slumps", classes=SAID, pool="0") as project:
            answer_some(project, places.present)
            desk = Desk(project, find_places(pack, folder / "page"), map_link, annotator="Ada")
            address = serve_aside(desk)
            with sync_playwright() as driver:
                browser = driver.chromium.launch(
                    executable_path=shutil.which("chromium"), args=["--no-sandbox"]
                )
                page = browser.new_page(viewport={"width": 1360, "height": 820})
                page.goto(address)
                page.wait_for_timeout(1500)
                shoot(page, out / "active-page.png")
                for key in ("d", "m", "p", "ArrowLeft", "ArrowLeft"):
                    page.keyboard.press(key)
                    page.wait_for_timeout(500)
                shoot(page, out / "active-page-outline.png")
                browser.close()


def answer_some(project: Project, present: np.ndarray) -> None:
    """What two people said, who do not always agree, and what a model made of it."""
    rng = np.random.default_rng(2)
    order = [n for n in range(PLACES) if n != SHOWN]
    order.insert(ANSWERED, SHOWN)
    model = np.clip(rng.normal(np.where(present, 0.8, 0.15), 0.15), 0.01, 0.99)
    items = [f"simulated-{SEED}/{n:07d}" for n in order]
    whys = rng.choice(["likely", "doubtful", "representative", "audit"], PLACES)
    drawn = [
        Drawn(item, str(why), 0.02 if why == "audit" else 1.0, float(model[n]))
        for n, item, why in zip(order, items, whys, strict=True)
    ]
    project.record_round(drawn, strategy="mixture", settings={})
    for who, count in (("Bo", BY_OTHERS), ("Ada", ANSWERED)):
        for n, item in list(zip(order, items, strict=True))[:count]:
            wrong = rng.random() < 0.08
            said = "unknown" if rng.random() < 0.06 else SAID[int(present[n]) ^ int(wrong)]
            project.record(item, who, said, via="page")


def serve_aside(desk: Desk) -> str:
    """The address of a server that ends with this process."""
    ready, told = threading.Event(), []

    def take(address: str) -> None:
        told.append(address)
        ready.set()

    run = {"port": 0, "on_ready": take}
    threading.Thread(target=serve, args=(desk,), kwargs=run, daemon=True).start()
    ready.wait()
    return told[0]


def shoot(page, path: Path) -> None:  # noqa: ANN001  of playwright
    """A picture of the page in 256 colours, which nobody tells from all."""
    page.screenshot(path=path)
    with Image.open(path) as shot:
        small = shot.convert("RGB").quantize(256, dither=Image.Dither.NONE)
    small.save(path, optimize=True)


if __name__ == "__main__":
    main()
