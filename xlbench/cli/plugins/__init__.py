"""Looking at plug-ins: what a name stands for, whether it keeps the contract, a task guessed from files."""
