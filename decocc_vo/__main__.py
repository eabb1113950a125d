"""``python -m decocc_vo`` is ``decocc-vo``."""

from .cli import program

if __name__ == "__main__":
    program()
