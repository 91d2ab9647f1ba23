"""`memagent`, and `python -m memagent`. Little is imported here, so that Ctrl-C is heard while the rest is."""

import sys


def main() -> None:
    """Run the program. Interrupted before its commands could be loaded, it says so and ends with 130."""
    try:
        from memagent.cli import main as run

        run()
    except KeyboardInterrupt:
        print("Interrupted.", file=sys.stderr)
        sys.exit(130)


if __name__ == "__main__":
    main()
