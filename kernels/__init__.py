"""Ops of the Kimi architecture on torch tensors. Imports torch, never sglang or another room."""
