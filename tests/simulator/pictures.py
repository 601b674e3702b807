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

from playwright.sync_api import Browser, Page, ViewportSize, sync_playwright

from tests.simulator.demo import Config, Demo
from tests.simulator.report import Progress, StepFailed
from tests.stack import EMULATORS, StackError, running_stack
from tests.stack.prerequisites import REPO, Missing, headless_chromium

PICTURES = REPO / "docs" / "pictures"
DESKTOP: ViewportSize = {"width": 1280, "height": 800}
PHONE: ViewportSize = {"width": 390, "height": 844}
CARDS = ".picks .card:not(.skeleton)"
LOOKED_FOR = ("pizza oven", "desk lamp", "tent")
SETTLED = "() => !document.querySelector('main :is(.skeleton, .is-new)')"
LATER_MS = 500  # lower rows are asked for after the first


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
        self.page.wait_for_url("**/product/*")
        self.settle()

    def go_home(self) -> None:
        self.page.goto(self.store)
        self.settle()

    def settle(self) -> None:
        """Wait until the answers are in, and what is new is not marked any more."""
        self.page.wait_for_selector(CARDS)
        self.page.wait_for_timeout(LATER_MS)
        self.page.wait_for_function(SETTLED)

    def take(self, name: str) -> None:
        """Write what the window shows, without a pulse that would differ each time."""
        self.page.screenshot(path=self.folder / f"{name}.png", animations="disabled")


def take_pictures(browser: Browser, store: str, folder: Path) -> list[Path]:
    """Home and product page on a desk, home on a phone in the dark; the files."""
    folder.mkdir(parents=True, exist_ok=True)
    desk = Walk(browser.new_page(viewport=DESKTOP), store, folder)
    phone = browser.new_page(viewport=PHONE, color_scheme="dark", has_touch=True)
    hand = Walk(phone, store, folder)
    for query in LOOKED_FOR:
        desk.look_at(query)
    desk.take("store-product")
    desk.go_home()
    desk.take("store-home")
    hand.go_home()
    hand.take("store-phone")
    for walk in (desk, hand):
        walk.page.close()
    return sorted(folder.glob("store-*.png"))


def main() -> int:
    """Open the demo's shop and take the pictures; the exit code."""
    say = Progress()
    try:
        chromium = headless_chromium(os.environ)
        with running_stack("pictures", "auto", EMULATORS, say=say) as stack:
            os.environ.update(stack.env)  # Bigtable's client finds its emulator in no other way
            asyncio.run(Demo(stack, Config(stack="pictures"), say).prepare())
            with sync_playwright() as playwright:
                args = ["--no-sandbox"]
                browser = playwright.chromium.launch(executable_path=str(chromium), args=args)
                taken = take_pictures(browser, stack.env["FRESHET_STORE_URL"], PICTURES)
                browser.close()
    except (StackError, Missing, StepFailed, TimeoutError) as error:
        print(f"pictures: {error}", file=sys.stderr)
        return 1
    for path in taken:
        say(f"{path.relative_to(REPO)}: {path.stat().st_size:,} bytes")
    return 0


if __name__ == "__main__":
    sys.exit(main())
