"""The built-in tasks: one file or folder each, found by the registry and never imported by the harness."""
