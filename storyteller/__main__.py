"""``python -m storyteller``."""

from storyteller.cli.main import run

if __name__ == "__main__":
    run()
