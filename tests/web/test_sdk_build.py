"""The two builds: their size, their types, what the README says to paste, and a page with a strict
policy.
"""

from __future__ import annotations

import gzip
import json
import re
import subprocess
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, Route

from pipeline.core.events import parse_event
from tests.stack.prerequisites import REPO
from tests.web.conftest import SDK, Site
from tests.web.sdk_pages import metadata, wait_for

pytestmark = pytest.mark.browser

MAX_GZIPPED_BYTES = 6_000
README = (SDK / "README.md").read_text(encoding="utf-8")
TYPES = "".join(path.read_text(encoding="utf-8") for path in sorted(SDK.glob("*.d.ts")))


@pytest.fixture
def built(site: Site, sdk_build: Path) -> Site:
    site.fake.folders["sdk"] = sdk_build
    return site


def listing(language: str, containing: str) -> str:
    """The README's first listing with those words in it."""
    found = [
        text
        for text in re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)
        if containing in text
    ]
    return str(found[0])


def pasted(site: Site, html: str) -> str:
    """With the test's addresses in place of the examples'."""
    services = html.replace("https://collect.example", site.freshet).replace(
        "https://api.example", site.freshet
    )
    return services.replace("https://cdn.example", f"{site.freshet}/files/sdk")


def decision() -> str:
    return listing("html", "freshet.consent(")


def methods_of(page: Page, built: Site, name: str = "freshet.js") -> list[str]:
    names: list[str] = page.evaluate(
        "async (sdk) => Object.keys((await import(sdk)).createFreshet({ collector: 'x' }))",
        f"{built.freshet}/files/sdk/{name}",
    )
    return names


def members(interface: str) -> set[str]:
    """What the types name of it."""
    body = re.search(
        rf"export interface {interface}(?: extends [^{{]*)? \{{(.*?)\n\}}", TYPES, re.DOTALL
    )
    assert body is not None
    return set(re.findall(r"^  (?:readonly )?(\w+)\??[:(<]", body.group(1), re.MULTILINE))


def open_build(page: Page, built: Site, name: str, **settings: Any) -> None:
    """The test page with that build, started as `freshet`, and what goes wrong in `wrongs`."""
    page.goto(f"{built.freshet}/pages/test")
    page.evaluate(
        """async ([address, name, settings]) => {
            window.wrongs = [];
            addEventListener("error", ({ message }) => wrongs.push(message));
            addEventListener("unhandledrejection", ({ reason }) => wrongs.push(`${reason}`));
            const build = await import(`${address}/files/sdk/${name}`);
            const options = { collector: address, api: address, pages: true, elements: true, ...settings };
            if (build.createFreshet) window.freshet = build.createFreshet(options);
            else freshet.init(options);
            freshet.on("error", ({ where, error }) => wrongs.push(`${where}: ${error}`));
        }""",
        [built.freshet, name, settings],
    )


def rows(heading: str) -> list[list[str]]:
    """The cells of the README's table under that heading."""
    table = re.search(rf"## {heading}\n.*?\n\|---.*?\n(.*?)\n\n", README, re.DOTALL)
    assert table is not None
    return [line.strip("|").split("|") for line in table.group(1).splitlines()]


both = pytest.mark.parametrize("name", ["freshet.js", "freshet.global.js"])


@both
def test_a_build_is_small(sdk_build: Path, name: str) -> None:
    assert len(gzip.compress((sdk_build / name).read_bytes(), 9)) <= MAX_GZIPPED_BYTES


def test_the_package_holds_what_it_promises(sdk_build: Path) -> None:
    package = json.loads((SDK / "package.json").read_text(encoding="utf-8"))
    assert "dependencies" not in package
    promised = [
        package["types"],
        package["unpkg"],
        *package["exports"]["."].values(),
        package["exports"]["./global"],
        *package["exports"]["./recommend"].values(),
        package["exports"]["./recommend/global"],
    ]
    built = {f"./dist/{path.name}" for path in sdk_build.iterdir()}
    assert all(path in built or (SDK / path).exists() for path in promised)
    assert "http" not in (SDK / "package-lock.json").read_text(encoding="utf-8").replace(
        "https://opencollective", ""
    )


