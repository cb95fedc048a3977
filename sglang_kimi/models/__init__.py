"""Model classes for SGLang's ModelRegistry, one architecture a file."""
