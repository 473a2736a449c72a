"""Measure: a new network from the page, or an artifact that was measured elsewhere."""

import streamlit as st

from clado_core.networks.builtin import BUILTIN_NETWORKS
from dashboard.cards.measure import network_card, progress_card, upload_card

TORCHVISION = (
    "resnet18",
    "resnet50",
    "mobilenet_v2",
    "mobilenet_v3_small",
    "efficientnet_b0",
    "vgg11_bn",
    "densenet121",
    "vit_b_16",
    "swin_t",
)

st.markdown(
    "Every layer is quantized alone and every pair of layers together, and the loss is measured "
    "each time. The work runs in a process of its own: reload or leave this page as you like."
)
left, right = st.columns(2)
with left, st.container(border=True):
    network_card([*BUILTIN_NETWORKS, *(f"torchvision:{name}" for name in TORCHVISION)])
with right:
    with st.container(border=True):
        progress_card()
    with st.container(border=True):
        upload_card()
