"""Cards as HTML: what people write shows, and nothing of it acts."""

from __future__ import annotations

from html.parser import HTMLParser

import pytest

from steelyard_platform.pages.markdown import MOST_SHOWN, card_html

FILES = "/lab/reader/resolve/v3/"


def shown(text):
    return str(card_html(text, FILES))


def test_tables_code_and_headings_show():
    html = shown(
        "## Use `it` & go\n\n| a | b |\n|---|---|\n| 1 | 2 |\n\n```python\nx < 1\n```\n\n~~no~~\n\n## Use it go"
    )
    assert "<table>" in html
    assert "x &lt; 1" in html
    assert "<s>no</s>" in html
    assert 'id="card-use-it--go"' in html
    assert 'id="card-use-it-go"' in html


def test_headings_of_one_name_are_told_apart_and_led_to():
    html = shown("# A\n\n# A\n\n[there](#a-1)")
    assert 'id="card-a"' in html
    assert 'id="card-a-1"' in html
    assert 'href="#card-a-1"' in html


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("![p](img/a.png)", f'src="{FILES}img/a.png"'),
        ("![p](./a.png)", f'src="{FILES}a.png"'),
        ('<img src="a b.png" width="20">', f'src="{FILES}a b.png"'),
        (f"![p]({FILES}a.png)", f'src="{FILES}a.png"'),
        ("[more](docs/more.md)", f'href="{FILES}docs/more.md"'),
        ("[list](/models?tag=x)", 'href="/models?tag=x"'),
        ("[out](https://example.org/x)", 'href="https://example.org/x"'),
    ],
)
def test_relative_addresses_lead_into_the_repository(text, address):
    assert address in shown(text)


@pytest.mark.parametrize(
    "source",
    [
        "https://elsewhere.example/pixel.png",
        "//elsewhere.example/pixel.png",
        "/logout",
        "../../../../settings/tokens",
        "http:pixel.png",
        "https:/\\elsewhere.example",
        "javascript:alert(1)",
        "data:text/html,x",
        "\\\\elsewhere.example\\x.png",
        " \thttps://elsewhere.example/x",
        "ht\ntps://elsewhere.example/x",
        "http://[bad",
    ],
)
def test_pictures_come_from_the_repository_alone(source):
    html = shown(f'<img alt="words" src="{source}">')
    assert 'src="' not in html or f'src="{FILES}' in html
    assert 'alt="words"' in html


def test_the_words_of_a_foreign_picture_stay():
    html = shown("[![the state](https://elsewhere.example/badge.svg)](https://elsewhere.example/)")
    assert html == ('<p><a href="https://elsewhere.example/" rel="noopener noreferrer nofollow">the state</a></p>\n')


@pytest.mark.parametrize(
    "text",
    [
        "<script>alert(1)</script>",
        "<svg onload=alert(1)><script>alert(1)</script></svg>",
        '<img src=x onerror="alert(1)">',
        '<a href="javascript:alert(1)">x</a>',
        '<a href=" java&#x09;script:alert(1)">x</a>',
        '<a href="data:text/html;base64,PHNjcmlwdD4=">x</a>',
        "[x](javascript:alert(1))",
        "[x](vbscript:x)",
        '<iframe src="/"></iframe>',
        '<form action="/logout"><button>x</button></form>',
        '<div hx-get="/settings/tokens" hx-trigger="load">x</div>',
        '<p style="position:fixed;inset:0">x</p><style>body{}</style>',
        '<math><mtext><table><mglyph><style><!--</style><img title="--&gt;&lt;img src=1 onerror=alert(1)&gt;">',
        '<h1 id="preview" data-copy class="notice">x</h1>',
        '<base href="https://elsewhere.example"><meta http-equiv="refresh" content="0;url=/x"><link rel="stylesheet">',
        '# <img src="x" onerror="alert(1)">',
        "![x](a.png \"' onerror='alert(1)\")",
    ],
)
def test_nothing_of_a_card_acts(text):
    found = Found()
    found.feed(shown(text))
    assert not found.tags & {"script", "svg", "iframe", "form", "button", "style", "base", "meta", "link", "math"}
    names = {name for name, _ in found.attributes}
    assert not {name for name in names if name.startswith(("on", "hx-", "data-"))} | names & {"style", "class"}
    assert ("id", "preview") not in found.attributes
    addresses = [value for name, value in found.attributes if name in {"href", "src"}]
    assert not [one for one in addresses if not one.startswith((FILES, "#"))]


class Found(HTMLParser):
    """The tags and attributes that a browser would see."""

    def __init__(self):
        super().__init__()
        self.tags, self.attributes = set(), []

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        self.attributes += attrs


def test_a_card_that_goes_on_is_cut():
    assert len(shown("word " * MOST_SHOWN)) < MOST_SHOWN * 1.1
