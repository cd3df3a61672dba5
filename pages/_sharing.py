"""What the share button holds: the frame of the link, the link itself, and its QR code on the whole screen."""

from __future__ import annotations

from collections import Counter
from urllib.parse import urlsplit

import segno
import streamlit as st

from landscapes.setting import settings
from optimizers import layers
from pages import _components as components
from pages import _services as services
from pages._text import quoted
from ravine import Experiment
from ravine.experiment import VIEWS
from ravine.frame import TITLE, Frame
from ravine.words import spoken

_OTHERS = {  # controls that are no settings
    "data": "Data", "land": "Landscape", "rule": "Rules", "tune": "Tune all", "room": "Live room", "start": "Start",
}  # fmt: skip
_LOCAL = ("localhost", "127.0.0.1", "::1")


def address() -> str:
    """Where this app is, as the visitor's browser sees it."""
    url = (st.context.url or "").rstrip("/")
    for view in VIEWS.values():
        url = url.removesuffix(f"/{view.path}") if view.path else url
    return url


def called(experiment: Experiment) -> dict[str, str]:
    """What people read for each of `controls`; where two read alike, with the name in the link behind."""
    known = dict(_OTHERS)
    for owner in (experiment.landscape, experiment, *(layers(one)[0] for one in experiment.optimizers)):
        known |= {name: spoken(name, one) for name, one in settings(owner).items()}
    names = controls(experiment)
    words = {name: known.get(name, name) for name in names}
    alike = Counter(words.values())
    return {name: word if alike[word] == 1 else f"{word} ({name})" for name, word in words.items()}


def controls(experiment: Experiment) -> list[str]:
    """The names by which a link can say which controls stay."""
    view = VIEWS[experiment.view]
    names = [
        "land",
        "rule",
        "tune",
        "around",
        "room",
        "data",
        *(["start"] if experiment.start is not None else []),
        *view.keys,
        *view.shown,
    ]
    for stepper in experiment.optimizers:
        names += settings(layers(stepper)[0])
    return list(dict.fromkeys([*names, *settings(experiment.landscape)]))


def panel(experiment: Experiment, framed: Frame) -> Frame | None:
    """Draws the panel. The frame to show this very page in, once the visitor asks for it."""
    key = f"{experiment.view} share"
    if experiment.landscape.identity:
        st.caption("This link names a landscape of your own: it opens only in an app that was started with it.")
    else:
        st.caption(
            "This link holds every value. A machine like this one computes the same numbers from it, to the bit. On another "
            "kind of processor the last digits may differ, and a run at the edge of stability magnifies them: with a "
            "fingerprint, below, the page says how far they came apart."
        )
    title = st.text_input(
        "Title", framed.title, max_chars=TITLE, key=f"{key} title", help="A few words to head the page."
    )
    left, right = st.columns(2)
    present = left.toggle("Present mode", key=f"{key} present", help="Large type and few controls, for a projector.")
    predict = right.toggle(
        "Predict first",
        framed.predict,
        key=f"{key} predict",
        help="Hides the outcome until the reader has said whether the first run converges, oscillates or diverges.",
    )
    names = controls(experiment)
    kept = st.multiselect(
        "Controls that stay",
        names,
        [name for name in framed.show if name in names],
        key=f"{key} show",
        format_func=called(experiment).__getitem__,
        placeholder="All",
        help="For a page with two sliders, choose two; all others keep the link's values, out of sight.",
    )
    result = services.store().get(experiment)
    promise = st.toggle(
        "With a fingerprint of the numbers",
        key=f"{key} fp",
        disabled=result is None,
        help="The page then says what another machine got: the same bits, the same numbers to a tolerance, the same "
        "statistics of a chaotic run, or something else.",
    )
    fp = result.fingerprint.write() if promise and result is not None else ""
    printable = "".join(char for char in title if char.isprintable())
    chosen = Frame(title=printable, present=present, predict=predict, show=tuple(kept), fp=fp)
    link = experiment.to_url(address(), chosen)
    components.copyable(f"{key} copy", link)
    code, here = st.columns(2)
    if code.button("QR code", icon=":material/qr_code_2:", key=f"{key} qr", width="stretch"):
        qr(link)
    if here.button("Show it here", icon=":material/slideshow:", key=f"{key} here", width="stretch"):
        return chosen
    return None


@st.dialog("Open this page on another screen", width="large")
def qr(link: str) -> None:
    """The link as a QR code, as large as the screen."""
    try:
        image = segno.make(link, error="l", micro=False).svg_data_uri(scale=8, border=4, dark="#000", light="#fff")
    except segno.DataOverflowError:
        st.error(f"A QR code holds at most 2,953 characters and this link has {len(link):,}. Copy the link instead.")
        return
    st.markdown(f'<img class="rv-qr" alt="QR code of this page\'s link" src="{quoted(image)}">', unsafe_allow_html=True)
    if urlsplit(link).hostname in _LOCAL:
        st.caption(
            "This app listens on this machine only. Start it with `ravine app --host 0.0.0.0` and open it by this "
            "machine's address in the network, so that others can reach it."
        )
