"""The version, in one place: pyproject.toml, `xlbench --version` and every record read it here."""

__version__ = "0.4.0"
