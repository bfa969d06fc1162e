"""A plug-in package: the smallest method and the smallest task that keep xlbench's contract."""
