"""The SDK as it is published: both builds work in a browser, and its types are types."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from tests.stack.prerequisites import REPO
from tests.web.conftest import Site
from tests.web.sdk_pages import wait_for
from tests.web.servers import serving

pytestmark = pytest.mark.browser

SDK = REPO / "web" / "sdk"


@pytest.fixture(scope="module")
def dist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Both builds, made anew."""
    if not (SDK / "node_modules").is_dir() or shutil.which("node") is None:
        pytest.skip("needs web/sdk/node_modules, which `make test` installs with npm")
    folder = tmp_path_factory.mktemp("dist")
    subprocess.run(["node", "build.mjs", str(folder)], cwd=SDK, check=True, capture_output=True, timeout=60)
    return folder


@pytest.fixture
def host(dist: Path, site: Site) -> Iterator[str]:
    """Pages that use the builds as the README says."""
    snippet = re.findall(r"```html\n(<script>.*?</script>)", (SDK / "README.md").read_text(), re.DOTALL)[0]
    snippet = snippet.replace("https://collect.shop.example", site.freshet).replace(
        "https://api.shop.example", site.freshet
    )
    early = "<script>freshet.view('early'); freshet.identify('u7')</script>"
    pages = {
        "/snippet": f"{snippet}{early}<script async src=/dist/freshet.global.js></script>",
        "/tag": f"<script async src=/dist/freshet.global.js data-collector={site.freshet}></script>",
        "/module": "",
    }

    async def page(request: Request) -> HTMLResponse:
        return HTMLResponse(f"<!doctype html><title>page</title><body>{pages[request.url.path]}</body>")

    routes = [Mount("/dist", StaticFiles(directory=dist)), Route("/{path:path}", page)]
    with serving(Starlette(routes=routes)) as url:
        yield url


def test_calls_before_the_script_is_there_count_and_the_rest_happens_by_itself(
    page: Page, site: Site, host: str
) -> None:
    page.goto(f"{host}/snippet")
    wait_for(lambda: len(site.fake.named("identify")) == 1 and len(site.fake.named("page_view")) == 1, page)
    assert [event["product_id"] for event in site.fake.named("view_product")] == ["early"]
    answered = page.evaluate("() => freshet.recommend({ k: 3 }).then(({ ranked_feed }) => ranked_feed.length)")
    assert answered == 3


def test_a_tag_with_a_collector_needs_no_script_of_the_page(page: Page, site: Site, host: str) -> None:
    page.goto(f"{host}/tag")
    wait_for(lambda: len(site.fake.named("page_view")) == 1, page)
    page.evaluate("() => freshet.addToCart('p1', { quantity: 2 })")
    wait_for(lambda: len(site.fake.named("add_to_cart")) == 1, page)
    page.evaluate("() => freshet.consent({ analytics: false, personalization: false })")
    page.evaluate("() => freshet.track('click')")
    page.wait_for_timeout(500)
    assert site.fake.named("click") == []


def test_the_module_exports_what_its_types_say(page: Page, site: Site, host: str) -> None:
    page.goto(f"{host}/module")
    names = page.evaluate(
        """async ([collector]) => {
            const { createFreshet, makeId } = await import("/dist/freshet.js");
            window.freshet = createFreshet({ collector, api: collector });
            freshet.track("click", { product_id: makeId() });
            return Object.keys(freshet);
        }""",
        [site.freshet],
    )
    wait_for(lambda: len(site.fake.named("click")) == 1, page)
    declared = (SDK / "freshet.d.ts").read_text().partition("export interface Freshet {")[2].partition("\n}")[0]
    assert set(names) == set(re.findall(r"^  (?:readonly )?(\w+)[(:]", declared, re.MULTILINE))


def test_the_types_are_types(dist: Path) -> None:
    compiler = SDK / "node_modules" / ".bin" / "tsc"
    options = ["--strict", "--noEmit", "--target", "es2022", "--module", "nodenext", "freshet.d.ts"]
    done = subprocess.run([str(compiler), *options], cwd=SDK, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout
