"""Compile checks for GPUs that need not be here."""
