"""The suites that ship with xlbench: TOML files, data only; see `xlbench compare --suite`."""
