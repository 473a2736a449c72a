"""From a choice of bit-widths to the network that is shipped: better integers, right statistics."""
