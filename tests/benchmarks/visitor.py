"""A visitor without a browser: speaks the server's protocol, so that only the server is timed."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, field
from urllib.parse import urlencode

from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg
from websockets.sync.client import ClientConnection, connect

from dashboard.components.slider import DRAG_STEP


@dataclass
class Step:
    """One answer of the server.

    Args:
        seconds: From sending to the end of the script.
        sent_bytes: Of everything that came back.
        chart_bytes: Of the charts among it.
    """

    seconds: float
    sent_bytes: int
    chart_bytes: int


@dataclass
class SocketVisitor:
    """A session on the Explore page.

    Args:
        address: ``http://host:port``.
        query: Query parameters.
    """

    address: str
    query: dict[str, str]
    _socket: ClientConnection = field(init=False)
    _slider: str = field(init=False, default="")
    _fragment: str = field(init=False, default="")
    _choices: dict[str, list[str]] = field(init=False, default_factory=dict)
    _selected: dict[str, str] = field(init=False, default_factory=dict)

    def open(self) -> Step:
        """Load the page."""
        url = self.address.replace("http", "ws", 1) + "/_stcore/stream"
        self._socket = connect(url, subprotocols=["streamlit"], max_size=None)  # type: ignore[list-item]
        message = BackMsg()
        message.rerun_script.query_string = urlencode(self.query)
        return self._run(message)

    def drag_to(self, avg_bits: float) -> Step:
        """One step of a drag, to a value that the slider can report."""
        return self._slide({"value": round(round(avg_bits / DRAG_STEP) * DRAG_STEP, 4)})

    def close(self) -> None:
        """Leave."""
        self._socket.close()

    def _slide(self, state: dict[str, float]) -> Step:
        message = BackMsg()
        rerun = message.rerun_script
        rerun.query_string = urlencode(self.query)
        rerun.fragment_id = self._fragment
        for id_, values in self._choices.items():
            other = rerun.widget_states.widgets.add()
            other.id = id_
            other.string_array_value.data.extend(values)
        for id_, value in self._selected.items():
            other = rerun.widget_states.widgets.add()
            other.id, other.string_value = id_, value
        widget = rerun.widget_states.widgets.add()
        widget.id, widget.json_value = self._slider, json.dumps(state)
        return self._run(message)

    def _run(self, message: BackMsg) -> Step:
        started = time.perf_counter()
        self._socket.send(message.SerializeToString())
        total = charts = 0
        while True:
            raw = self._socket.recv(timeout=60)
            assert isinstance(raw, bytes)
            total += len(raw)
            answer = ForwardMsg.FromString(raw)
            if answer.WhichOneof("type") == "delta":
                charts += self._note(answer, len(raw))
            if answer.WhichOneof("type") == "script_finished":
                return Step(time.perf_counter() - started, total, charts)

    def _note(self, answer: ForwardMsg, size: int) -> int:
        element = answer.delta.new_element
        if element.WhichOneof("type") == "exception":
            raise RuntimeError(element.exception.message)
        # As a browser does: what a client does not send, the server forgets.
        if element.WhichOneof("type") == "button_group":
            group = element.button_group
            options = [option.content for option in group.options]
            self._choices[group.id] = list(group.raw_values) or [options[i] for i in group.default]
        if element.WhichOneof("type") == "selectbox":
            box = element.selectbox
            self._selected[box.id] = box.raw_value or box.options[box.default]
        if element.WhichOneof("type") != "bidi_component":
            return 0
        name = element.bidi_component.component_name
        if "live_slider" in name:
            self._slider = element.bidi_component.id
            self._fragment = answer.delta.fragment_id
        # During a drag the slider brings what moves in the charts.
        return size if "live_plot" in name or "live_slider" in name else 0
