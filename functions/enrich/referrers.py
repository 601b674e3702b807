"""Sites that are search engines, social networks, mail readers and AI assistants, and the bounds of
one site.
"""

from __future__ import annotations

from functools import lru_cache

_SEARCH = """
    ask.com baidu.com bing.com search.brave.com dogpile.com duckduckgo.com ecosia.org excite.com
    kagi.com lycos.com mojeek.com metager.org naver.com qwant.com search.aol.com
    search.marginalia.nu searx.be seznam.cz sogou.com so.com startpage.com swisscows.com
    coccoc.com daum.net rambler.ru presearch.com yep.com com.google.android.googlequicksearchbox
"""
_SOCIAL = """
    bsky.app bsky.social discord.com facebook.com fb.com fb.me flipboard.com instagram.com
    kakao.com line.me linkedin.com lnkd.in messenger.com news.ycombinator.com ok.ru
    out.reddit.com pinterest.com pin.it quora.com reddit.com snapchat.com t.co t.me telegram.org
    threads.com threads.net tiktok.com tumblr.com twitch.tv twitter.com viber.com vimeo.com
    vk.com wa.me web.whatsapp.com weibo.com whatsapp.com wechat.com x.com xing.com youtu.be
    youtube.com mastodon.social mastodon.online com.facebook.katana com.instagram.android
    com.linkedin.android com.pinterest com.reddit.frontpage com.twitter.android
    com.zhiliaoapp.musically org.telegram.messenger com.whatsapp com.slack slack.com
    teams.microsoft.com
"""
_EMAIL = """
    mail.google.com mail.yahoo.com outlook.live.com outlook.office.com outlook.office365.com
    outlook.com mail.aol.com mail.proton.me mail.protonmail.com mail.yandex.ru mail.yandex.com
    e.mail.ru mail.ru mail.zoho.com app.fastmail.com fastmail.com gmx.net gmx.de gmx.com web.de
    mail.com icloud.com tutanota.com app.tuta.com mail.qq.com mail.163.com com.google.android.gm
    com.microsoft.office.outlook com.yahoo.mobile.client.android.mail
"""
_AI = """
    chatgpt.com chat.openai.com openai.com claude.ai perplexity.ai gemini.google.com
    copilot.microsoft.com copilot.cloud.microsoft chat.deepseek.com deepseek.com chat.mistral.ai
    grok.com meta.ai poe.com you.com phind.com character.ai pi.ai notebooklm.google.com
    aistudio.google.com chat.qwen.ai kimi.com doubao.com com.openai.chatgpt
"""

KINDS: dict[str, str] = {
    host: kind
    for kind, hosts in (("search", _SEARCH), ("social", _SOCIAL), ("email", _EMAIL), ("ai", _AI))
    for host in hosts.split()
}
"""Host, or Android package, to kind. Its subdomains are of its kind, unless they have a row of
their own."""

SEARCH_BRANDS = frozenset({"google", "yahoo", "yandex"})
"""Under many countries' domains; of their hosts only these are the search."""
SEARCH_HOSTS = frozenset({"www", "m", "search", ""})

SECOND_LEVELS = frozenset(
    "ac asso co com edu go gob gov gouv gv ltd me mil ne net nom or org plc sch".split()
)
SHARED_HOSTS = frozenset(
    "appspot.com azurewebsites.net blogspot.com cloudfront.net firebaseapp.com fly.dev github.io "
    "gitlab.io herokuapp.com myshopify.com netlify.app onrender.com pages.dev run.app "
    "s3.amazonaws.com vercel.app web.app webflow.io wixsite.com wordpress.com workers.dev".split()
)
"""Domains whose subdomains belong to different people."""


@lru_cache(maxsize=4096)
def site_of(host: str) -> str:
    """The registrable domain of a host, nearly: its last two labels, or three below `co.uk` and the
    like.

    Nearly, for the Public Suffix List has ten thousand rows: three labels where the last is of two
    letters and the one before it is in `SECOND_LEVELS`, or where the last ones are in
    `SHARED_HOSTS`. An IP address is its own site.

    Args:
        host: lower case, at most 253 characters.
    """
    labels = host.split(".")
    if ":" in host or labels[-1].isdigit() or len(labels) <= 2:
        return host
    for kept in (2, 3):
        if ".".join(labels[-kept:]) in SHARED_HOSTS:
            return ".".join(labels[-kept - 1 :])
    kept = 3 if len(labels[-1]) == 2 and labels[-2] in SECOND_LEVELS else 2
    return ".".join(labels[-kept:])


@lru_cache(maxsize=4096)
def kind_of(host: str) -> str:
    """`search`, `social`, `email`, `ai` or `other`.

    Args:
        host: lower case, at most 253 characters.
    """
    rest = host
    for _ in range(5):
        kind = KINDS.get(rest)
        if kind is not None:
            return kind
        _, dot, rest = rest.partition(".")
        if not dot:
            break
    if _is_search_brand(host):
        return "search"
    return "other"


def _is_search_brand(host: str) -> bool:
    site = site_of(host)
    below = host[: -len(site)].rstrip(".")
    brand, *suffix = site.split(".")
    if brand not in SEARCH_BRANDS or any(len(label) > 3 for label in suffix):
        return False
    return below in SEARCH_HOSTS or below.endswith(".search")
