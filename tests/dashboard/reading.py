"""What a visitor reads on a page."""

from __future__ import annotations

from streamlit.testing.v1 import AppTest


def texts(app: AppTest) -> str:
    """Everything outside of charts."""
    kinds = (app.markdown, app.caption, app.warning, app.error, app.header, app.code)
    return "\n".join(str(element.value) for kind in kinds for element in kind)


def metrics(app: AppTest) -> dict[str, str]:
    """The numbers of the tiles, by their labels."""
    return {m.label: m.value for m in app.metric}
