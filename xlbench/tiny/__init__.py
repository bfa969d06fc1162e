"""The tiny masked language model that ships with xlbench; see README.md beside this file."""
