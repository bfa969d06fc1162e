"""The built-in methods: one file each, found by the registry and never imported by the harness."""
