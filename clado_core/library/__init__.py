"""The path from a network in memory to a choice one can ship, for Python callers and notebooks.

What the command line is for a shell. Importing it loads neither torch nor a solver: each function
loads what it needs when it is called.
"""
