"""What pages show is their own text, or has been made safe: by reading the pages, and by what the safe functions give."""

import ast
import dataclasses
import json
import string
from pathlib import Path
from types import SimpleNamespace

import plotly.graph_objects as go
import pytest

from landscapes import LANDSCAPES
from landscapes.setting import Number, Setting
from optimizers import OPTIMIZERS
from pages import _text as text
from ravine import Experiment, own
from ravine.pictures import sent
from tests.pages.texts import SAFE, Texts, declared

ROOT = Path(__file__).parents[2]
SOURCES = {path.stem: ast.parse(path.read_text("utf-8")) for path in [*(ROOT / "pages").glob("*.py"), ROOT / "app.py"]}
TAKES = {name: places for tree in SOURCES.values() for name, places in declared(tree)[0].items()}
GIVES = {name for stem, tree in SOURCES.items() if stem != "_text" for name in declared(tree)[1]}


@pytest.mark.parametrize("stem", sorted(SOURCES.keys() - {"_text"}))
def test_pages_show_nothing_but_literals_and_safe_text(stem):
    assert Texts(stem, SOURCES[stem], TAKES, GIVES).wrong == []


def test_the_texts_of_pages_are_found():
    assert sum(Texts(stem, tree, TAKES, GIVES).seen for stem, tree in SOURCES.items()) > 250
    assert set(SAFE) - {"number", "spoken"} == declared(SOURCES["_text"])[1]


HEAD = "import streamlit as st\nfrom pages._text import Markdown, ours, plain\nfrom ravine.picture import number\n"


@pytest.mark.parametrize(
    "source",
    [
        "st.error(str(refusal))",
        "st.markdown(f'## {title}')",
        "column.caption(log.notes[0])",
        "st.button('Go', help=told)",
        "st.toast('No: ' + told)",
        "st.expander(label=told)",
        "st.radio('Look', [1], format_func=lambda one: names[one])",
        "st.radio('Look', [1], format_func=names.get)",
        "st.progress(0.5, text=job.phase)",
        "said = plain(a)\nsaid = b\nst.info(said)",
        "said = plain(a)\nsaid += b\nst.info(said)",
        "rows = []\nrows.append(f'| {name} |')\nst.markdown(''.join(rows))",
        "for one in found:\n    st.info(one)",
        "for name, one in {'a': b}.items():\n    st.info(one)",
        "try:\n    f()\nexcept ValueError as no:\n    st.info(no)",
        "say = st.error\nsay(told)",
        "say = {'bad': st.error}['bad']\nsay(told)",
        "st.markdown(f'{told:>10}')",
        "st.markdown(f'{told!r}')",
        "st.markdown('%s' % told)",
        "st.markdown('{}'.format(told))",
        "st.markdown(*told)",
        "st.info(body='a', **told)",
        "def f(told):\n    st.info(told)",
        "def f(told: str):\n    st.info(told)",
        "def f(told) -> Markdown:\n    return told",
        "def plain(told):\n    return told\nst.info(elsewhere.plain(told))",
        "st.write(told)",
        "st.html(told)",
        "with st.spinner(told):\n    pass",
        "link(f'{told}', st.markdown(told))",
        "section(told, ':material/a:')",
        "st.info(told if told else plain(told))",
        "st.info(told or 'nothing')",
    ],
)
def test_a_text_from_elsewhere_is_found(source):
    assert Texts("page", ast.parse(HEAD + source), {"section": (0, "title")}).wrong


@pytest.mark.parametrize(
    "source",
    [
        "st.info('a' + 'b', icon=':material/a:')",
        "st.info(plain(refusal))",
        "st.info(f'{plain(a)}, {number(b)}, {c:.3f}, {len(d):,}, {e:d}')",
        "st.caption(' '.join(f'- {plain(one)}' for one in found))",
        "st.caption(ours(rule, 'idea'))",
        "said = plain(a) if a else ''\nsaid += ' more'\nst.info(said)",
        "rows = []\nrows.append(f'| {plain(name)} |')\nst.markdown(''.join(rows))",
        "for name, icon in (('a', ':material/b:'), ('c', ':material/d:')):\n    st.button(name, icon=icon)",
        "moves = {'a': (':material/b:', 1)}\nfor name, (icon, _) in moves.items():\n    st.button(name, icon=icon)",
        "def f(told: Markdown):\n    st.info(told)",
        "def f(told) -> Markdown:\n    return plain(told)",
        "' '.title().write(told)",
        "st.code(told)",
    ],
)
def test_safe_text_passes(source):
    assert Texts("page", ast.parse(HEAD + source)).wrong == []


def test_a_safe_name_is_that_of_the_safe_module():
    told = "import streamlit as st\nfrom ravine.words import plain\nst.info(plain(told))"
    assert Texts("page", ast.parse(told)).wrong


