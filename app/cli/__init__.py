"""The command line `clsl …`: one module for each group of commands. Others use `main.cli` only."""