def test_the_types_hold_for_a_page_that_uses_everything(tmp_path: Path) -> None:
    react = listing("tsx", "freshet.purchase")
    (tmp_path / "page.ts").write_text(
        f"""import {{ createFreshet, type Answer, type Entry, type Freshet }} from "{SDK / "freshet"}";
        import {{ createFreshet as createWhole, type FreshetRecommend }} from "{SDK / "freshet.recommend"}";
        declare const product: any, query: string, found: any[], order: any, user: any, card: Element;
        const freshet: Freshet = createFreshet({{ collector: "x", consent: "pending", items: async () => ({{}}) }});
        {react}
        const stop: (() => void) | null = freshet.observe(card, {{ product_id: "p" }}, true);
        freshet.recommend({{ placement: "home" }}).then((answer: Answer | null) => answer?.ranked_feed[0]?.fields.position);
        freshet.slot(card, {{ k: 3, render: (entry: Entry) => document.createElement(entry.id) }});
        freshet.on("rejected", ({{ reason }}) => reason.length);
        freshet.consent({{ analytics: true }})?.personalization;
        interface Line {{ product_id: string; price: number }}
        interface Cart {{ order_id: string; lines: Line[] }}
        declare const line: Line, lines: Line[], cart: Cart;
        freshet.view(line);
        freshet.identify("u", line);
        freshet.purchase({{ lines, voucher: "x" }});
        freshet.purchase(cart);
        createFreshet({{ collector: "x", items: async () => ({{ p1: line }}) }});
        const told: string | null | Promise<string | null> | undefined = window.freshet?.track("click", {{ size: 3 }});
        window.freshet?.init({{ collector: "x" }});
        window.freshet?.recommend({{ k: 2 }}).then((answer) => answer?.ranked_feed);
        window.freshet?.on("rejected", ({{ reason }}) => reason.length);
        const whole: FreshetRecommend = createWhole({{ collector: "x" }});
        whole.recommendRows([{{ placement: "home" }}], {{ filter: "new" }}).then((answer) => answer?.rows[0]?.ranked_feed[0]?.fields);
        whole.rank(["p1"], {{ keep: 1 }}).then((answer) => answer && freshet.observe(card, answer.ranked_feed[0]!.fields));
        whole.suggest("a", 3).then((answer) => answer?.suggestions[0]?.text);
        // @ts-expect-error -- a row has a placement
        whole.recommendRows([{{ k: 3 }}]);
        // @ts-expect-error -- before the script has loaded the answer is a promise
        window.freshet?.track("click")?.length;
        // @ts-expect-error -- fields are an object
        freshet.track("click", "p1");
        // @ts-expect-error -- a misspelt option
        createFreshet({{ colector: "x" }});
        // @ts-expect-error -- nothing of that name happens
        freshet.on("rejection", () => {{}});
        // @ts-expect-error -- a price is a number
        freshet.view({{ price: "12" }});
        """,
        encoding="utf-8",
    )
    tsc = [
        str(SDK / "node_modules/.bin/tsc"),
        "--strict",
        "--noEmit",
        "--target",
        "es2022",
        "--moduleResolution",
        "bundler",
    ]
    outcome = subprocess.run(
        [*tsc, "--module", "esnext", "page.ts"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert outcome.stdout == ""


def test_every_method_is_typed_and_explained_and_there(page: Page, built: Site) -> None:
    page.goto(f"{built.freshet}/blank")
    assert set(methods_of(page, built)) == members("Freshet") == explained("Methods")
    more = set(methods_of(page, built, "freshet.recommend.js")) - members("Freshet")
    assert more == members("FreshetRecommend") == explained("Whole pages")


def explained(heading: str) -> set[str]:
    """The methods of the README's table under that heading."""
    return {
        name for method, _ in rows(heading) for name in re.findall(r"`(\w+)(?:\(.*?\))?`", method)
    }


def test_every_option_is_typed_and_explained_with_its_default_and_looked_at() -> None:
    script = (
        f"import {{ DEFAULTS }} from '{SDK}/src/settings.js'; console.log(JSON.stringify(DEFAULTS))"
    )
    answer = subprocess.run(
        ["node", "--input-type=module", "-e", script], capture_output=True, check=True, timeout=60
    )
    defaults: dict[str, Any] = json.loads(answer.stdout)
    told = {option.strip(" `"): default.strip() for option, default, _ in rows("Options")}
    assert set(told) == members("Options") >= set(defaults)
    written = {name: f"`{json.dumps(value)}`" for name, value in defaults.items()}
    assert told.items() >= (written | {"immediate": ", ".join(defaults["immediate"])}).items()
    source = "".join(path.read_text(encoding="utf-8") for path in (SDK / "src").glob("*.js"))
    assert [name for name in told if f"core.{name}" not in source] == []


def test_every_happening_is_explained() -> None:
    (on,) = [text for method, text in rows("Methods") if method.startswith(" `on(")]
    assert set(re.findall(r"`(\w+)`", on)) == members("Happenings")


def test_the_one_tag_is_enough(page: Page, built: Site) -> None:
    tag = pasted(built, listing("html", "data-write-key")).replace("async src", "src")
    built.fake.pages["test"] = (
        "<title>One tag</title>" + tag + "<button data-freshet-click='hello'>x</button>"
    )
    page.goto(f"{built.freshet}/pages/test")
    page.wait_for_timeout(300)
    page.click("button")
    wait_for(lambda: len(built.fake.events) >= 2, page)
    assert {event["event"] for event in built.fake.events} == {"page_view", "hello"}
    assert set(built.fake.keys) == {"YOUR_KEY"}


def test_calls_before_the_script_has_loaded_are_made_as_of_then(page: Page, built: Site) -> None:
    held: list[Route] = []
    page.route("**/freshet.global.js", lambda route: held.append(route))
    built.fake.pages[
        "test"
    ] = f"""<title>early</title>{pasted(built, listing("html", "freshet.q.push"))}<script>
        var kept = freshet;
        freshet.track("early", {{ n: 1 }});
        freshet.recommend({{ k: 2 }}).then((answer) => {{ window.answer = answer; }});
        document.querySelector("script[src]").addEventListener("load", () => {{
            kept.track("late", {{ n: 2 }});
            freshet.track("later", {{ n: 3 }});
        }});
    </script>"""
    page.goto(f"{built.freshet}/pages/test", wait_until="commit")
    wait_for(lambda: bool(held), page)
    page.wait_for_timeout(700)
    held[0].continue_()
    names = ("early", "late", "later", "page_view")
    wait_for(lambda: all(built.fake.named(name) for name in names), page)
    page.wait_for_function("() => window.answer")
    assert len(page.evaluate("() => answer.recommendations")) == 2
    early, late = built.fake.named("early")[0], built.fake.named("late")[0]
    assert (
        page.evaluate(
            "([a, b]) => new Date(b) - new Date(a)", [early["timestamp"], late["timestamp"]]
        )
        >= 600
    )
    assert len(built.fake.named("page_view")) == 1


def test_the_snippet_knows_every_method(page: Page, built: Site) -> None:
    known = re.search(r'\}\)\(window, "init ([^"]*)"', listing("html", "freshet.q.push"))
    assert known is not None
    page.goto(f"{built.freshet}/blank")
    ids = {"anonymousId", "userId", "sessionId"}
    methods = set(methods_of(page, built, "freshet.recommend.js"))
    assert set(known.group(1).split()) == methods - ids


def test_tag_managers_tags_wait_for_the_decision_and_a_second_copy_changes_nothing(
    page: Page, built: Site
) -> None:
    snippet = listing("html", "freshet.q.push")
    (init,) = re.findall(r"freshet\.init\(.*", snippet)
    tag = pasted(built, snippet.replace(init, listing("js", 'consent: "pending"').strip()))
    items = [
        {"item_id": "p1", "item_category": "lamps", "price": 29.9, "quantity": 2},
        {"item_id": "p2"},
    ]
    cart = listing("html", "ecommerce.items").replace("{{ecommerce.items}}", json.dumps(items))
    built.fake.pages["test"] = f"<title>gtm</title><head></head>{tag}{tag}{cart}"
    page.goto(f"{built.freshet}/pages/test")
    page.wait_for_function("() => window.freshet && freshet.close")
    page.wait_for_timeout(400)
    assert built.fake.events == []
    page.evaluate(
        "(tag) => document.body.append(document.createRange().createContextualFragment(tag))",
        decision(),
    )
    wait_for(lambda: len(built.fake.events) == 3, page)
    page.wait_for_timeout(300)
    assert sorted(event["event"] for event in built.fake.events) == [
        "add_to_cart",
        "add_to_cart",
        "page_view",
    ]
    assert [event["product_id"] for event in built.fake.named("add_to_cart")] == ["p1", "p2"]
    assert built.fake.named("add_to_cart")[0]["metadata"] == {
        "category": "lamps",
        "price": 29.9,
        "quantity": 2,
    }


def test_a_decision_may_come_before_the_script(page: Page, built: Site) -> None:
    tag = pasted(built, listing("html", "freshet.q.push")).replace(
        '"YOUR_KEY"', '"k", consent: "pending"'
    )
    built.fake.pages["test"] = f"<title>gtm</title><head></head>{tag}{decision()}"
    page.goto(f"{built.freshet}/pages/test")
    wait_for(lambda: len(built.fake.named("page_view")) == 1, page)


def test_the_readmes_attributes_and_slots_do_what_it_says(page: Page, built: Site) -> None:
    tag = pasted(built, listing("html", "data-write-key"))
    built.fake.pages["test"] = (
        f"<title>shop</title>{tag}{listing('html', '<article')}{listing('html', 'data-freshet-slot')}"
    )
    page.goto(f"{built.freshet}/pages/test")
    page.wait_for_selector("[data-freshet-slot] a")
    assert page.locator("[data-freshet-slot] a").count() == 8
    assert page.inner_text("[data-freshet-banner] strong")
    page.click("article button")
    page.evaluate("() => addEventListener('submit', (event) => event.preventDefault())")
    page.fill("[name=q]", "lamp")
    page.press("[name=q]", "Enter")
    wait_for(
        lambda: all(map(built.fake.named, ("view_product", "add_to_cart", "search", "impression"))),
        page,
    )
    (added,) = built.fake.named("add_to_cart")
    assert (
        added["product_id"] == "p1"
        and added["metadata"]["quantity"] == 1
        and added["metadata"]["price"] == 29.9
    )


def test_a_strict_policy_is_kept(page: Page, built: Site) -> None:
    own = built.freshet
    built.fake.policy = (
        f"default-src 'none'; script-src {own}; connect-src {own}; "
        "require-trusted-types-for 'script'"
    )
    script = f"{own}/files/sdk/freshet.global.js"
    built.fake.pages["test"] = f"""<title>strict</title>
        <script src="{own}/files/page/violations.js"></script>
        <script src="{script}" data-collector="{own}" data-api="{own}"></script>
        <main data-freshet-view data-freshet-product="i01"></main>
        <div data-freshet-slot="home" data-freshet-k="2"><template><a href="/x/{{id}}">{{id}}</a></template></div>"""
    built.fake.folders["page"] = built.fake.folders["sdk"]
    (built.fake.folders["sdk"] / "violations.js").write_text(
        "window.violations = []; addEventListener('securitypolicyviolation', (event) => "
        "violations.push(event.violatedDirective));"
    )
    page.goto(f"{own}/pages/test")
    page.wait_for_selector("a")
    wait_for(
        lambda: bool(built.fake.named("view_product")) and bool(built.fake.named("page_view")), page
    )
    assert page.locator("div a").count() == 2
    assert page.evaluate("() => violations") == []


def test_the_built_module_delivers_keeps_and_withdraws_as_the_source_does(
    page: Page, built: Site
) -> None:
    """Shortened names could break what only the build has: the whole way once."""
    page.goto(f"{built.freshet}/blank")
    built.fake.failures, built.fake.retry_after = 1, "1"
    page.evaluate(
        """async ([sdk, address]) => {
            const { createFreshet } = await import(sdk);
            window.freshet = createFreshet({ collector: address, api: address, pages: true, elements: true, writeKey: "k" });
            freshet.identify("u1");
            freshet.purchase({ order_id: "o", lines: [{ product_id: "p", price: 1 }] });
        }""",
        [f"{built.freshet}/files/sdk/freshet.js", built.freshet],
    )
    page.wait_for_timeout(500)
    assert (
        page.evaluate(
            "() => Object.keys(localStorage).filter((key) => "
            "key.startsWith('freshet.queue.')).length"
        )
        == 1
    )
    wait_for(lambda: len(built.fake.events) == 3, page)
    assert sorted(event["event"] for event in built.fake.events) == [
        "identify",
        "page_view",
        "purchase",
    ]
    assert metadata(built.fake.named("purchase"), "order_id") == ["o"]
    assert page.evaluate("() => freshet.profile()")["events_total"] >= 0
    answer = page.evaluate("() => freshet.recommend({ k: 3 })")
    fields = answer["ranked_feed"][0]["fields"].values()
    assert sum(value is not None for value in fields) == 6
    page.evaluate("() => freshet.consent({ analytics: false, personalization: false })")
    assert page.evaluate("() => [freshet.track('click'), Object.keys(localStorage)]") == [
        None,
        ["freshet.consent"],
    ]


def test_no_name_that_the_build_shortens_is_one_of_a_browser_or_of_a_page(
    page: Page, site: Site
) -> None:
    """Wherever such a name is used, the build would shorten it too: `original.apply` became
    `original.n`.
    """
    page.goto(f"{site.freshet}/blank")
    browsers = page.evaluate(
        """() => {
            const names = new Set();
            const add = (object) => {
                for (; object; object = Object.getPrototypeOf(object)) Object.getOwnPropertyNames(object).forEach((name) => names.add(name));
            };
            for (const name of Object.getOwnPropertyNames(window)) {
                names.add(name);
                if (typeof window[name] !== "function") continue;
                add(window[name]);
                add(window[name].prototype);
            }
            return [...names];
        }"""
    )
    listed = re.search(
        r"INTERNAL =\s+/\^\(([\w|]+)\)\$/", (SDK / "build.mjs").read_text(encoding="utf-8")
    )
    assert listed is not None and {
        "apply",
        "pushState",
        "getItem",
        "then",
        "closest",
        "sendBeacon",
    } <= set(browsers)
    contract = "".join(
        path.read_text(encoding="utf-8")
        for path in (REPO / "functions/contract/schemas/1").glob("*.json")
    )
    pages = set(re.findall(r"\w+", re.sub(r"/\*\*.*?\*/", "", TYPES, flags=re.DOTALL)))
    taken = {*browsers, *pages, *re.findall(r'"(\w+)":', contract)}
    assert " ".join(sorted(taken.intersection(listed.group(1).split("|")))) == ""


@both
def test_a_build_follows_a_visit_through_a_single_page_app(
    page: Page, built: Site, name: str
) -> None:
    built.fake.pages["test"] = """<title>app</title><button data-freshet-click="hello">x</button>
        <div data-freshet-slot="home" data-freshet-k="3"><template><a href="#{id}">{id}</a></template></div>"""
    open_build(page, built, name, impressionMs=100, consent="pending")
    page.wait_for_selector("[data-freshet-slot] a")
    page.wait_for_timeout(300)
    assert built.fake.events == []
    page.evaluate("() => freshet.consent({ analytics: true, personalization: true })")
    wait_for(lambda: len(built.fake.named("page_view")) == 1, page)
    page.click("button")
    page.click("[data-freshet-slot] a")
    state = page.evaluate(
        "() => { history.pushState({ n: 1 }, '', '/pages/test/next'); return history.state; }"
    )
    page.evaluate(
        "() => freshet.purchase({ order_id: 'o', lines: [{ product_id: 'p', price: 1 }] })"
    )
    wait_for(
        lambda: len(built.fake.named("page_view")) == 2 and bool(built.fake.named("purchase")), page
    )
    page.evaluate("() => freshet.recommend({ k: 2 })")
    page.wait_for_timeout(500)
    assert state == {"n": 1}
    assert [url.rpartition("/")[2] for url in metadata(built.fake.named("page_view"), "url")] == [
        "test",
        "next",
    ]
    assert [url.rpartition("/")[2] for url in metadata(built.fake.named("dwell"), "url")] == [
        "test"
    ]
    assert len(built.fake.named("hello")) == 1 and len(built.fake.named("purchase")) == 1
    (click,) = built.fake.named("click")
    assert click["product_id"] == "i00" and click["metadata"]["request_id"]
    assert len(built.fake.named("impression")) >= 3
    assert page.evaluate("() => wrongs") == []


@both
def test_a_build_keeps_what_it_cannot_send_and_forgets_it_when_told(
    page: Page, built: Site, name: str
) -> None:
    built.fake.failures, built.fake.retry_after = 1, "1"
    queues = (
        "() => Object.keys(localStorage).filter((key) => key.startsWith('freshet.queue.')).length"
    )
    open_build(page, built, name)
    page.evaluate("() => { freshet.track('click'); history.replaceState({}, '', '?sorted'); }")
    page.wait_for_timeout(500)
    assert page.evaluate(queues) == 1
    wait_for(lambda: len(built.fake.named("click")) == 1, page)
    wait_for(lambda: page.evaluate(queues) == 0, page)
    page.evaluate("() => freshet.consent({ analytics: false, personalization: false })")
    assert page.evaluate("() => [freshet.track('click'), Object.keys(localStorage)]") == [
        None,
        ["freshet.consent"],
    ]
    assert all(wrong.startswith("collector: ") for wrong in page.evaluate("() => wrongs"))


@pytest.mark.parametrize(
    ("said", "holds"),
    [
        ({"analytics": "false", "personalization": "denied"}, (False, False)),
        ({"analytics": "true", "personalization": "granted"}, (True, True)),
        ({"analytics": True, "personalization": 1}, (True, False)),
        ({"analytics": {}, "personalization": "untrue"}, (False, False)),
        ({"analytics": True, "personalization": None}, (True, False)),
    ],
)
def test_only_a_clear_yes_is_an_agreement(
    page: Page, built: Site, said: dict[str, Any], holds: tuple[bool, bool]
) -> None:
    open_build(page, built, "freshet.global.js", pages=False)
    wanted = dict(zip(("analytics", "personalization"), holds, strict=True))
    assert page.evaluate("(said) => freshet.consent(said)", said) == wanted
    open_build(page, built, "freshet.global.js", pages=False)
    assert page.evaluate("() => freshet.consent()") == wanted
    page.evaluate("() => freshet.track('click')")
    page.wait_for_timeout(400)
    assert [body["consent"] for body in built.fake.bodies] == ([wanted] if any(holds) else [])


SLOT_AND_BANNER = """<div data-freshet-slot="home" data-freshet-k="2"><template><a href="#{id}">{id}</a></template></div>
    <p data-freshet-banner="home"><template><b>{headline}</b></template></p>"""


@pytest.mark.parametrize("call", ["freshet.reset()", "freshet.identify('u2')"])
def test_what_was_recommended_to_another_leaves_the_page_at_once_and_is_asked_anew(
    page: Page, built: Site, call: str
) -> None:
    open_build(page, built, "freshet.global.js", pages=False)
    page.evaluate("() => freshet.identify('u1')")
    built.fake.pages["test"] = SLOT_AND_BANNER
    open_build(page, built, "freshet.global.js", pages=False, impressionMs=600)
    page.wait_for_selector("b")  # it is found last, so nothing more is asked of itself
    asked = len(built.fake.asked)
    left = page.evaluate(f"() => {{ {call}; return document.querySelectorAll('a, b').length; }}")
    assert left == 0 and page.locator("template").count() == 2
    page.wait_for_selector("a")
    assert len(built.fake.asked) == asked + 1 and page.locator("a").count() == 2
    assert built.fake.asked[-1].get("user_id") == ("u2" if "u2" in call else None)

    def told(name: str) -> list[dict[str, Any]]:
        return [event for event in built.fake.named(name) if event.get("user_id") != "u1"]

    # The old cards' time would have come before the new ones'.
    wait_for(lambda: len(told("impression")) >= 3, page)
    page.click("a")
    wait_for(lambda: bool(told("click")), page)
    assert {event["metadata"]["request_id"] for event in [*told("click"), *told("impression")]} == {
        f"r{asked + 1}"
    }


def test_an_answer_that_comes_after_a_reset_is_not_shown(page: Page, built: Site) -> None:
    built.fake.pages["test"] = SLOT_AND_BANNER
    open_build(page, built, "freshet.global.js", pages=False)
    page.wait_for_selector("a")
    held: list[Route] = []
    page.route("**/v1/recommendations", lambda route: held.append(route))
    page.evaluate("() => freshet.view('i03')")
    wait_for(lambda: len(held) == 1, page)
    page.evaluate("() => freshet.reset()")
    held[0].continue_()
    page.wait_for_timeout(200)
    assert page.locator("a").count() == 0


def test_the_same_visitor_told_again_keeps_what_is_shown(page: Page, built: Site) -> None:
    built.fake.pages["test"] = SLOT_AND_BANNER
    open_build(page, built, "freshet.global.js", pages=False)
    page.evaluate("() => freshet.identify(1)")
    page.wait_for_selector("a")
    assert (
        page.evaluate(
            "() => { freshet.identify(1); return document.querySelectorAll('a').length; }"
        )
        == 2
    )


def without_product(route: Route) -> None:
    """As the API welcomes somebody of whom it knows nothing."""
    answer = route.fetch()
    banner = {
        "id": "welcome",
        "headline": "Find something",
        "text": "Popular now.",
        "category": "",
        "product_id": "",
    }
    route.fulfill(response=answer, json=answer.json() | {"personalized_banner": banner})


def test_of_a_banner_without_a_product_nothing_is_told_that_the_collector_rejects(
    page: Page, built: Site
) -> None:
    page.route("**/v1/recommendations", without_product)
    built.fake.pages["test"] = f"<title>x</title>{SLOT_AND_BANNER}"
    open_build(page, built, "freshet.global.js", impressionMs=100)
    page.wait_for_selector("b")
    page.click("b")
    page.evaluate("() => freshet.track('size_guide', { product_id: '' })")
    wait_for(
        lambda: (
            len(built.fake.named("impression")) == 2 and len(built.fake.named("size_guide")) == 1
        ),
        page,
    )
    page.wait_for_timeout(300)
    (click,) = built.fake.named("click")
    assert click["metadata"]["banner_id"] == "welcome" and "product_id" not in click
    for event in built.fake.events:
        parse_event(event, ingest_time=datetime.now(UTC))


def test_an_order_is_the_same_events_whatever_the_order_of_its_lines(
    page: Page, built: Site
) -> None:
    open_build(page, built, "freshet.js", pages=False)
    ids = page.evaluate(
        """() => {
            const [p1, p2, more] = [{ product_id: "p1", price: 5 }, { product_id: "p2", price: 7 }, { product_id: "p1", price: 6 }];
            const orders = [[p1, p2, more], [p2, p1, more]].map((lines) => freshet.purchase({ order_id: 1, lines }));
            return [...orders, freshet.purchase({ order_id: "", lines: [p1, p1] })];
        }"""
    )
    assert len(set(ids[0])) == 3 and set(ids[0]) == set(ids[1])
    assert len(set(ids[2]) - {"", None}) == 2


def test_an_empty_attribute_is_not_there(page: Page, built: Site) -> None:
    built.fake.pages[
        "test"
    ] = """<article data-freshet-product="p1" data-freshet-price="12"><button data-freshet-click
        data-freshet-product="" data-freshet-price="" data-freshet-quantity="" data-freshet-position="0">x</button></article>"""
    open_build(page, built, "freshet.global.js", pages=False)
    page.click("button")
    wait_for(lambda: bool(built.fake.named("click")), page)
    (click,) = built.fake.named("click")
    assert click["product_id"] == "p1" and click["metadata"] == {"price": 12, "position": 0}


def test_on_a_server_nothing_happens_and_nothing_throws(sdk_build: Path) -> None:
    script = f"""import {{ createFreshet }} from "{sdk_build}/freshet.js";
        const freshet = createFreshet({{ collector: "http://127.0.0.1:9", pages: true, elements: true }});
        freshet.on("answered", () => {{}});
        console.log(JSON.stringify([freshet.track("click"), freshet.userId, freshet.pending(), await freshet.recommend()]));"""
    outcome = subprocess.run(
        ["node", "--input-type=module", "-e", script],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert (outcome.stdout, outcome.stderr) == ("[null,null,null,null]\n", "")


def test_a_slot_without_a_template_says_so_and_where(page: Page, built: Site) -> None:
    open_build(page, built, "freshet.global.js", pages=False)
    page.evaluate("() => freshet.slot(document.body, { placement: 'home' })")
    wait_for(lambda: bool(page.evaluate("() => wrongs")), page)
    assert page.evaluate("() => wrongs") == ["slot: Error: no template"]


def test_a_page_may_close_before_the_script_has_loaded(page: Page, built: Site) -> None:
    tag = pasted(built, listing("html", "freshet.q.push"))
    built.fake.pages["test"] = (
        f"<title>x</title><head></head>{tag}<script>freshet.track('a'); freshet.close();</script>"
    )
    page.goto(f"{built.freshet}/pages/test")
    wait_for(lambda: bool(built.fake.named("a")), page)
    page.evaluate("() => history.pushState({}, '', '/pages/next')")
    page.wait_for_timeout(400)
    assert len(built.fake.named("page_view")) <= 1
