"""Measurements that the README quotes: side by side in one run, ratios printed."""
