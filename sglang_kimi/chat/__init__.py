"""The chat path inside SGLang's server: codec, parsers and grammars plugged into its seams."""
