"""Inline components for what built-in widgets cannot do, and their built-in stand-ins.

Where no server offers Plotly's script, and with ``CLADO_PLAIN_WIDGETS=1``, the stand-ins are used.
"""

from dashboard.components.plot import Patch as Patch
from dashboard.components.plot import Ranges as Ranges
from dashboard.components.plot import live_plot as live_plot
from dashboard.components.served import PLOTLY_ADDRESS as PLOTLY_ADDRESS
from dashboard.components.served import SERVED as SERVED
from dashboard.components.served import live as live
from dashboard.components.slider import STEP as STEP
from dashboard.components.slider import Budget as Budget
from dashboard.components.slider import Tick as Tick
from dashboard.components.slider import live_slider as live_slider
