"""The expert-parallel INT4 MoE layer: weights of one rank, and the layer that applies them."""
