"""The generated pages of docs/reference/: one function each; a test compares them with what is committed."""