def test_every_mark_is_escaped():
    for char in string.punctuation:
        assert text.plain(f"a{char} b").replace("\u2060", "") == f"a\\{char} b"


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("plain words, 3 of them", "plain words\\, 3 of them"),
        ("a\u202eb\u2066c\u200fd", "a�b�c�d"),
        ("a\x00b\x1bc\x7f", "a�b�c�"),
        ("    indented\n\n# heading\r\n---\t", "indented \\# heading \\-\\-\\-"),
        ("\ud800", "�"),
        ("", ""),
    ],
)
def test_controls_and_lines_are_taken_away(given, shown):
    assert text.plain(given) == shown


@pytest.mark.parametrize(
    "given",
    [":material/lock:", ":material_lock:", ":smile:", ":streamlit:", ":red[a]", "http://a.b", "WWW.a.b", "a@b.c"],
)
def test_what_the_client_looks_at_again_is_broken(given):
    """Past the escapes, which its parser takes away, no pattern of its is left."""
    left = text.plain(given).replace("\\", "")
    assert left.replace("\u2060", "") == given
    assert given not in left


def test_declarations_are_shown_as_written_and_those_of_visitors_escaped():
    assert text.ours(OPTIMIZERS["adam"], "idea") == OPTIMIZERS["adam"].idea
    number = Number(1.0, help="as in $x$")
    assert text.ours(number, "help") == "as in $x$"

    base = LANDSCAPES["beale"]
    theirs = type(
        "Theirs", (base,), {"reads": "![](http://a.b)", "__module__": "model", "equation": "x$ ![](http://a.b)"}
    )
    assert text.ours(theirs(), "reads") == text.plain("![](http://a.b)")
    assert text.ours(theirs(), "equation") == text.plain("x$ ![](http://a.b)")
    assert text.ours(theirs(), "reference") == base.reference
    adopted = type("Adopted", (base,), {"label": "*make* (your own)", "__module__": own.__name__})
    assert text.ours(adopted, "label") == text.plain("*make* (your own)")
    with pytest.raises(TypeError, match="declares no text"):
        text.ours(Experiment.default(), "view")


def test_formulas_of_visitors_are_typeset_from_what_they_mean():
    """Whatever is written, the LaTeX is made of what the parser knows."""
    kind = LANDSCAPES["formula"]
    for written in ("x^2 + y", "(x)*1e9 + sqrt(abs(y))"):
        assert not set("$<>[]#&%~`!") & set(text.ours(kind(expression=written), "equation"))
    for hostile in ("x$ ![](http://a.b) $", "\\href{http://a.b}{x}", "x # $", "x; y", "x.__class__"):
        with pytest.raises(ValueError, match="formula"):
            kind(expression=hostile)


@pytest.mark.parametrize(
    "address", ["javascript:alert(1)", "//a.b/?land=x", "http://a.b", "/?x=1)![](http://a.b", "/?x=a b"]
)
def test_links_lead_to_pages_of_this_app(address):
    assert text.linked("a", Experiment.default().to_url()).startswith("[a](/?v=1&land=")
    with pytest.raises(ValueError, match="no address"):
        text.linked("a", address)


def test_names_are_shown_as_code_and_nothing_else_is():
    assert text.code("weight_decay") == "`weight_decay`"
    for hostile in ("a`b", "a b", "", "a|b", "ｗ"):
        with pytest.raises(ValueError, match="no name of Python"):
            text.code(hostile)


def test_colors_and_attributes_hold_no_markup():
    assert text.color("#0072B2") == "#0072B2"
    with pytest.raises(ValueError, match="no color"):
        text.color("red;background:url(http://a.b)")
    assert text.quoted('a"><img src=x>') == "a&quot;&gt;&lt;img src=x&gt;"


def test_settings_are_declarations():
    assert all(issubclass(type(one), Setting) for one in (Number(1.0), dataclasses.replace(Number(1.0), label="*")))


def test_figures_hold_no_links():
    figure = go.Figure().update_layout(title_text='λ < 2 <b>bold</b> <span style="color:#0072B2">own</span>')
    figure.add_scatter(
        y=[1], name='<a href="http://a.b">x</a>', text=['<span style="background:url(http://a.b)">'],
        hovertemplate="x<br>%{y}<extra></extra>",
    )  # fmt: skip
    shown = json.loads(sent(figure))
    assert shown["layout"]["title"]["text"] == 'λ &lt; 2 <b>bold</b> <span style="color:#0072B2">own</span>'
    assert shown["data"][0]["name"] == '&lt;a href="http://a.b">x&lt;/a>'
    assert shown["data"][0]["text"] == ['&lt;span style="background:url(http://a.b)">']
    assert shown["data"][0]["hovertemplate"] == "x<br>%{y}<extra></extra>"
    plainly = SimpleNamespace(to_json=lambda: '{"name": "<a href=1>"}')  # by a library that does not write < as a code
    assert sent(plainly) == b'{"name": "&lt;a href=1>"}'
