"""What runs only on NVIDIA GPUs, chosen only when asked for."""
