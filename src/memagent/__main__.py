"""Entry point of `memagent` and `python -m memagent`. It imports little, so that Ctrl-C works while the rest loads."""

import sys


def main() -> None:
    """Run the program. If interrupted before its commands are loaded, say so and exit with status 130."""
    try:
        from memagent.cli import main as run

        run()
    except KeyboardInterrupt:
        print("Interrupted.", file=sys.stderr)
        sys.exit(130)


if __name__ == "__main__":
    main()
