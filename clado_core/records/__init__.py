"""What is known of a network: its layers, the quantizer, the measured matrix, an assignment."""
