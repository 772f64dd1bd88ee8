"""A card's Markdown as HTML that cannot run anything, with the repository's own pictures and files behind its links."""

from __future__ import annotations

import re
from collections import Counter
from itertools import pairwise
from urllib.parse import urljoin, urlsplit

import nh3
from django.utils.safestring import SafeString, mark_safe
from markdown_it import MarkdownIt
from markdown_it.token import Token

# A longer card shows its beginning: to lay out a megabyte takes seconds, each time that somebody looks.
MOST_SHOWN = 200_000
# Before an anchor of the card's, so that none is taken for one of the page's own.
_ANCHOR = "card-"
_HEADINGS = ("h1", "h2", "h3", "h4", "h5", "h6")
_markdown = MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"])
# Pictures and links of a card stay; what could act in a reader's session goes.
_TAGS = nh3.ALLOWED_TAGS - {"form", "input", "button", "style"}
_ATTRIBUTES = {**nh3.ALLOWED_ATTRIBUTES, **{heading: {"id", "align"} for heading in _HEADINGS}}
_ATTRIBUTES |= {"p": {"align"}, "div": {"align"}, "details": {"open"}}


def card_html(text: str, files: str = "/") -> SafeString:
    """`files` is the address below which the card's relative addresses lie: `/team/model/resolve/v3/`."""
    tokens = _markdown.parse(text[:MOST_SHOWN])
    _name_headings(tokens)
    _leave_out_foreign_pictures(tokens, files)
    clean = nh3.clean(
        _markdown.renderer.render(tokens, _markdown.options, {}),
        tags=_TAGS,
        attributes=_ATTRIBUTES,
        attribute_filter=lambda tag, name, value: _address(tag, name, value, files),
        id_prefix=_ANCHOR,
        link_rel="noopener noreferrer nofollow",
    )
    return mark_safe(clean)  # noqa: S308 - nh3 has just cleaned it


def _name_headings(tokens: list[Token]) -> None:
    """So that a card's table of contents leads somewhere."""
    taken: Counter[str] = Counter()
    for opening, inline in pairwise(tokens):
        if opening.type != "heading_open":
            continue
        words = "".join(part.content for part in inline.children or [] if part.type in {"text", "code_inline"})
        name = re.sub(r"[^\w\- ]", "", words.lower()).strip().replace(" ", "-")
        opening.attrSet("id", f"{name}-{taken[name]}" if taken[name] else name)
        taken[name] += 1


def _leave_out_foreign_pictures(tokens: list[Token], files: str) -> None:
    """Their words stay in their place. A picture of another host would tell it who looks at which model."""
    for part in (part for token in tokens for part in token.children or []):
        if part.type == "image" and _picture(str(part.attrGet("src")), files) is None:
            part.type, part.tag, part.children = "text", "", None


def _picture(address: str, files: str) -> str | None:
    """Where a picture of the repository's own lies; None for any other."""
    try:
        whole = urljoin(files, address.strip())
    except ValueError:
        return None
    return whole if whole.startswith(files) else None


def _address(tag: str, name: str, value: str, files: str) -> str | None:
    """None takes the attribute away."""
    if (tag, name) == ("img", "src"):
        return _picture(value, files)
    if (tag, name) == ("a", "href"):
        if value.startswith("#"):
            return f"#{_ANCHOR}{value[1:]}"
        return value if _is_whole(value) else urljoin(files, value)
    return value


def _is_whole(address: str) -> bool:
    try:
        parts = urlsplit(address.strip())
    except ValueError:
        return True  # no address at all: nothing is put before it
    return bool(parts.scheme or parts.netloc or parts.path.startswith("/"))
