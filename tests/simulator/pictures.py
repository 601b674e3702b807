"""`make pictures`: the store as a visitor of the demo sees it, photographed into docs/pictures.

Starts a stack of its own, with the demo's catalog, past visits and first model, and walks through
the store: the same products and the same visits each time.
"""

from __future__ import annotations

import asyncio
import os
import sys
from dataclasses import dataclass
from pathlib import Path

from playwright.sync_api import Page, ViewportSize, sync_playwright

from tests.simulator.demo import Config, Demo
from tests.simulator.report import Progress, StepFailed
from tests.stack import EMULATORS, StackError, running_stack
from tests.stack.prerequisites import REPO, Missing, headless_chromium

PICTURES = REPO / "docs" / "pictures"
DESKTOP: ViewportSize = {"width": 1280, "height": 800}
PHONE: ViewportSize = {"width": 390, "height": 844}
CARDS = ".picks .card:not(.skeleton)"
LOOKED_FOR = ("pizza oven", "desk lamp", "tent")
SETTLED_MS = 3_500  # answers are in, and what is new is not marked any more


@dataclass(frozen=True, slots=True)
class Walk:
    """A visit of the store in one browser window, which leaves pictures in a folder."""

    page: Page
    store: str
    folder: Path

    def look_at(self, query: str) -> None:
        """Search, and open the first product that is found."""
        self.page.goto(f"{self.store}/search?q={query.replace(' ', '+')}")
        self.page.locator(".listing .card a").first.click()
        self.page.wait_for_selector(CARDS)
        self.page.wait_for_timeout(SETTLED_MS)

    def go_home(self) -> None:
        self.page.goto(self.store)
        self.page.wait_for_selector(CARDS)

    def take(self, name: str) -> None:
        """Write what the window shows, without a pulse that would differ each time."""
        self.page.wait_for_timeout(SETTLED_MS)
        self.page.screenshot(path=self.folder / f"{name}.png", animations="disabled")


def take_pictures(store: str, chromium: Path, folder: Path = PICTURES) -> list[str]:
    """Home and product page on a desk, home on a phone in the dark; names of the files."""
    folder.mkdir(parents=True, exist_ok=True)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=str(chromium), args=["--no-sandbox"])
        walk = Walk(browser.new_page(viewport=DESKTOP), store, folder)
        for query in LOOKED_FOR:
            walk.look_at(query)
        walk.take("store-product")
        walk.go_home()
        walk.take("store-home")
        phone = browser.new_page(viewport=PHONE, color_scheme="dark", has_touch=True)
        walk = Walk(phone, store, folder)
        walk.go_home()
        walk.take("store-phone")
        browser.close()
    return sorted(path.name for path in folder.glob("*.png"))


def main() -> int:
    """Open the demo's shop and take the pictures; the exit code."""
    say = Progress()
    try:
        chromium = headless_chromium(os.environ)
        with running_stack("pictures", "auto", EMULATORS, say=say) as stack:
            os.environ.update(stack.env)  # Bigtable's client finds its emulator in no other way
            asyncio.run(Demo(stack, Config(stack="pictures"), say).prepare())
            names = take_pictures(stack.env["FRESHET_STORE_URL"], chromium)
    except (StackError, Missing, StepFailed, TimeoutError) as error:
        print(f"pictures: {error}", file=sys.stderr)
        return 1
    say(f"{', '.join(names)} are in {PICTURES.relative_to(REPO)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
