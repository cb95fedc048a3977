"""Matrix products with weights that stay in bfloat16."""
