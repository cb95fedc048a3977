"""A whole decoder layer on one rank."""
